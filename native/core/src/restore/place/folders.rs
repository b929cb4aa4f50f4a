//! The folders of the target, on the way to where something belongs.

use crate::archive::{Below, Report, open_folder, split};
use crate::owner::Owner;
use rustix::fs::{AtFlags, Mode, fchmod, fstat, mkdirat, renameat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What happens to folders of the target.
pub(super) struct Folders {
    /// Of what is new.
    pub(super) owner: Owner,
    pub(super) report: Report,
    /// Those that their owner may not read or write, and may for now: with the modes to go back to.
    pub(super) locked: BTreeMap<Vec<u8>, u32>,
    /// What is still to be moved.
    pub(super) tree: Option<Below>,
}

impl Folders {
    /// Opens a folder, and makes it where there is none.
    pub(super) fn step(
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
        self.owner.give(&folder)?;
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
    pub(super) fn aside(
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
