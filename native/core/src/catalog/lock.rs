//! One process at a time works in a backup folder.

use crate::error::{Error, Result};
use crate::owner::Owner;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

pub(super) const LOCK: &str = ".zbackup.lock";
/// The longest text of a lock that is read, in bytes: a number and a word.
const LONGEST_LOCK: u64 = 100;

/// What a process has a backup folder for. In words the start of a sentence that the folder goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// To make a backup.
    Backup,
    /// To restore the site, or to finish that.
    Restore,
    /// For something else, mostly not for long.
    Other,
}

impl Work {
    const ALL: [Self; 3] = [Self::Backup, Self::Restore, Self::Other];

    /// As it is in the lock file.
    fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "a backup to",
            Self::Restore => "a restore from",
            Self::Other => "a change of",
        })
    }
}

/// A lock on a folder, held by the open file: the kernel drops it when the process is gone.
#[derive(Debug)]
pub(super) struct Lock {
    /// Whatever else comes to be at its path, this is the one.
    pub(super) folder: OwnedFd,
    _file: File,
}

impl Lock {
    /// Locks a folder that is open, and called `path` in messages.
    pub(super) fn take(folder: OwnedFd, path: &Path, work: Work) -> Result<Self> {
        let path = path.join(LOCK);
        let fail = |error| Error::io("cannot lock", &path)(error);
        loop {
            let Some(mut file) = open_lock(&folder).map_err(fail)? else {
                continue;
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    let _ = (&file).take(LONGEST_LOCK).read_to_string(&mut text);
                    let mut lines = text.lines();
                    let pid = lines.next().unwrap_or_default();
                    let word = lines.next();
                    let work = Work::ALL.into_iter().find(|work| word == Some(work.word()));
                    return Err(Error::InProgress {
                        dir: path.parent().unwrap_or(&path).to_owned(),
                        work: work.unwrap_or(Work::Other),
                        holder: if pid.is_empty() {
                            "another process".into()
                        } else {
                            format!("PID {pid}")
                        },
                    });
                }
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
            // Its last holder may have removed it between our opening and our locking.
            let ours = fstat(&file).map_err(|errno| fail(errno.into()))?;
            let there = statat(&folder, LOCK, AtFlags::SYMLINK_NOFOLLOW);
            let is_ours = |there: Stat| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino);
            if !there.is_ok_and(is_ours) {
                continue;
            }
            // It would be written to.
            let kind = FileType::from_raw_mode(ours.st_mode);
            if kind != FileType::RegularFile || ours.st_nlink > 1 {
                return Err(Error::Usage(format!(
                    "{} is another thing than the lock that was made there: remove it",
                    path.display()
                )));
            }
            // In one piece: somebody may be reading.
            let text = format!("{}\n{}\n", std::process::id(), work.word());
            file.set_len(0)
                .and_then(|()| file.write_all(text.as_bytes()))
                .map_err(fail)?;
            return Ok(Self {
                folder,
                _file: file,
            });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked: whoever opens it now sees that it is gone, and makes a new one.
        let _ = unlinkat(&self.folder, LOCK, AtFlags::empty());
    }
}

/// Makes the file of a lock for the owner of its folder, or opens the one that is there; `None` when that has
/// just gone.
fn open_lock(folder: &OwnedFd) -> io::Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let new = flags | OFlags::CREATE | OFlags::EXCL;
    match openat(folder, LOCK, new, Mode::RUSR | Mode::WUSR) {
        Ok(made) => {
            Owner::of(folder)?.give(&made)?;
            Ok(Some(made.into()))
        }
        Err(Errno::EXIST) => match openat(folder, LOCK, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => Ok(Some(opened?.into())),
        },
        Err(errno) => Err(errno.into()),
    }
}
