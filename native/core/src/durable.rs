//! Files and folders that are still there after the power went.

use crate::error::{Error, Result};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
