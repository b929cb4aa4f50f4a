//! Downloads what a store has and the backup folder has not. Nothing that comes is trusted: an entry is
//! refused when it is not what an entry can be, and a file when it is not the one that the entry names.

use super::location::Offsite;
use super::store::Store;
use super::{Known, Problem, Runtime, Source, damaged_list, is_of_the_future, is_same, known};
use crate::catalog::{
    BackupFolder, BackupName, Catalog, Entry, Part, PartName, Refused, StoredPart,
};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use crate::progress::{Monitor, Phase};
use crate::room;
use crate::secret::Password;
use crate::stream::{Encryption, StoredReader, seems};
use crate::verify;
use serde::Serialize;
use std::path::Path;

/// What to download.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Only the backups of these names, of which `recent` is the newest; all when none is named.
    pub names: Vec<String>,
    /// Refuse a backup that is not encrypted.
    pub require_encrypted: bool,
    /// Opens files of Zotonic's own module, whose hash in the list is of what is inside.
    pub password: Option<Password>,
}

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// Where from.
    pub store: String,
    /// What is here now and was not before, newest first.
    pub pulled: Vec<PulledBackup>,
    /// What was here already.
    pub already: Vec<BackupName>,
    /// Backups of the store that are not here, or not as they are there.
    pub problems: Vec<Problem>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// The newest backup of the store that is here now, with all of its files.
    pub newest: Option<Newest>,
}

/// A backup that was downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PulledBackup {
    /// Its name.
    pub name: BackupName,
    /// When it was made, in seconds since 1970.
    pub timestamp: i64,
    /// How much was downloaded.
    pub bytes: u64,
    /// Whether every file is the one that the list names.
    pub is_proven: bool,
    /// What cannot be proven, and why.
    pub notes: Vec<String>,
}

/// The newest backup that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newest {
    /// Its name.
    pub name: BackupName,
    /// When it was made, in seconds since 1970.
    pub timestamp: i64,
    /// Whether its files were compared with hashes of them when they came.
    pub is_proven: bool,
    /// Whether it came now.
    pub is_new: bool,
}

/// The name for the newest.
const RECENT: &str = "recent";
/// How often a backup is looked at again that is just being replaced in the store.
const MOST_LOOKS: u32 = 3;

/// Downloads what is new or missing, newest first. A backup becomes part of the folder when all of it is
/// here and is what the list of the store says.
///
/// # Errors
/// Any of [`Error`]; the folder has what it had then, and the backups that had come as a whole.
pub fn pull(
    folder: &Path,
    offsite: &Offsite,
    options: &PullOptions,
    monitor: &Monitor,
) -> Result<Pulled> {
    monitor.check()?;
    let store = Store::new(offsite)?;
    let runtime = Runtime::new()?;
    let source = Source::Store(&store);
    let done = runtime.run(monitor, run(&source, folder, options, monitor));
    runtime.end();
    done
}

pub(super) async fn run(
    source: &Source<'_>,
    path: &Path,
    options: &PullOptions,
    monitor: &Monitor,
) -> Result<Pulled> {
    let list = source.first_list().await?;
    if list.damaged.is_some() {
        return Err(damaged_list(&source.place()));
    }
    let (entries, refused) = list.catalog.entries();
    let recent = entries
        .iter()
        .find(|entry| !is_of_the_future(entry))
        .or(entries.first())
        .map(|entry| entry.name.as_str());
    let mut names = Vec::new();
    for name in &options.names {
        match (name.as_str(), recent) {
            (RECENT, Some(recent)) => names.push(recent),
            (name, _) if entries.iter().any(|entry| entry.name.as_str() == name) => {
                names.push(name)
            }
            (name, _) => return Err(verify::unknown(name, &entries)),
        }
    }
    let is_wanted = |name: &str| options.names.is_empty() || names.contains(&name);
    let folder = BackupFolder::open(path)?;
    let (_, aside) = folder.catalog()?;
    let mut pull = Pull::new(source, &folder, path, options, monitor);
    if let Some(aside) = aside {
        pull.pulled.warnings.push(format!(
            "backup.json was damaged; it is kept as {} and a new list was begun",
            aside.display()
        ));
    }
    pull.refuse(refused.iter().filter(|refused| is_wanted(&refused.name)));
    let wanted: Vec<Entry> = entries
        .iter()
        .filter(|entry| is_wanted(entry.name.as_str()))
        .cloned()
        .collect();
    pull.is_set_back(&entries)?;
    pull.all(wanted, &list.catalog).await?;
    pull.pulled.newest = pull.newest()?;
    Ok(pull.pulled)
}

pub(super) struct Pull<'a> {
    source: &'a Source<'a>,
    folder: &'a BackupFolder,
    path: &'a Path,
    options: &'a PullOptions,
    monitor: &'a Monitor,
    pub(super) pulled: Pulled,
}

/// Why a backup did not come.
enum Failed {
    /// It is not what it should be; it may be just being replaced.
    Other(Problem),
    /// The store or the disk.
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl<'a> Pull<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        folder: &'a BackupFolder,
        path: &'a Path,
        options: &'a PullOptions,
        monitor: &'a Monitor,
    ) -> Self {
        Self {
            source,
            folder,
            path,
            options,
            monitor,
            pulled: Pulled {
                store: source.place(),
                pulled: Vec::new(),
                already: Vec::new(),
                problems: Vec::new(),
                warnings: Vec::new(),
                newest: None,
            },
        }
    }

    /// Says of entries of the list why they cannot be used.
    pub(super) fn refuse<'r>(&mut self, refused: impl IntoIterator<Item = &'r Refused>) {
        self.pulled
            .problems
            .extend(refused.into_iter().map(|refused| Problem {
                name: refused.name.clone(),
                kind: ErrorKind::Damaged,
                reason: refused.reason.clone(),
            }));
    }

    /// Says so when the store has nothing as new as what is here and came from it, or went there.
    fn is_set_back(&mut self, entries: &[Entry]) -> Result<()> {
        let (catalog, _) = self.folder.catalog()?;
        let newest = |entries: &[Entry]| {
            let past = entries.iter().filter(|entry| !is_of_the_future(entry));
            past.map(|entry| entry.timestamp).max()
        };
        let (mut here, _) = catalog.entries();
        here.retain(|entry| entry.is_filestore_uploaded);
        if newest(&here) > newest(entries) {
            self.pulled.warnings.push(format!(
                "the newest backup in {} is older than one that was there before: the store was set back, \
                 or backups were removed from it",
                self.source.place()
            ));
        }
        Ok(())
    }

    /// The backups of the store that are to be downloaded.
    pub(super) fn sort(&mut self, entries: Vec<Entry>, list: &Catalog) -> Result<Vec<Entry>> {
        let mut wanted = Vec::new();
        for entry in entries {
            match self.is_wanted(&entry, list)? {
                Ok(true) => wanted.push(entry),
                Ok(false) => self.pulled.already.push(entry.name),
                Err((kind, reason)) => self.pulled.problems.push(problem(&entry, kind, reason)),
            }
        }
        Ok(wanted)
    }

    async fn all(&mut self, entries: Vec<Entry>, list: &Catalog) -> Result<()> {
        let wanted = self.sort(entries, list)?;
        let total = wanted
            .iter()
            .flat_map(|entry| entry.parts().map(|(_, part)| part.size))
            .sum();
        self.monitor.begin(Phase::Download, total)?;
        for entry in wanted {
            self.latest_of(entry).await?;
        }
        Ok(())
    }

    /// Whether a backup of the store is to be downloaded, or why it must not be.
    fn is_wanted(
        &self,
        entry: &Entry,
        list: &Catalog,
    ) -> Result<std::result::Result<bool, (ErrorKind, String)>> {
        let (catalog, _) = self.folder.catalog()?;
        let here = catalog.get(&entry.name);
        if let Some(here) = &here {
            if is_same(here, entry) && self.is_complete(here) {
                return Ok(Ok(false));
            }
            if here.timestamp > entry.timestamp && !is_of_the_future(here) {
                return Ok(Err((
                    ErrorKind::Exists,
                    "the backup of this name that is here is newer, and is kept".into(),
                )));
            }
            if here.timestamp == entry.timestamp && self.is_complete(here) {
                return Ok(Err((
                    ErrorKind::Damaged,
                    "the store lists other files for it than the backup of the same time has that is \
                     here, which is kept"
                        .into(),
                )));
            }
        }
        if is_of_the_future(entry) {
            return Ok(Err((
                ErrorKind::Damaged,
                "its time has not come yet: set the clock of this machine, or of the one that made it; \
                 nothing from the future replaces what is here"
                    .into(),
            )));
        }
        let mut parts = entry.parts().peekable();
        if parts.peek().is_none() {
            return Ok(Err((ErrorKind::Damaged, "it has no files".into())));
        }
        for (part, stored) in parts {
            let file = &stored.file;
            let is_own = *file == part.file_name(&entry.name, file.is_encrypted());
            if !is_own || is_of_other(&catalog, entry, file) || is_of_other(list, entry, file) {
                return Ok(Err((
                    ErrorKind::Damaged,
                    format!("{file} is not the name of its {part}"),
                )));
            }
            if self.options.require_encrypted && !file.is_encrypted() {
                return Ok(Err((
                    ErrorKind::Damaged,
                    format!("{file} is not encrypted, and backups of this site are"),
                )));
            }
            if entry.is_ours() && stored.sha256.is_none() && entry.files_timestamp.is_none() {
                return Ok(Err((
                    ErrorKind::Damaged,
                    format!("the list has no hash of {file}"),
                )));
            }
        }
        Ok(Ok(true))
    }

    fn is_complete(&self, entry: &Entry) -> bool {
        entry.parts().all(|(_, part)| {
            let found = self.path.join(part.file.as_str()).metadata();
            found.is_ok_and(|found| {
                found.is_file() && part.size.is_none_or(|size| size == found.len())
            })
        })
    }

    /// Downloads a backup; when it is replaced meanwhile, the one that replaced it.
    async fn latest_of(&mut self, mut entry: Entry) -> Result<()> {
        for look in 1.. {
            let failed = match self.download(&entry).await {
                Ok(pulled) => {
                    self.pulled.pulled.push(pulled);
                    return Ok(());
                }
                Err(Failed::Error(error)) => return Err(error),
                Err(Failed::Other(problem)) => problem,
            };
            let list = self.source.list().await?;
            match list.catalog.get(&entry.name) {
                Some(now) if !is_same(&now, &entry) && look < MOST_LOOKS => {
                    match self.is_wanted(&now, &list.catalog)? {
                        Ok(true) => entry = now,
                        Ok(false) => return Ok(()),
                        Err((kind, reason)) => {
                            self.pulled.problems.push(problem(&now, kind, reason));
                            return Ok(());
                        }
                    }
                }
                _ => {
                    self.pulled.problems.push(failed);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn download(&mut self, entry: &Entry) -> std::result::Result<PulledBackup, Failed> {
        let mut heads = Vec::new();
        for (part, stored) in entry.parts() {
            let Some(head) = self.source.head(stored.file.as_str()).await? else {
                if matches!(self.source, Source::Relay(_)) && self.is_here(stored, stored.size)? {
                    continue;
                }
                let reason = "is in the list and not in the store";
                return Err(other(entry, stored, ErrorKind::NotFound, reason));
            };
            if stored.size.is_some_and(|size| size != head.size) {
                let reason = "is not of the length that the list says: it is of another backup";
                return Err(other(entry, stored, ErrorKind::Damaged, reason));
            }
            heads.push((part, stored, head));
        }
        let mut needed = Vec::new();
        let mut is_proven = true;
        for (part, stored, head) in heads {
            if self.is_here(stored, Some(head.size))? {
                continue;
            }
            needed.push((part, stored, head));
        }
        let bytes = needed
            .iter()
            .fold(0_u64, |sum, (_, _, head)| sum.saturating_add(head.size));
        room::check(self.path, bytes)?;
        let mut staged = Vec::new();
        let mut notes = Vec::new();
        for (part, stored, head) in needed {
            let to = self.folder.staged(&stored.file)?;
            let name = stored.file.as_str();
            let hash = self.source.receive(name, &head, &to, self.monitor).await?;
            let checked = match hash {
                None => Err(other(
                    entry,
                    stored,
                    ErrorKind::Damaged,
                    "is being replaced in the store; try again later",
                )),
                Some(hash) => self.check(entry, part, stored, &to, hash),
            };
            match checked {
                Ok(None) => {}
                Ok(Some(note)) => {
                    is_proven = false;
                    notes.push(format!("{name}: {note}"));
                }
                Err(error) => {
                    // Nothing of it is needed any more.
                    for file in staged.iter().chain([&stored.file]) {
                        let _ = std::fs::remove_file(self.folder.staged(file)?);
                    }
                    return Err(error);
                }
            }
            staged.push(stored.file.clone());
        }
        self.monitor.check()?;
        let mut here = entry.clone();
        here.is_filestore_uploaded = true;
        // Whoever proved it proved what is there.
        here.verified = None;
        let (catalog, _) = self.folder.catalog()?;
        let aside = self.folder.commit(catalog, here, &staged)?;
        self.pulled.warnings.extend(aside.iter().map(|file| {
            format!("a file that no list knows had the name of a new one: it is kept as {file}")
        }));
        Ok(PulledBackup {
            name: entry.name.clone(),
            timestamp: entry.timestamp,
            bytes,
            is_proven,
            notes,
        })
    }

    /// Whether a file is here already: media files that a newer backup keeps, for instance.
    pub(super) fn is_here(&self, stored: &StoredPart, size: Option<u64>) -> Result<bool> {
        let path = self.path.join(stored.file.as_str());
        let Some(hash) = stored.sha256 else {
            return Ok(false);
        };
        let is_as_long = path
            .metadata()
            .is_ok_and(|found| found.is_file() && size.is_none_or(|size| found.len() == size));
        Ok(is_as_long && super::hash_of(&path, self.monitor)? == hash)
    }

    /// Whether a file that came is the one that the list names; or what of that cannot be proven.
    fn check(
        &self,
        entry: &Entry,
        part: Part,
        stored: &StoredPart,
        path: &Path,
        hash: Sha256Hash,
    ) -> std::result::Result<Option<&'static str>, Failed> {
        let encryption = seems(path)?;
        let damaged = |reason| Err(other(entry, stored, ErrorKind::Damaged, reason));
        if stored.file.is_encrypted() && encryption == Encryption::None {
            return damaged("should be encrypted, and is not");
        }
        match known(entry, part, stored, encryption) {
            Known::Hash(expected) if expected == hash => Ok(None),
            Known::Hash(_) => {
                damaged("is not the file of this backup: it is of another night, or was changed")
            }
            // A newer Zotonic may hash what is stored.
            Known::Inside(expected) if expected == hash => Ok(None),
            Known::Inside(expected) => {
                let Some(password) = &self.options.password else {
                    return Ok(Some(
                        "made by Zotonic's own module, whose list has the hash of what is in the encrypted \
                         file: without the password nothing proves it",
                    ));
                };
                match hash_inside(path, password, self.monitor) {
                    Ok(inside) if inside == expected => Ok(None),
                    Ok(_) => {
                        damaged("is not the file of this backup: what is in it is something else")
                    }
                    Err(Error::WrongPassword(_)) => Ok(Some(
                        "made by Zotonic's own module and encrypted with another password: nothing \
                         proves it",
                    )),
                    Err(error) => Err(error.into()),
                }
            }
            Known::Nothing => Ok(Some("the list has no hash of it: nothing proves it")),
        }
    }

    /// The newest backup that is here as it is in the store. What was only made here is not of others.
    fn newest(&self) -> Result<Option<Newest>> {
        let (catalog, _) = self.folder.catalog()?;
        let (entries, _) = catalog.entries();
        let Pulled {
            pulled, already, ..
        } = &self.pulled;
        let newest = entries.into_iter().find(|entry| {
            let is_of_store =
                pulled.iter().any(|new| new.name == entry.name) || already.contains(&entry.name);
            is_of_store && !is_of_the_future(entry) && self.is_complete(entry)
        });
        Ok(newest.map(|entry| {
            let new = pulled.iter().find(|new| new.name == entry.name);
            Newest {
                timestamp: entry.timestamp,
                is_proven: new.map_or_else(|| self.has_hashes(&entry), |new| new.is_proven),
                is_new: new.is_some(),
                name: entry.name,
            }
        }))
    }

    /// Whether the list has a hash of each file as it is stored: none came here then without fitting it.
    fn has_hashes(&self, entry: &Entry) -> bool {
        entry.parts().all(|(part, stored)| {
            let encryption = seems(&self.path.join(stored.file.as_str()));
            encryption.is_ok_and(|encryption| {
                matches!(known(entry, part, stored, encryption), Known::Hash(_))
            })
        })
    }
}

fn problem(entry: &Entry, kind: ErrorKind, reason: String) -> Problem {
    Problem {
        name: entry.name.to_string(),
        kind,
        reason,
    }
}

fn other(entry: &Entry, stored: &StoredPart, kind: ErrorKind, reason: &str) -> Failed {
    Failed::Other(problem(entry, kind, format!("{} {reason}", stored.file)))
}

/// Whether another backup has a file of that name, or would have when it is encrypted or is not.
fn is_of_other(catalog: &Catalog, entry: &Entry, file: &PartName) -> bool {
    let plain = |name: &PartName| name.as_str().trim_end_matches(".enc").to_owned();
    let (others, _) = catalog.entries();
    others
        .iter()
        .filter(|other| other.name != entry.name)
        .flat_map(Entry::parts)
        .any(|(_, part)| plain(&part.file) == plain(file))
}

/// The hash of what is in an encrypted file.
fn hash_inside(path: &Path, password: &Password, monitor: &Monitor) -> Result<Sha256Hash> {
    let reader = StoredReader::open(path, Some(password), monitor)?;
    super::hash_all(reader, path, monitor)
}
