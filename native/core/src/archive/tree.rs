//! Walks a folder, in the order of its names, without following a symbolic link out of it.
//!
//! Every folder is opened relative to the one above it, so that no path is too long and none can be
//! swapped for a link on the way.

use super::Skipped;
use crate::error::{Error, Result};
use crate::progress::Monitor;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Folders of one path that are open at the same time. Those above are opened again on the way back.
const OPEN_FOLDERS: usize = 64;

/// Something in a folder.
pub(crate) struct Node<'a> {
    /// Its path below the root of the walk.
    pub(crate) path: &'a [u8],
    /// The folder that it is in.
    pub(crate) folder: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a CStr,
    /// What it is.
    pub(crate) stat: Stat,
}

impl Node<'_> {
    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// The sum of the lengths of the regular files in a folder, in bytes.
///
/// # Errors
/// `Io` when the folder itself cannot be read, `Cancelled`. What is in it is passed over where it
/// cannot be read.
pub(crate) fn measure(root: &Path, monitor: &Monitor) -> Result<u64> {
    let mut bytes = 0;
    walk(root, &mut |node| {
        if node.file_type() == FileType::RegularFile {
            bytes += length(&node.stat);
        }
        monitor.check()
    })?;
    Ok(bytes)
}

/// The length of a file. The operating system gives it as a signed number.
pub(crate) fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

struct Frame {
    /// Length of this folder's path, with the slash after it.
    prefix: usize,
    folder: Option<OwnedFd>,
    names: Names,
}

/// Calls `visit` for everything below `root`: a folder before what is in it, names in the order of
/// their bytes. What cannot be read is in the answer.
///
/// # Errors
/// `Io` when `root` cannot be read; what `visit` returns.
pub(crate) fn walk(
    root: &Path,
    visit: &mut dyn FnMut(&Node<'_>) -> Result<()>,
) -> Result<Vec<Skipped>> {
    let mut skipped = Vec::new();
    // The root itself may be a symbolic link: that is how it was configured.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(CWD, root, flags, Mode::empty())
        .and_then(|folder| Ok((names(&folder)?, folder)))
        .map_err(|errno| Error::io("cannot read the folder", root)(errno.into()))?;
    let mut path = Vec::new();
    let mut stack = vec![Frame {
        prefix: 0,
        folder: Some(top.1),
        names: top.0,
    }];
    while let Some(depth) = stack.len().checked_sub(1) {
        let frame = &mut stack[depth];
        path.truncate(frame.prefix);
        let Some(name) = frame.names.next() else {
            stack.pop();
            continue;
        };
        if frame.folder.is_none() {
            match reopen(root, &path) {
                Ok(folder) => frame.folder = Some(folder),
                Err(errno) => {
                    skipped.push(unreadable(&path, errno));
                    stack.pop();
                    continue;
                }
            }
        }
        let Some(folder) = &frame.folder else {
            continue;
        };
        path.extend_from_slice(name.as_bytes());
        let stat = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => {
                skipped.push(unreadable(&path, errno));
                continue;
            }
        };
        let node = Node {
            path: &path,
            folder: folder.as_fd(),
            name: &name,
            stat,
        };
        visit(&node)?;
        if node.file_type() == FileType::Directory {
            match open_folder(folder, &name).and_then(|folder| Ok((names(&folder)?, folder))) {
                Ok((names, folder)) => {
                    path.push(b'/');
                    stack.push(Frame {
                        prefix: path.len(),
                        folder: Some(folder),
                        names,
                    });
                    if let Some(above) = stack.len().checked_sub(OPEN_FOLDERS + 1) {
                        stack[above].folder = None;
                    }
                }
                Err(errno) => skipped.push(unreadable(&path, errno)),
            }
        }
    }
    Ok(skipped)
}

/// Why something in a folder could not be read, for the report.
pub(super) fn unreadable(path: &[u8], errno: Errno) -> Skipped {
    match errno {
        Errno::NOENT => Skipped::new(path, "it vanished while the backup was made"),
        Errno::ACCESS | Errno::PERM => Skipped::new(path, "it may not be read: permission denied"),
        errno => Skipped::new(path, format!("it cannot be read: {errno}")),
    }
}

fn open_folder(parent: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Opens the folder at `path` below `root`, one step at a time.
fn reopen(root: &Path, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = openat(CWD, root, flags, Mode::empty())?;
    for name in path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
    {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        folder = open_folder(&folder, &name)?;
    }
    Ok(folder)
}

/// The names in a folder, in the order of their bytes. All in one piece: a folder can hold a million.
#[derive(Default)]
struct Names {
    /// Each with the NUL that ends it.
    bytes: Vec<u8>,
    /// Where they start, the next one last.
    starts: Vec<u32>,
}

impl Iterator for Names {
    type Item = CString;

    fn next(&mut self) -> Option<CString> {
        let start = self.starts.pop()? as usize;
        let name = CStr::from_bytes_until_nul(&self.bytes[start..]).ok()?;
        Some(name.to_owned())
    }
}

fn names(folder: &OwnedFd) -> rustix::io::Result<Names> {
    let mut names = Names::default();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            let start = u32::try_from(names.bytes.len()).map_err(|_| Errno::TOOBIG)?;
            names.starts.push(start);
            names.bytes.extend_from_slice(name.to_bytes_with_nul());
        }
    }
    let Names { bytes, starts } = &mut names;
    let name = |start: u32| CStr::from_bytes_until_nul(&bytes[start as usize..]).ok();
    starts.sort_unstable_by(|&a, &b| name(b).cmp(&name(a)));
    Ok(names)
}
