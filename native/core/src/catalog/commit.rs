//! What becomes the current backup, as it is decided and done on the disk.

use super::FILE_NAME;
use crate::archive::{empty, open_folder};
use crate::durable::write_synced_in;
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

pub(super) const STAGING: &str = ".staging";
pub(super) const COMMIT: &str = "commit.json";
const UNFINISHED: &str = "commit.json.new";
/// The longest commit that is read, in bytes: some names.
const LONGEST: u64 = 16 << 20;

/// What was decided: names in the folder.
#[derive(Serialize, Deserialize)]
pub(super) struct Commit {
    /// From the staging folder, in this order.
    pub(super) rename: Vec<String>,
    /// Afterwards.
    pub(super) remove: Vec<String>,
}

/// The backup folder and its staging folder, open. Both can be another account's than ours, who may be root:
/// whatever comes to be at their paths meanwhile, these are the ones.
pub(super) struct Folders<'a> {
    path: &'a Path,
    top: &'a OwnedFd,
    staging: OwnedFd,
}

impl<'a> Folders<'a> {
    /// Of a folder that is open at `path`; `None` where nothing is staged. A link in the place of the staging
    /// folder leads nowhere.
    pub(super) fn open(path: &'a Path, top: &'a OwnedFd) -> Result<Option<Self>> {
        let fail = |errno: Errno| Error::io("cannot open the folder", path)(errno.into());
        match open_folder(top, STAGING.as_bytes()) {
            Ok(staging) => Ok(Some(Self { path, top, staging })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(fail(errno)),
        }
    }

    /// Puts the new list and what is to be decided beside the staged files, all of it safe on the disk.
    pub(super) fn write(&self, commit: &Commit, list: &[u8]) -> Result<()> {
        let text = serde_json::to_vec(commit)
            .map_err(|error| Error::Internal(format!("the catalog: {error}")))?;
        for (name, text) in [(FILE_NAME, list), (UNFINISHED, &text)] {
            write_synced_in(&self.staging, name.as_ref(), text).map_err(Error::io(
                "cannot write",
                &self.path.join(STAGING).join(name),
            ))?;
        }
        self.sync(&self.staging)?;
        self.sync(self.top)
    }

    /// Decides on what was written.
    pub(super) fn decide(&self) -> Result<()> {
        renameat(&self.staging, UNFINISHED, &self.staging, COMMIT)
            .map_err(self.failed("cannot rename", UNFINISHED))?;
        self.sync(&self.staging)
    }

    /// What was decided, when something was.
    pub(super) fn read(&self) -> Result<Option<Commit>> {
        let path = self.path.join(STAGING).join(COMMIT);
        let wrong = |reason: String| {
            Error::damaged(
                &path,
                format!("{reason}; remove it to give up what it says"),
            )
        };
        // Nobody is waited for who would write into a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.staging, COMMIT, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(wrong("it is a symbolic link".into())),
            Err(errno) => return Err(self.failed("cannot read", COMMIT)(errno)),
        };
        let fail = || Error::io("cannot read", &path);
        if !file.metadata().map_err(fail())?.is_file() {
            return Err(wrong("it is not a file".into()));
        }
        let mut text = Vec::new();
        file.take(LONGEST + 1)
            .read_to_end(&mut text)
            .map_err(fail())?;
        if text.len() as u64 > LONGEST {
            return Err(wrong("it is far too long".into()));
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| wrong(error.to_string()))
    }

    pub(super) fn apply(&self, commit: &Commit) -> Result<()> {
        for name in &commit.rename {
            let name = plain(name)?;
            match renameat(&self.staging, name, self.top, name) {
                Ok(()) | Err(Errno::NOENT) => {} // done before
                Err(errno) => return Err(self.failed("cannot rename", name)(errno)),
            }
        }
        self.sync(self.top)?;
        for name in &commit.remove {
            let name = plain(name)?;
            self.remove(self.top, name)
                .map_err(|errno| Error::io("cannot remove", &self.path.join(name))(errno.into()))?;
        }
        self.sync(self.top)?;
        self.clear()
    }

    /// Removes the staging folder. The commit goes first: without the files it must not be read.
    pub(super) fn clear(&self) -> Result<()> {
        self.remove(&self.staging, COMMIT)
            .map_err(self.failed("cannot remove", COMMIT))?;
        self.sync(&self.staging)?;
        empty(&self.staging)
            .and_then(|()| unlinkat(self.top, STAGING, AtFlags::REMOVEDIR))
            .map_err(|errno| Error::io("cannot remove", &self.path.join(STAGING))(errno.into()))
    }

    fn remove(&self, folder: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        match unlinkat(folder, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => done,
        }
    }

    fn sync(&self, folder: &OwnedFd) -> Result<()> {
        fsync(folder).map_err(|errno| Error::io("cannot write the folder", self.path)(errno.into()))
    }

    /// For what is staged under this name.
    fn failed(&self, doing: &'static str, name: &str) -> impl FnOnce(Errno) -> Error + use<> {
        let path = self.path.join(STAGING).join(name);
        move |errno| Error::io(doing, &path)(errno.into())
    }
}

/// A name that was decided on is a name in the folder, whatever happened to the file that says so.
fn plain(name: &str) -> Result<&str> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(Error::Usage(format!(
            "{COMMIT} in {STAGING} names a file outside: {name}"
        )));
    }
    Ok(name)
}
