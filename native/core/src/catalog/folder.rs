//! How a new backup becomes the current one of its name: all of it or nothing, whenever the machine
//! stops.
//!
//! Files are staged in `.staging/` and synced, the new list with them. Then `.staging/commit.json`
//! appears, which says what is to be renamed and removed: from there on the new backup is decided.
//! Renaming and removing can be done again from the start as often as it takes, and whoever opens the
//! folder next does so. Without a `commit.json`, what is staged was not finished and goes.

use super::commit::{COMMIT, Commit, Folders, STAGING};
use super::lock::{LOCK, Lock, Work};
use super::{BackupName, Catalog, Entry, FILE_NAME, LONGEST, PartName, retention};
use crate::archive::open_folder;
use crate::durable::{make_folders, make_private_in, open_file, sync_folder, write_synced};
use crate::error::{self, Error, Result};
use crate::owner::Owner;
use crate::way;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, Mode, fchmod, fstat, fsync, mkdirat, renameat, statat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

const RESTORE: &str = crate::restore::JOURNAL;
/// How often a tenth of a second is waited for a commit that is under way: some renames.
const PATIENCE: u32 = 100;

/// A backup folder that this process alone may change. The lock goes with the process, however that
/// ends.
#[derive(Debug)]
pub struct BackupFolder {
    path: PathBuf,
    /// Whether what is staged is to be left to the next process: it was decided, or may have been.
    is_decided: Cell<bool>,
    lock: Lock,
}

impl BackupFolder {
    /// Makes the folder where it is missing, locks it, and finishes or undoes what an earlier process
    /// left.
    ///
    /// # Errors
    /// `InProgress` when another job has it; `Io`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_for(path, Work::Other)
    }

    /// The same, and others who want it are told what for.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open_for(path: &Path, work: Work) -> Result<Self> {
        way::check(path)?;
        private_folder(path)?;
        let lock = Lock::take(way::open(path, way::FOLDER)?, path, work)?;
        // Somebody else's folder cannot be closed.
        let _ = close_to_others(&lock.folder);
        let folder = Self {
            path: path.to_owned(),
            is_decided: Cell::new(true),
            lock,
        };
        folder.recover()?;
        folder.is_decided.set(false);
        Ok(folder)
    }

    /// Where a file of a new backup is staged. The staging folder is made for the first.
    ///
    /// # Errors
    /// `Io`.
    pub fn staged(&self, file: &PartName) -> Result<PathBuf> {
        Ok(self.staging()?.join(file.as_str()))
    }

    /// Makes that file, empty and private, in the place of one that has its name.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn stage(&self, file: &PartName) -> Result<(File, PathBuf)> {
        let path = self.path.join(STAGING).join(file.as_str());
        let made = make_private_in(self.open_staging()?, file.as_str().as_ref());
        Ok((made.map_err(Error::io("cannot create", &path))?, path))
    }

    /// The folder of what is staged. It is made when it is not there.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn staging(&self) -> Result<PathBuf> {
        self.open_staging()?;
        Ok(self.path.join(STAGING))
    }

    fn open_staging(&self) -> Result<OwnedFd> {
        let path = self.path.join(STAGING);
        let fail = |errno: Errno| Error::io("cannot create the folder", &path)(errno.into());
        let top = &self.lock.folder;
        let is_made = match mkdirat(top, STAGING, Mode::RWXU) {
            Err(Errno::EXIST) => false,
            made => made.map(|()| true).map_err(fail)?,
        };
        let staging = match open_folder(top, STAGING.as_bytes()) {
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(self.no_staging()),
            opened => opened.map_err(fail)?,
        };
        if is_made {
            let owner = Owner::of(top).map_err(fail)?;
            owner
                .give(&staging)
                .and_then(|()| fsync(top))
                .map_err(fail)?;
        }
        Ok(staging)
    }

    fn no_staging(&self) -> Error {
        let staging = self.path.join(STAGING);
        Error::Usage(format!("{} is not a folder: remove it", staging.display()))
    }

    /// Opens a folder as [`BackupFolder::open`] does, and waits some seconds for another job that has it.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open_soon(path: &Path) -> Result<Self> {
        let mut patience = PATIENCE;
        loop {
            match Self::open(path) {
                Err(Error::InProgress { .. }) if patience > 0 => {
                    patience -= 1;
                    std::thread::sleep(Duration::from_millis(100));
                }
                opened => return opened,
            }
        }
    }

    /// The list. One that is damaged as a whole is kept aside under another name, which is in the
    /// answer, and a new one begins.
    ///
    /// # Errors
    /// `Io`.
    pub fn catalog(&self) -> Result<(Catalog, Option<PathBuf>)> {
        match Catalog::read(&self.path) {
            Ok(catalog) => Ok((catalog, None)),
            Err(Error::Damaged { path, .. }) => {
                Ok((Catalog::default(), Some(self.keep_damaged(&path)?)))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives what is in the place of the list another name too, which is in the answer.
    fn keep_damaged(&self, path: &Path) -> Result<PathBuf> {
        let cannot_read = || Error::io("cannot read", path);
        let file = open_file(path).map_err(cannot_read())?;
        let length = file.metadata().map_err(cannot_read())?.len();
        let mut text = Vec::new();
        file.take(LONGEST + 1)
            .read_to_end(&mut text)
            .map_err(cannot_read())?;
        let is_whole = text.len() as u64 <= LONGEST;
        // Named for its content: kept once, however often it is met.
        let mut hash = Sha256::new_with_prefix(&text);
        if !is_whole {
            hash.update(length.to_be_bytes());
        }
        let hash = hex::encode(hash.finalize());
        let aside = format!("{FILE_NAME}.damaged-{}", &hash[..8]);
        let aside = self.path.join(aside);
        if is_whole {
            write_synced(&aside, &text)?;
        } else {
            // Too long for memory, and perhaps for the disk: not copied. Where a file cannot have two
            // names, it has the new one.
            match std::fs::remove_file(&aside) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => std::fs::hard_link(path, &aside).or_else(|_| std::fs::rename(path, &aside)),
            }
            .map_err(Error::io("cannot rename", path))?;
        }
        sync_folder(&self.path)?;
        Ok(aside)
    }

    /// Makes the staged files the backup `entry`, in the place of an earlier one of that name. The
    /// files of that one which the new one does not have go away, as do encrypted or unencrypted
    /// twins, and what is past its time (see [`retention`]). A list that knew no backup has nothing
    /// removed or replaced: what is in the way of the new files is renamed. The answer has those names.
    ///
    /// # Errors
    /// `Io`. Before the commit is decided the earlier backup is untouched then; after that the next
    /// process finishes it.
    pub fn commit(
        &self,
        mut catalog: Catalog,
        entry: Entry,
        staged: &[PartName],
    ) -> Result<Vec<String>> {
        let before = catalog.get(&entry.name);
        let name = entry.name.clone();
        // Its time may be one that somebody else wrote: it makes nothing older than it is.
        let now = entry.timestamp.min(Timestamp::now().as_second());
        let has_files = entry.files.is_some();
        let is_good = entry.verified.as_ref().is_none_or(|proof| proof.ok);
        let mut aside = Vec::new();
        if catalog.entries().0.is_empty() {
            for file in staged.iter().flat_map(|file| [file.clone(), file.twin()]) {
                aside.extend(self.set_aside(file.as_str())?);
            }
        }
        catalog.set(entry)?;
        let mut remove = Vec::new();
        // Nothing old goes for what nobody wants back.
        if is_good && retention::is_in_order(&catalog, &name, now) {
            remove.extend(retention::expire(&mut catalog, &name, now));
            remove.extend(retention::orphans(&self.path, &name, has_files, now));
        }
        remove.extend(
            before
                .iter()
                .flat_map(|entry| entry.parts().map(|(_, part)| part.file.to_string())),
        );
        remove.extend(staged.iter().map(|file| file.twin().to_string()));
        let in_use = catalog.files();
        remove.retain(|file| !in_use.contains(file));
        let rename = staged.iter().map(ToString::to_string).collect();
        self.decide(&catalog, rename, remove)?;
        Ok(aside)
    }

    /// Renames a file that no list knows, where it is there. Its new name.
    fn set_aside(&self, file: &str) -> Result<Option<String>> {
        let top = &self.lock.folder;
        let is_there = |name: &str| statat(top, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if !is_there(file) {
            return Ok(None);
        }
        for number in 1_u32.. {
            let name = format!("{file}.unlisted-{number}");
            if !is_there(&name) {
                renameat(top, file, top, &name).map_err(|errno| {
                    Error::io("cannot rename", &self.path.join(file))(errno.into())
                })?;
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Puts another list in the place of the one that is there. Backups stay as they are.
    ///
    /// # Errors
    /// `Io`, as of a commit.
    pub fn amend(&self, catalog: &Catalog) -> Result<()> {
        self.decide(catalog, Vec::new(), Vec::new())
    }

    /// Notes in the list that backups are in the offsite store: those that are still of the time that is
    /// given with their name.
    ///
    /// # Errors
    /// `Io`; `Damaged` when there is no list.
    pub fn set_uploaded(&self, backups: &[(BackupName, i64)]) -> Result<()> {
        let mut catalog = Catalog::read(&self.path)?;
        let mut is_changed = false;
        for (name, timestamp) in backups {
            let entry = catalog
                .get(name)
                .filter(|entry| entry.timestamp == *timestamp && !entry.is_filestore_uploaded);
            if let Some(mut entry) = entry {
                entry.is_filestore_uploaded = true;
                catalog.set(entry)?;
                is_changed = true;
            }
        }
        if !is_changed {
            return Ok(());
        }
        self.amend(&catalog)
    }

    /// Decides on a new list, on files from the staging folder to their places, and on what is to go
    /// away after that; and does it.
    fn decide(
        &self,
        catalog: &Catalog,
        mut rename: Vec<String>,
        remove: Vec<String>,
    ) -> Result<()> {
        self.staging()?;
        let folders =
            Folders::open(&self.path, &self.lock.folder)?.ok_or_else(|| self.no_staging())?;
        rename.push(FILE_NAME.to_owned());
        let list = serde_json::to_vec(catalog)
            .map_err(|error| Error::Internal(format!("the catalog: {error}")))?;
        let commit = Commit { rename, remove };
        folders.write(&commit, &list)?;
        self.is_decided.set(true);
        folders.decide()?;
        folders.apply(&commit)?;
        self.is_decided.set(false);
        Ok(())
    }

    /// Finishes what was decided and removes what was not.
    fn recover(&self) -> Result<()> {
        let Some(folders) = Folders::open(&self.path, &self.lock.folder)? else {
            return Ok(());
        };
        match folders.read()? {
            Some(commit) => folders.apply(&commit),
            None => folders.clear(),
        }
    }

    /// Removes what is staged.
    fn clear(&self) -> Result<()> {
        Folders::open(&self.path, &self.lock.folder)?.map_or(Ok(()), |folders| folders.clear())
    }
}

/// Finishes what a process decided and did not live to do, before the folder is read. A process that is
/// just doing it is waited for.
pub(super) fn settle(path: &Path) -> Result<()> {
    let commit = path.join(STAGING).join(COMMIT);
    let mut patience = PATIENCE;
    while commit.exists() {
        match BackupFolder::open(path) {
            Err(Error::InProgress { .. }) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            opened => return opened.map(drop),
        }
    }
    Ok(())
}

impl Drop for BackupFolder {
    /// A backup that was not committed leaves nothing.
    fn drop(&mut self) {
        if !self.is_decided.get() {
            let _ = self.clear();
        }
    }
}

/// Makes a folder that only its owner can look into.
fn private_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_folders(path, 0o700)?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => match sync_folder(parent) {
            // One that may be entered but not read cannot be synced; the folder is there all the same.
            Err(error) if error.kind() == error::ErrorKind::Permission => Ok(()),
            synced => synced,
        },
        _ => Ok(()),
    }
}

/// Closes a backup folder to others, as Zotonic made it before. Not one that holds other things too, as
/// `/var/backups` does: that is for others to decide, and the files of backups are private all the same.
fn close_to_others(folder: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let is_ours = [".", "..", LOCK, STAGING, ".pgpass"].contains(&&*name)
            || name.starts_with(RESTORE)
            || name.starts_with(FILE_NAME)
            || name.contains(".gz.unlisted-")
            || name.contains(".gz.enc.unlisted-")
            || name.trim_end_matches(".enc").ends_with(".gz");
        if !is_ours {
            return Ok(());
        }
    }
    let mode = fstat(folder)?.st_mode;
    if mode & 0o077 != 0 && mode & 0o1000 == 0 {
        fchmod(folder, Mode::from_raw_mode(mode & 0o700))?;
    }
    Ok(())
}
