//! Moves what is unpacked into its place, file by file. Each file of the target is the old one or the new
//! one, whole; files that are not in the backup stay.
//!
//! Killed at any instant and done again it completes: what was moved is gone from where it was, and what
//! the folders shall be is in a list that stays until the end.
//!
//! Both trees are held open and gone through by descriptors: as root, this works in folders in which somebody
//! else can rename and link what they like, at any moment.

mod check;
mod copy;
mod folders;

pub(super) use check::{check, mount};

use crate::archive::{
    Below, FolderReader, LEFT_OUT, Report, Skipped, Staged, length, measure_in, remove, split,
    walk_in,
};
use crate::durable;
use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::progress::{Monitor, Phase};
use crate::way;
use folders::Folders;
use rustix::fs::{AtFlags, Dev, FileType, Mode, Timespec, Timestamps, UTIME_OMIT};
use rustix::fs::{fchmod, fstat, futimens, readlinkat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Moves what was unpacked in `staged` to its place below `target`, and removes `staged`. `target` may be
/// a symbolic link, what is in it is not followed; it is made when it is not there. When there is no
/// `staged`, all is done already.
///
/// What is in the way of something else (a file where the backup has a folder, a folder where it has a
/// file, a link where it has either) is renamed, never removed; the answer tells.
///
/// Root gives what it moves to the owner of `target`: a site restored by root is the site's.
///
/// # Errors
/// `Io`, `Cancelled`. What is not moved yet stays in `staged`: do it again.
pub fn place(staged: &Path, target: &Path, monitor: &Monitor) -> Result<Vec<Skipped>> {
    let skipped = move_in(staged, target, monitor)?;
    remove(staged).map_err(|errno| Error::io("cannot remove", staged)(errno.into()))?;
    Ok(skipped)
}

/// The same, with what is left of `staged` still there.
pub(crate) fn move_in(staged: &Path, target: &Path, monitor: &Monitor) -> Result<Vec<Skipped>> {
    match staged.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(Error::io("cannot read", staged))?,
    };
    way::check(target)?;
    durable::make_folders(target, 0o700)?;
    let cannot_open = |errno: Errno| Error::io("cannot open the folder", target)(errno.into());
    let top = way::open(target, way::FOLDER)?;
    // Where a path leads may have been changed; but nobody has made files for another owner's folder.
    let owner = Owner::of(&top).map_err(cannot_open)?;
    let Some(staged) = Staged::open(staged, owner)? else {
        return Ok(Vec::new());
    };
    let tree = staged.tree().map_err(failed_staged(&staged))?;
    let mut placing = Placing {
        staged: &staged,
        target,
        folders: Folders {
            owner,
            report: Report::default(),
            locked: BTreeMap::new(),
            tree: match &tree {
                Some(tree) => {
                    let again = tree.try_clone();
                    Some(Below::new(again.map_err(Error::io(
                        "cannot open the folder",
                        staged.path(),
                    ))?))
                }
                None => None,
            },
        },
        below: Below::new(top),
        elsewhere: BTreeMap::new(),
    };
    if let Some(tree) = &tree {
        let path = staged.path();
        monitor.begin(Phase::Place, Some(measure_in(tree, path, monitor)?))?;
        let unread = walk_in(tree, path, &mut |node| {
            match node.file_type() {
                FileType::Directory => {
                    placing.open(node.path)?;
                    return monitor.check();
                }
                FileType::Symlink if is_left_out(node.folder, node.name.to_bytes()) => {
                    unlinkat(node.folder, node.name, AtFlags::empty())
                        .map_err(placing.failed("cannot remove", node.path))?;
                }
                kind => placing.file(node.folder, node.path, kind)?,
            }
            match node.file_type() {
                FileType::RegularFile => monitor.add(length(&node.stat)),
                _ => monitor.check(),
            }
        })?;
        if let Some(unread) = unread.first() {
            return Err(Error::damaged(
                &staged.path().join(&unread.path),
                format!("it was unpacked, and now {}", unread.reason),
            ));
        }
    }
    placing.finish_folders(monitor)?;
    placing.sync().map_err(cannot_open)?;
    Ok(placing.folders.report.finish())
}

fn failed_staged(staged: &Staged) -> impl FnOnce(Errno) -> Error + use<'_> {
    move |errno| Error::io("cannot open the folder", staged.path())(errno.into())
}

fn is_left_out(folder: BorrowedFd<'_>, name: &[u8]) -> bool {
    readlinkat(folder, name, Vec::new()).is_ok_and(|to| to.as_c_str() == LEFT_OUT)
}

struct Placing<'a> {
    staged: &'a Staged,
    target: &'a Path,
    below: Below,
    folders: Folders,
    /// A folder of each other file system that is mounted in the target.
    elsewhere: BTreeMap<Dev, OwnedFd>,
}

impl<'a> Placing<'a> {
    fn failed<'p>(
        &self,
        doing: &'static str,
        path: &'p [u8],
    ) -> impl FnOnce(Errno) -> Error + use<'a, 'p> {
        let target = self.target;
        move |errno| Error::io(doing, &target.join(OsStr::from_bytes(path)))(errno.into())
    }

    fn open(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>> {
        let failed = self.failed("cannot open the folder", path);
        let Self { below, folders, .. } = self;
        below
            .folder(path, &mut |parent, name, path| {
                folders.step(parent, name, path)
            })
            .map_err(failed)
    }

    /// Moves a file or a link, the one at `path` in both trees.
    fn file(&mut self, from: BorrowedFd<'_>, path: &[u8], kind: FileType) -> Result<()> {
        let (above, name) = split(path);
        let failed = self.failed("cannot move into its place", path);
        let to = self.open(above)?.try_clone_to_owned();
        let to = to.map_err(Error::io("cannot open the folder", self.target))?;
        let moved = match statat(&to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != kind => {
                self.folders.aside(to.as_fd(), name, path)
            }
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        };
        // Two names of one file stay two, says POSIX: then it is in its place.
        match moved.and_then(|()| renameat(from, name, &to, name)) {
            Ok(()) => Ok(()),
            Err(Errno::XDEV) => self.copy(from, name, kind, to).map_err(failed),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The same to where another file system is mounted.
    fn copy(
        &mut self,
        from: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        to: OwnedFd,
    ) -> rustix::io::Result<()> {
        let staged = self.staged.path().file_name().unwrap_or_default();
        let unfinished = [staged.as_bytes(), b".copy"].concat();
        copy::over(from, name, kind, &to, &unfinished, self.folders.owner)?;
        let device = fstat(&to)?.st_dev;
        self.elsewhere.entry(device).or_insert(to);
        Ok(())
    }

    /// Gives the folders their modes and times, when nothing changes in them any more.
    fn finish_folders(&mut self, monitor: &Monitor) -> Result<()> {
        let staged = self.staged;
        let unreadable = || Error::io("cannot read the folder", staged.path());
        let Some(mut list) = FolderReader::open(staged).map_err(unreadable())? else {
            return self.lock();
        };
        while let Some(folder) = list.next().map_err(unreadable())? {
            monitor.check()?;
            let opened = self.open(&folder.path)?;
            let result = fstat(opened).and_then(|stat| {
                // Those bits are the site's own: no archive gives them.
                let mode = (stat.st_mode & 0o7000) | folder.mode;
                fchmod(opened, Mode::from_raw_mode(mode | 0o700))?;
                futimens(
                    opened,
                    &Timestamps {
                        last_access: Timespec {
                            tv_sec: 0,
                            tv_nsec: UTIME_OMIT as _,
                        },
                        last_modification: folder.modified,
                    },
                )?;
                Ok(mode)
            });
            match result {
                // Its owner could not come to what is below it: later.
                Ok(mode) if mode & 0o700 != 0o700 => {
                    self.folders.locked.insert(folder.path, mode);
                }
                Ok(_) => {
                    self.folders.locked.remove(&folder.path);
                }
                Err(Errno::PERM) => self.folders.report.add(
                    &folder.path,
                    "its mode and time are not restored: it belongs to somebody else",
                ),
                Err(errno) => {
                    return Err(self.failed("cannot change the mode of", &folder.path)(
                        errno,
                    ));
                }
            }
        }
        self.lock()
    }

    /// Takes away the owner's own access where there shall be none, from the bottom up. Each only when the
    /// next one is open, since the way up leads through it.
    fn lock(&mut self) -> Result<()> {
        let mut open: Option<(OwnedFd, Vec<u8>, u32)> = None;
        let target = self.target;
        let close = |(folder, path, mode): (OwnedFd, Vec<u8>, u32)| {
            fchmod(folder, Mode::from_raw_mode(mode)).map_err(|errno| {
                let path = target.join(OsStr::from_bytes(&path));
                Error::io("cannot change the mode of", &path)(errno.into())
            })
        };
        for (path, mode) in std::mem::take(&mut self.folders.locked).into_iter().rev() {
            let folder = self.open(&path)?.try_clone_to_owned();
            let folder = folder.map_err(Error::io("cannot open the folder", target))?;
            if let Some(before) = open.replace((folder, path, mode)) {
                close(before)?;
            }
        }
        open.map_or(Ok(()), close)
    }

    /// Makes all of it safe on the disks.
    fn sync(&mut self) -> rustix::io::Result<()> {
        let top = self
            .below
            .folder(b"", &mut |_, _, _| Err(Errno::NOENT))?
            .try_clone_to_owned();
        let top = top.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        for folder in self.elsewhere.values().chain([&top]) {
            durable::sync_all_in(folder)?;
        }
        Ok(())
    }
}
