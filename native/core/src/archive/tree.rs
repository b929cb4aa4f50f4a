//! Walks a folder, in the order of its names, without following a symbolic link out of it.
//!
//! Every folder is opened relative to the one above it, so that no path is too long and none can be
//! swapped for a link on the way.

use super::Skipped;
use super::below::{Identity, OPEN_FOLDERS, above, open_folder};
use super::entries::LONGEST_NAME;
use super::staged::STAGED;
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::way;
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

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
    walk(&way::open(root, way::FOLDER)?, root, &mut |node| {
        add(&mut bytes, node, monitor)
    })?;
    Ok(bytes)
}

/// The same of all that is in a folder that is open, and called `root` in messages.
pub(crate) fn measure_in(folder: &OwnedFd, root: &Path, monitor: &Monitor) -> Result<u64> {
    let mut bytes = 0;
    walk_in(folder, root, &mut |node| add(&mut bytes, node, monitor))?;
    Ok(bytes)
}

fn add(bytes: &mut u64, node: &Node<'_>, monitor: &Monitor) -> Result<()> {
    if node.file_type() == FileType::RegularFile {
        *bytes = bytes.saturating_add(length(&node.stat));
    }
    monitor.check()
}

/// The length of a file. The operating system gives it as a signed number.
pub(crate) fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

struct Frame {
    /// Length of this folder's path, with the slash after it.
    prefix: usize,
    identity: Identity,
    folder: Option<OwnedFd>,
    names: Names,
}

impl Frame {
    fn new(prefix: usize, folder: OwnedFd) -> rustix::io::Result<Self> {
        Ok(Self {
            prefix,
            identity: Identity::of(&folder)?,
            names: names(&folder)?,
            folder: Some(folder),
        })
    }
}

/// Calls `visit` for everything of a site in a folder that is open, and called `root` in messages: a folder
/// before what is in it, names in the order of their bytes. What cannot be read is in the answer. A folder whose own path is longer than an archive can
/// have it is not gone into.
///
/// What a restore has staged in `root` is passed over, and is in the answer too: it is there where that is a
/// mount of its own, and an interrupted restore that nobody can settle leaves it. It is no file of the site; in
/// a backup it would come back as one, with the next restore, and have its size in every backup until then.
///
/// # Errors
/// `Io` when `root` cannot be read; what `visit` returns.
pub(crate) fn walk(
    top: &OwnedFd,
    root: &Path,
    visit: &mut dyn FnMut(&Node<'_>) -> Result<()>,
) -> Result<Vec<Skipped>> {
    let is_staged = |name: &CStr| name.to_bytes().starts_with(STAGED.as_bytes());
    walk_but(&is_staged, top, root, visit)
}

/// The same for all that is in it.
pub(crate) fn walk_in(
    top: &OwnedFd,
    root: &Path,
    visit: &mut dyn FnMut(&Node<'_>) -> Result<()>,
) -> Result<Vec<Skipped>> {
    walk_but(&|_| false, top, root, visit)
}

/// The same, without what `is_staged` says of the names in the folder itself.
fn walk_but(
    is_staged: &dyn Fn(&CStr) -> bool,
    top: &OwnedFd,
    root: &Path,
    visit: &mut dyn FnMut(&Node<'_>) -> Result<()>,
) -> Result<Vec<Skipped>> {
    let mut skipped = Vec::new();
    let mut path = Vec::new();
    let first = top
        .try_clone()
        .and_then(|top| Ok(Frame::new(0, top)?))
        .map_err(Error::io("cannot read the folder", root))?;
    let mut stack = vec![first];
    while let Some(depth) = stack.len().checked_sub(1) {
        let frame = &mut stack[depth];
        path.truncate(frame.prefix);
        let Some(name) = frame.names.next() else {
            let left = stack.pop().and_then(|frame| frame.folder);
            // While there is a way to it that is short.
            if let Some(here) = stack.last_mut().filter(|here| here.folder.is_none()) {
                here.folder = left.and_then(|left| above(left, here.identity));
            }
            continue;
        };
        if frame.folder.is_none() {
            match reopen(top, &path) {
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
        if depth == 0 && is_staged(&name) {
            let reason = "it is what an interrupted restore has unpacked, and no file of the site";
            skipped.push(Skipped::new(&path, reason));
            continue;
        }
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
        if node.file_type() == FileType::Directory && path.len() <= LONGEST_NAME {
            let below = open_folder(folder, name.as_bytes())
                .and_then(|folder| Frame::new(path.len() + 1, folder));
            match below {
                Ok(frame) => {
                    path.push(b'/');
                    stack.push(frame);
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

/// Opens the folder at `path` below `root`, one step at a time.
fn reopen(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let mut folder = open_folder(root, b".")?;
    for name in path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
    {
        folder = open_folder(&folder, name)?;
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
