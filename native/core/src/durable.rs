//! Files and folders that are still there after the power went.

use crate::error::{Error, Result};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// In a folder that somebody else can write to, a link could lead to any file of ours.
pub(crate) const NO_LINK: i32 = OFlags::NOFOLLOW.bits() as i32;

/// Opens a file to read it. What is not a regular file is refused and not waited for, as opening a FIFO
/// would.
///
/// # Errors
/// Those of opening; `Damaged`, inside, for what is not a file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::damaged(path, "it is not a file").into());
    }
    Ok(file)
}

/// Makes the names in a folder (new, renamed, removed) safe on the disk.
///
/// # Errors
/// `Io`.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io("cannot write the folder", folder))
}

/// Writes a private file, in the place of one that is there, and makes its content safe on the disk; its
/// name is when its folder is synced.
///
/// # Errors
/// `Io`.
pub(crate) fn write_synced(path: &Path, data: &[u8]) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(NO_LINK)
        .open(path)
        .and_then(|mut file| {
            file.write_all(data)?;
            file.sync_all()
        })
        .map_err(Error::io("cannot write", path))
}

/// Where a path leads, also one whose last folders are not there yet.
pub(crate) fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find_map(|above| {
        let rest = absolute.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    });
    found.unwrap_or(absolute)
}

/// Makes everything in a folder safe on the disk. One call for all of it: a million small files each by
/// itself take hours.
///
/// # Errors
/// `Io`.
pub(crate) fn sync_all_in(folder: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    File::open(folder)
        .and_then(|file| Ok(rustix::fs::syncfs(file)?))
        .map_err(Error::io("cannot write the folder", folder))?;
    // Elsewhere whoever wrote a file has synced that.
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    Ok(())
}
