//! Folders below a folder, found one step at a time: no path is too long, and none can lead out by a
//! symbolic link.
//!
//! However deep they are, few are open at the same time, and each step costs the same: on the way back the
//! folder above is found by its name `..`, and is taken only when it is the one that was gone through.

use rustix::fs::{AtFlags, CWD, Dev, Dir, Mode, OFlags};
use rustix::fs::{fstat, openat, renameat, unlinkat};
use rustix::io::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Folders of one path that are open at the same time.
pub(super) const OPEN_FOLDERS: usize = 64;

/// Opens the folder of a name in a folder, and may make it when it is not there. The last argument is
/// the whole path.
pub(crate) type Step<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<OwnedFd>;

/// What tells a folder from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(Dev, u64);

impl Identity {
    pub(super) fn of(folder: impl AsFd) -> Result<Self> {
        let stat = fstat(folder)?;
        Ok(Self(stat.st_dev, stat.st_ino))
    }
}

/// The folder above an open one, when it is still the one that is meant.
pub(super) fn above(folder: impl AsFd, meant: Identity) -> Option<OwnedFd> {
    let above = open_folder(folder, b"..").ok()?;
    (Identity::of(&above) == Ok(meant)).then_some(above)
}

/// A folder, and those below it on the way to where somebody was last.
pub(crate) struct Below {
    root: OwnedFd,
    path: Vec<u8>,
    levels: Vec<Level>,
    /// The first level that is open. Those below it are too.
    first_open: usize,
}

struct Level {
    /// Length of the path up to here.
    end: usize,
    identity: Identity,
    folder: Option<OwnedFd>,
}

impl Below {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self {
            root,
            path: Vec::new(),
            levels: Vec::new(),
            first_open: 0,
        }
    }

    /// The folder at `path`, which has nothing but names and single slashes between them.
    ///
    /// # Errors
    /// What `step` returns.
    pub(crate) fn folder(&mut self, path: &[u8], step: Step<'_>) -> Result<BorrowedFd<'_>> {
        let common = common(&self.path, path);
        let is_end = |end: usize| end == path.len() || path.get(end) == Some(&b'/');
        let kept = self
            .levels
            .partition_point(|level| level.end <= common && is_end(level.end));
        self.back_to(kept, step)?;
        let mut start = self.path.len();
        while start < path.len() {
            if start > 0 {
                start += 1;
            }
            let rest = &path[start..];
            let length = rest.iter().position(|&byte| byte == b'/');
            let end = start + length.unwrap_or(rest.len());
            if matches!(&path[start..end], b"" | b"." | b"..") {
                return Err(Errno::INVAL);
            }
            let folder = step(self.last(), &path[start..end], &path[..end])?;
            self.levels.push(Level {
                end,
                identity: Identity::of(&folder)?,
                folder: Some(folder),
            });
            self.path.extend_from_slice(&path[self.path.len()..end]);
            if self.levels.len() - self.first_open > OPEN_FOLDERS {
                self.levels[self.first_open].folder = None;
                self.first_open += 1;
            }
            start = end;
        }
        Ok(self.last())
    }

    /// The last folder of a path that is there. `step` says which is.
    ///
    /// # Errors
    /// What `step` returns, but for what says that there is none.
    pub(crate) fn nearest(&mut self, path: &[u8], step: Step<'_>) -> Result<BorrowedFd<'_>> {
        match self.folder(path, step).map(drop) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(self.last()),
            Err(errno) => Err(errno),
        }
    }

    fn last(&self) -> BorrowedFd<'_> {
        let last = self.levels.last();
        last.and_then(|level| level.folder.as_ref())
            .unwrap_or(&self.root)
            .as_fd()
    }

    /// Goes back to the level of this number; 0 is the root.
    fn back_to(&mut self, kept: usize, step: Step<'_>) -> Result<()> {
        if kept > self.first_open || kept == 0 {
            self.truncate(kept);
            return Ok(());
        }
        // It was closed. From below, or from the root: whatever is shorter.
        let found = if self.first_open - kept < kept {
            self.climb(kept)
        } else {
            None
        };
        self.truncate(kept);
        self.first_open = kept - 1;
        match found {
            Some(folder) => self.levels[kept - 1].folder = Some(folder),
            None => self.descend(step).inspect_err(|_| self.truncate(0))?,
        }
        Ok(())
    }

    fn truncate(&mut self, kept: usize) {
        self.levels.truncate(kept);
        self.path
            .truncate(self.levels.last().map_or(0, |level| level.end));
        self.first_open = self.first_open.min(kept);
    }

    /// Opens a level from the first one that is open, below it.
    fn climb(&self, kept: usize) -> Option<OwnedFd> {
        let mut here: Option<OwnedFd> = None;
        for at in (kept - 1..self.first_open).rev() {
            let from = here
                .as_ref()
                .or(self.levels.get(self.first_open)?.folder.as_ref())?;
            here = Some(above(from, self.levels[at].identity)?);
        }
        here
    }

    /// Opens the last level from the root.
    fn descend(&mut self, step: Step<'_>) -> Result<()> {
        let mut here: Option<OwnedFd> = None;
        let mut start = 0;
        for level in &mut self.levels {
            let from = here.as_ref().unwrap_or(&self.root).as_fd();
            let folder = step(from, &self.path[start..level.end], &self.path[..level.end])?;
            level.identity = Identity::of(&folder)?;
            start = level.end + 1;
            here = Some(folder);
        }
        if let Some(last) = self.levels.last_mut() {
            last.folder = here;
        }
        Ok(())
    }
}

/// How long the start is that both have.
fn common(one: &[u8], other: &[u8]) -> usize {
    const PIECE: usize = 256;
    let pieces = one.chunks_exact(PIECE).zip(other.chunks_exact(PIECE));
    let whole = pieces.take_while(|(one, other)| one == other).count() * PIECE;
    let rest = one[whole..].iter().zip(&other[whole..]);
    whole + rest.take_while(|(one, other)| one == other).count()
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
    match open_folder(CWD, path.as_os_str().as_bytes()) {
        Ok(top) => empty(&top)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    unlinkat(CWD, path, AtFlags::REMOVEDIR)
}

/// Removes all that is in an open folder, however deep.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn empty(top: &OwnedFd) -> Result<()> {
    // What is in a folder of the top one is brought up to there, so that no two are ever open below it.
    let mut number: u64 = 0;
    loop {
        let mut is_empty = true;
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            is_empty = false;
            if !unlinked(top, name)? {
                let folder = open_folder(top, name.to_bytes())?;
                bring_up(&folder, top, &mut number)?;
                match unlinkat(top, name, AtFlags::REMOVEDIR) {
                    // Reading it while it changed may have missed something: the next time, then.
                    Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        if is_empty {
            return Ok(());
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
