//! Files and folders that are still there after the power went.

use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::way;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// In a folder that somebody else can write to, a link could lead to any file of ours.
pub(crate) const NO_LINK: i32 = OFlags::NOFOLLOW.bits() as i32;

/// Opens a file to read it. What is not a regular file is refused and not waited for, as opening a FIFO
/// would. Root follows no link to it that it should not: what is read may be copied, sent or shown.
///
/// # Errors
/// Those of opening; inside, `Damaged` for what is not a file, `Usage` with a link.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let file = File::from(way::try_open(path, way::FILE)?);
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

/// Makes a folder and those above it that are missing, each for the owner of what it is in. The answer has
/// those that were made, the uppermost first.
///
/// # Errors
/// `Io`.
pub(crate) fn make_folders(path: &Path, mode: u32) -> Result<Vec<PathBuf>> {
    let fail = |path| Error::io("cannot create the folder", path);
    let mut missing: Vec<&Path> = path
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.is_dir())
        .collect();
    missing.reverse();
    let mut made = Vec::new();
    for folder in missing {
        match DirBuilder::new().mode(mode).create(folder) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            done => {
                done.map_err(fail(folder))?;
                let owner = Owner::above(folder).map_err(fail(folder))?;
                open_own(folder)
                    .and_then(|opened| Ok(owner.give(opened)?))
                    .map_err(fail(folder))?;
                made.push(folder.to_owned());
            }
        }
    }
    Ok(made)
}

/// Opens a folder that was just made: a link in its place is not followed.
fn open_own(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(NO_LINK | OFlags::DIRECTORY.bits() as i32)
        .open(folder)
}

/// Writes a private file, in the place of one that is there, and makes its content safe on the disk; its
/// name is when its folder is synced. It belongs to the owner of the folder.
///
/// # Errors
/// `Io`.
pub(crate) fn write_synced(path: &Path, data: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    way::try_open(folder.unwrap_or(Path::new(".")), way::FOLDER)
        .and_then(|folder| write_synced_in(folder, path.file_name().unwrap_or_default(), data))
        .map_err(Error::io("cannot write", path))
}

/// The same of a name in a folder that is open. What has the name is not written into: somebody else could
/// have put another name of any file there, or a FIFO, which would be waited for.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn write_synced_in(folder: impl AsFd, name: &OsStr, data: &[u8]) -> io::Result<()> {
    let mut file = make_private_in(folder, name)?;
    file.write_all(data)?;
    file.sync_all()
}

/// Makes a private file, for the owner of the folder, in the same way.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn make_private_in(folder: impl AsFd, name: &OsStr) -> io::Result<File> {
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = File::from(openat(&folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    Owner::of(folder)?.give(&file)?;
    Ok(file)
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

/// Makes everything in the file system of a folder safe on the disk. One call for all of it: a million small
/// files each by itself take hours.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn sync_all_in(folder: impl AsFd) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(folder)?;
    // Elsewhere whoever wrote a file has synced that.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        rustix::fs::sync();
    }
    Ok(())
}
