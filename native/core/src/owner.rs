//! Whom things belong to that root makes: a site that root has backed up or restored is still the site's.

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
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

    /// Whether something is this owner's, as far as it matters.
    pub(crate) fn owns(self, stat: &Stat) -> bool {
        self.0
            .is_none_or(|(owner, _)| owner == Uid::from_raw(stat.st_uid))
    }

    /// Whether we are root, and work for somebody. Who else may write to what we have made could have us do
    /// there what only we may; without that power we do nothing that they could not do where the mount lets
    /// them.
    pub(crate) fn is_given(self) -> bool {
        self.0.is_some()
    }

    /// Gives what was just made. What somebody else has put in its place is not ours to give: a file with a
    /// second name may be any file, and a folder that is not empty, or not as ours are made, any folder.
    ///
    /// # Errors
    /// Those of the operating system, but for a file system that knows no owners.
    pub(crate) fn give(self, made: impl AsFd) -> rustix::io::Result<()> {
        let Some((user, group)) = self.0 else {
            return Ok(());
        };
        let stat = fstat(&made)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let is_just_made = match is_folder {
            true => stat.st_mode & 0o022 == 0 && is_empty(&made)?,
            false => stat.st_nlink == 1,
        };
        if stat.st_uid != 0 || !is_just_made {
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

fn is_empty(folder: impl AsFd) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;

    #[test]
    fn only_what_was_just_made_is_given() {
        if !geteuid().is_root() {
            return; // nobody else can give anything away
        }
        let scratch = tempfile::tempdir().unwrap();
        let owner = Owner::from_raw(65534, 65534);
        let given = |name: &str, prepare: fn(&Path)| {
            let path = scratch.path().join(name);
            fs::create_dir(&path).unwrap();
            prepare(&path);
            owner.give(fs::File::open(&path).unwrap()).unwrap();
            path.metadata().unwrap().uid() == 65534
        };
        assert!(given("made", |_| ()));
        assert!(!given("full", |path| fs::write(path.join("x"), "root's").unwrap()));
        assert!(!given("open", |path| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, PermissionsExt::from_mode(0o1777)).unwrap();
        }));
    }
}
