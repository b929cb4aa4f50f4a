//! Whom things belong to that root makes: a site that root has backed up or restored is still the site's.

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::fs::{chownat, fchown, fstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The owner of a folder, as far as what is made in it should be theirs: nobody but root can give anything
/// away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(Option<(Uid, Gid)>);

impl Owner {
    /// Of an open folder.
    pub(crate) fn of(folder: impl AsFd) -> rustix::io::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        let stat = fstat(folder)?;
        Ok(Self::from_raw(stat.st_uid, stat.st_gid))
    }

    /// Of the folder at `path`, or of the nearest one above it where it is still to be made.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        let there = path.ancestors().find(|above| above.is_dir());
        // One name in the current folder.
        let metadata = there.unwrap_or(Path::new(".")).metadata()?;
        Ok(Self::from_raw(metadata.uid(), metadata.gid()))
    }

    /// Of the folder that `path` is in.
    pub(crate) fn above(path: &Path) -> io::Result<Self> {
        Self::at(path.parent().unwrap_or(path))
    }

    fn from_raw(user: u32, group: u32) -> Self {
        Self(Some((Uid::from_raw(user), Gid::from_raw(group))))
    }

    /// Whether something of this kind can be what we have made for this owner: it is ours, or theirs.
    pub(crate) fn has(self, stat: &Stat) -> bool {
        let user = Uid::from_raw(stat.st_uid);
        user == geteuid() || self.0.is_some_and(|(owner, _)| owner == user)
    }

    /// Gives what was just made. What somebody else has put in its place is not ours to give, and a file
    /// with a second name may be any file.
    ///
    /// # Errors
    /// Those of the operating system, but for a file system that knows no owners.
    pub(crate) fn give(self, made: impl AsFd) -> rustix::io::Result<()> {
        let Some((user, group)) = self.0 else {
            return Ok(());
        };
        let stat = fstat(&made)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_uid != 0 || (!is_folder && stat.st_nlink != 1) {
            return Ok(());
        }
        match fchown(made, Some(user), Some(group)) {
            Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            done => done,
        }
    }

    /// The same of a symbolic link.
    pub(crate) fn give_link(self, folder: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
        let Some((user, group)) = self.0 else {
            return Ok(());
        };
        #[cfg(target_os = "linux")]
        let (link, flags, name) = {
            // Not by its name: that could be another thing's by now.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let link = openat(folder, name, flags, Mode::empty())?;
            let stat = fstat(&link)?;
            let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            if !is_link || stat.st_uid != 0 || stat.st_nlink != 1 {
                return Ok(());
            }
            (link, AtFlags::EMPTY_PATH, &b""[..])
        };
        #[cfg(not(target_os = "linux"))]
        let (link, flags) = (folder, AtFlags::SYMLINK_NOFOLLOW);
        match chownat(link, name, Some(user), Some(group), flags) {
            Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            done => done,
        }
    }
}
