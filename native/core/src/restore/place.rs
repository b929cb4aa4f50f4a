//! Moves what is unpacked into its place, file by file. Each file of the target is the old one or the new
//! one, whole; files that are not in the backup stay.
//!
//! Killed at any instant and done again it completes: what was moved is gone from where it was, and what
//! the folders shall be is in a list that stays until the end.

use crate::archive::{
    Below, FolderReader, LEFT_OUT, Report, Skipped, TREE, length, measure, open_folder, remove,
    split, walk,
};
use crate::durable;
use crate::error::{Error, Result};
use crate::progress::{Monitor, Phase};
use rustix::fs::{Access, Gid, Uid, access};
use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, UTIME_OMIT};
use rustix::fs::{
    chownat, fchmod, fchown, fstat, futimens, mkdirat, readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
    let is_there = |path: &Path| path.try_exists().map_err(Error::io("cannot read", path));
    if !is_there(staged)? {
        return Ok(Vec::new());
    }
    is_private(staged)?;
    let owner = owner(target)?;
    if !is_there(target)? {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(target)
            .map_err(Error::io("cannot create the folder", target))?;
        if let Some((user, group)) = owner {
            rustix::fs::chown(target, Some(user), Some(group))
                .map_err(|errno| Error::io("cannot change the owner of", target)(errno.into()))?;
        }
    }
    let below = Below::new(target)
        .map_err(|errno| Error::io("cannot open the folder", target)(errno.into()))?;
    let tree = staged.join(TREE);
    let is_staged = is_there(&tree)?;
    let cannot_open = |errno: Errno| Error::io("cannot open the folder", &tree)(errno.into());
    let mut placing = Placing {
        staged,
        target,
        folders: Folders {
            owner,
            report: Report::default(),
            locked: BTreeMap::new(),
            tree: is_staged
                .then(|| Below::new(&tree).map_err(cannot_open))
                .transpose()?,
        },
        below,
    };
    if is_staged {
        monitor.begin(Phase::Place, Some(measure(&tree, monitor)?))?;
        let unread = walk(&tree, &mut |node| {
            match node.file_type() {
                FileType::Directory => {
                    placing.open(node.path)?;
                    return monitor.check();
                }
                FileType::Symlink if is_left_out(node.folder, node.name.to_bytes()) => {
                    unlinkat(node.folder, node.name, AtFlags::empty())
                        .map_err(|errno| placing.failed("cannot remove", node.path)(errno))?;
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
                &tree.join(&unread.path),
                format!("it was unpacked, and now {}", unread.reason),
            ));
        }
    }
    placing.finish_folders(monitor)?;
    durable::sync_all_in(target)?;
    Ok(placing.folders.report.finish())
}

/// Whether all that is in `staged` can be moved to `target`: not where another file system is mounted in
/// there, or where we may not write. Asked before anything is decided.
///
/// # Errors
/// `Usage` with the place; `Io`, `Cancelled`.
pub(crate) fn check(staged: &Path, target: &Path, monitor: &Monitor) -> Result<()> {
    let tree = staged.join(TREE);
    let ours = mount(&tree).map_err(|errno| Error::io("cannot read", &tree)(errno.into()))?;
    // The target itself may be a link: that is how it was configured.
    match target.metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Error::Usage(format!(
                "{} is not a folder: files cannot be restored there",
                target.display()
            )));
        }
        Err(_) if target.symlink_metadata().is_ok() => {
            return Err(Error::Usage(format!(
                "{} is a link to what is not there: is a disk not mounted?",
                target.display()
            )));
        }
        _ => {}
    }
    let may_be_written = |there: &Path| -> Result<()> {
        if mount(there).is_ok_and(|theirs| theirs != ours) {
            return Err(Error::Usage(format!(
                "another file system is mounted at {}: files cannot be moved there in one step; unmount \
                 it for the restore, or leave the files out with --only",
                there.display()
            )));
        }
        access(there, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|errno| Error::io("cannot write the folder", there)(errno.into()))
    };
    if target.is_dir() {
        may_be_written(target)?;
    }
    walk(&tree, &mut |node| {
        monitor.check()?;
        if node.file_type() == FileType::Directory {
            let there = target.join(OsStr::from_bytes(node.path));
            // Where there is no folder yet there is no mount; a closed one of ours is opened.
            let is_folder = |metadata: &std::fs::Metadata| metadata.is_dir();
            if there
                .symlink_metadata()
                .ok()
                .as_ref()
                .is_some_and(is_folder)
                && (mount(&there).is_ok_and(|theirs| theirs != ours) || !is_ours(&there))
            {
                may_be_written(&there)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.uid() == geteuid().as_raw())
}

/// What tells one mount from another: the same disk can be there twice.
fn mount(path: &Path) -> rustix::io::Result<(u64, u64)> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{StatxFlags, statx};
        let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat = statx(rustix::fs::CWD, path, AtFlags::empty(), flags)?;
        let device = (u64::from(stat.stx_dev_major) << 32) | u64::from(stat.stx_dev_minor);
        Ok((device, stat.stx_mnt_id))
    }
    #[cfg(not(target_os = "linux"))]
    {
        Ok((rustix::fs::stat(path)?.st_dev as u64, 0))
    }
}

/// Whether a staged folder is the one that we made: nobody else could put another in its place, by whose
/// links files would be moved.
fn is_private(staged: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    for path in [staged.to_owned(), staged.join(TREE)] {
        let metadata = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found.map_err(Error::io("cannot read", &path))?,
        };
        let is_private = metadata.is_dir()
            && metadata.uid() == geteuid().as_raw()
            && metadata.mode() & 0o022 == 0;
        if !is_private {
            return Err(Error::damaged(
                &path,
                "it is not the private folder that was made for the restore",
            ));
        }
    }
    Ok(())
}

/// Whom root gives the files to: the owner of the folder, or of the one above where it is still to be made.
fn owner(target: &Path) -> Result<Option<(Uid, Gid)>> {
    use std::os::unix::fs::MetadataExt;
    if !geteuid().is_root() {
        return Ok(None);
    }
    let there = target
        .ancestors()
        .find(|above| above.is_dir())
        .unwrap_or(target);
    let metadata = there.metadata().map_err(Error::io("cannot read", there))?;
    Ok(Some((
        Uid::from_raw(metadata.uid()),
        Gid::from_raw(metadata.gid()),
    )))
}

fn is_left_out(folder: BorrowedFd<'_>, name: &[u8]) -> bool {
    readlinkat(folder, name, Vec::new()).is_ok_and(|to| to.as_c_str() == LEFT_OUT)
}

struct Placing<'a> {
    staged: &'a Path,
    target: &'a Path,
    below: Below,
    folders: Folders,
}

impl Placing<'_> {
    fn path(&self, path: &[u8]) -> PathBuf {
        self.target.join(OsStr::from_bytes(path))
    }

    fn failed(&self, doing: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error + use<> {
        let path = self.path(path);
        move |errno| Error::io(doing, &path)(errno.into())
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
        let staged = self.staged;
        let to = self.open(above)?.try_clone_to_owned();
        let to = to.map_err(Error::io("cannot open the folder", self.target))?;
        let moved = match statat(&to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != kind => {
                self.folders.aside(to.as_fd(), name, path)
            }
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        };
        let owned = moved.and_then(|()| match self.folders.owner {
            Some((user, group)) => chownat(
                from,
                name,
                Some(user),
                Some(group),
                AtFlags::SYMLINK_NOFOLLOW,
            ),
            None => Ok(()),
        });
        // Two names of one file stay two, says POSIX: then it is in its place.
        match owned.and_then(|()| renameat(from, name, &to, name)) {
            Ok(()) => Ok(()),
            Err(Errno::XDEV) => Err(Error::Io {
                doing: "cannot move into its place",
                path: self.path(path),
                source: io::Error::new(
                    io::ErrorKind::CrossesDevices,
                    format!(
                        "it is on another file system than {}, where all that is not moved yet is kept",
                        staged.display()
                    ),
                ),
            }),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Gives the folders their modes and times, when nothing changes in them any more.
    fn finish_folders(&mut self, monitor: &Monitor) -> Result<()> {
        let unreadable = || Error::io("cannot read the folder", self.staged);
        let Some(mut list) = FolderReader::open(self.staged).map_err(unreadable())? else {
            return self.lock();
        };
        loop {
            let staged = self.staged;
            let Some(folder) = list
                .next()
                .map_err(Error::io("cannot read the folder", staged))?
            else {
                break;
            };
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

    /// Takes away the owner's own access where there shall be none, from the bottom up.
    fn lock(&mut self) -> Result<()> {
        for (path, mode) in std::mem::take(&mut self.folders.locked).into_iter().rev() {
            let failed = self.failed("cannot change the mode of", &path);
            fchmod(self.open(&path)?, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        Ok(())
    }
}

/// What happens to folders of the target.
struct Folders {
    /// Of what is new.
    owner: Option<(Uid, Gid)>,
    report: Report,
    /// Those that their owner may not read or write, and may for now: with the modes to go back to.
    locked: BTreeMap<Vec<u8>, u32>,
    /// What is still to be moved.
    tree: Option<Below>,
}

impl Folders {
    fn step(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> rustix::io::Result<OwnedFd> {
        let folder = match open_folder(parent, name) {
            Err(Errno::NOENT) => return self.make(parent, name),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                self.aside(parent, name, path)?;
                return self.make(parent, name);
            }
            Err(Errno::ACCESS) => {
                self.unlock_closed(parent, name, path)?;
                open_folder(parent, name)?
            }
            other => other?,
        };
        let stat = fstat(&folder)?;
        if stat.st_mode & 0o700 != 0o700 {
            match fchmod(
                &folder,
                Mode::from_raw_mode((stat.st_mode & 0o7777) | 0o700),
            ) {
                Ok(()) => {
                    let mode = stat.st_mode & 0o7777;
                    self.locked.entry(path.to_vec()).or_insert(mode);
                }
                // Somebody else's: it may be open to us all the same.
                Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(folder)
    }

    fn make(&self, parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        mkdirat(parent, name, Mode::RWXU)?;
        let folder = open_folder(parent, name)?;
        if let Some((user, group)) = self.owner {
            fchown(&folder, Some(user), Some(group))?;
        }
        Ok(folder)
    }

    /// A folder that cannot even be read.
    fn unlock_closed(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> rustix::io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, OFlags, chmodat, openat};
            use std::os::fd::AsRawFd;
            // What is opened in this way cannot be changed, but its name in /proc can.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = openat(parent, name, flags, Mode::empty())?;
            let mode = fstat(&folder)?.st_mode & 0o7777;
            let itself = format!("/proc/self/fd/{}", folder.as_raw_fd());
            match chmodat(
                CWD,
                itself,
                Mode::from_raw_mode(mode | 0o700),
                AtFlags::empty(),
            ) {
                Ok(()) => {}
                Err(Errno::PERM) => return Err(Errno::ACCESS),
                Err(errno) => return Err(errno),
            }
            self.locked.entry(path.to_vec()).or_insert(mode);
            Ok(())
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (parent, name, path);
            Err(Errno::ACCESS)
        }
    }

    /// Whether something of that name is still to be moved into the folder.
    fn is_staged(&mut self, above: &[u8], name: &[u8]) -> bool {
        self.tree.as_mut().is_some_and(|tree| {
            tree.folder(above, &mut |parent, name, _| open_folder(parent, name))
                .and_then(|folder| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))
                .is_ok()
        })
    }

    /// Renames what is in the way to a name that is free.
    fn aside(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> rustix::io::Result<()> {
        /// What file systems take.
        const LONGEST: usize = 255;
        for number in 1_u64.. {
            let suffix = match number {
                1 => ".before-restore".to_owned(),
                number => format!(".before-restore-{number}"),
            };
            let kept = name.len().min(LONGEST - suffix.len());
            let free = [&name[..kept], suffix.as_bytes()].concat();
            if self.is_staged(split(path).0, &free) {
                continue;
            }
            match rename_to_free(folder, name, &free) {
                Ok(()) => {
                    let free = String::from_utf8_lossy(&free);
                    let reason = format!("something else was in its place: that is now {free}");
                    self.report.add(path, reason);
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EXIST)
    }
}

/// `EXIST` when the new name is not free.
fn rename_to_free(folder: BorrowedFd<'_>, name: &[u8], free: &[u8]) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(folder, name, folder, free, RenameFlags::NOREPLACE) {
            // Not every file system knows how to.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            result => return result,
        }
    }
    match statat(folder, free, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => renameat(folder, name, folder, free),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mount_in_the_target_is_seen_before_anything_is_moved() {
        let staged = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(staged.path().join(TREE).join("a/b")).unwrap();
        let same = tempfile::tempdir_in(staged.path()).unwrap();
        std::fs::create_dir(same.path().join("a")).unwrap();
        let monitor = Monitor::silent();
        check(staged.path(), same.path(), &monitor).unwrap();
        // What is mounted at /dev/shm is another file system.
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        std::fs::create_dir(other.path().join("a")).unwrap();
        let error = check(staged.path(), other.path(), &monitor)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("mounted") && error.contains("/dev/shm"),
            "{error}"
        );
    }
}
