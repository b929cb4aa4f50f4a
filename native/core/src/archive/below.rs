//! Folders below a folder, found one step at a time: no path is too long, and none can lead out by a
//! symbolic link.

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::fs::{openat, renameat, unlinkat};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Folders of one path that are open at the same time.
const OPEN_FOLDERS: usize = 64;

/// Opens the folder of a name in a folder, and may make it when it is not there. The last argument is
/// the whole path.
pub(crate) type Step<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<OwnedFd>;

/// A folder, and those below it on the way to where somebody was last.
pub(crate) struct Below {
    root: OwnedFd,
    path: Vec<u8>,
    levels: Vec<Level>,
}

struct Level {
    /// Length of the path up to here.
    end: usize,
    folder: Option<OwnedFd>,
}

impl Below {
    /// `root` itself may be a symbolic link.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: openat(CWD, root, flags, Mode::empty())?,
            path: Vec::new(),
            levels: Vec::new(),
        })
    }

    /// The folder at `path`, which has nothing but names and single slashes between them.
    ///
    /// # Errors
    /// What `step` returns.
    pub(crate) fn folder(&mut self, path: &[u8], step: Step<'_>) -> Result<BorrowedFd<'_>> {
        let both = self.path.iter().zip(path);
        let common = both.take_while(|(old, new)| old == new).count();
        let is_end = |end: usize| end == path.len() || path.get(end) == Some(&b'/');
        let kept = self
            .levels
            .partition_point(|level| level.end <= common && is_end(level.end));
        self.levels.truncate(kept);
        // Above what stayed open is what was closed: it is opened again, and what is below it.
        let open = self.levels.iter().rposition(|level| level.folder.is_some());
        if open.map_or(0, |open| open + 1) < kept {
            self.again(open, step)
                .inspect_err(|_| self.levels.clear())?;
        }
        let mut start = self.levels.last().map_or(0, |level| level.end);
        self.path.truncate(start);
        while start < path.len() {
            if start > 0 {
                start += 1;
            }
            let rest = &path[start..];
            let length = rest.iter().position(|&byte| byte == b'/');
            let end = start + length.unwrap_or(rest.len());
            let folder = step(self.last(), &path[start..end], &path[..end])?;
            self.path.clear();
            self.path.extend_from_slice(&path[..end]);
            self.levels.push(Level {
                end,
                folder: Some(folder),
            });
            if let Some(above) = self.levels.len().checked_sub(OPEN_FOLDERS + 1) {
                self.levels[above].folder = None;
            }
            start = end;
        }
        Ok(self.last())
    }

    fn last(&self) -> BorrowedFd<'_> {
        let last = self.levels.last();
        last.and_then(|level| level.folder.as_ref())
            .unwrap_or(&self.root)
            .as_fd()
    }

    /// Opens the last level again, from the one that is open.
    fn again(&mut self, open: Option<usize>, step: Step<'_>) -> Result<()> {
        let mut here: Option<OwnedFd> = None;
        let from = open.map_or(0, |open| open + 1);
        for at in from..self.levels.len() {
            let start = at
                .checked_sub(1)
                .map_or(0, |above| self.levels[above].end + 1);
            let end = self.levels[at].end;
            let above = match (&here, open) {
                (Some(here), _) => here,
                (None, Some(open)) => self.levels[open].folder.as_ref().unwrap_or(&self.root),
                (None, None) => &self.root,
            };
            here = Some(step(
                above.as_fd(),
                &self.path[start..end],
                &self.path[..end],
            )?);
        }
        if let Some(last) = self.levels.last_mut() {
            last.folder = here;
        }
        Ok(())
    }
}

/// The folder that a path is in, and its name there.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Opens a folder; a symbolic link is none.
pub(crate) fn open_folder(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Removes a folder and all that is in it, however deep. It is not an error when it is not there.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let top = match openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    // What is in a folder of the top one is brought up to there, so that no two are ever open below it.
    let mut number: u64 = 0;
    loop {
        let mut is_empty = true;
        for entry in Dir::read_from(&top)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            is_empty = false;
            if !unlinked(&top, name)? {
                let folder = open_folder(&top, name.to_bytes())?;
                bring_up(&folder, &top, &mut number)?;
                match unlinkat(&top, name, AtFlags::REMOVEDIR) {
                    // Reading it while it changed may have missed something: the next time, then.
                    Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        if is_empty {
            return unlinkat(CWD, path, AtFlags::REMOVEDIR);
        }
    }
}

/// Removes the files in a folder, and moves the folders in it to another one.
fn bring_up(folder: &OwnedFd, top: &OwnedFd, number: &mut u64) -> Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." || unlinked(folder, name)? {
            continue;
        }
        loop {
            *number += 1;
            match renameat(folder, name, top, number.to_string()) {
                Ok(()) => break,
                // That name is taken.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// Removes what is not a folder.
fn unlinked(folder: &OwnedFd, name: &CStr) -> Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // The second is what POSIX says.
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}
