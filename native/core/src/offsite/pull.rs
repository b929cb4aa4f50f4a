//! Downloads what a store has and the backup folder has not. Nothing that comes is trusted: an entry is
//! refused when it is not what an entry can be, and a file when it is not the one that the entry names.

use super::entries::{Owners, is_of_site, refusal};
use super::location::Offsite;
use super::prove::{Proof, prove};
use super::store::Store;
use super::{Known, Problem, Runtime, Source, damaged_list, is_of_the_future, is_same, known};
use crate::catalog::{
    BackupFolder, BackupName, Catalog, Entry, Part, PartName, Refused, StoredPart,
};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use crate::part_reader::PartReader;
use crate::progress::{Monitor, Phase};
use crate::room;
use crate::secret::Password;
use crate::site::SiteName;
use crate::stream::{Encryption, seems};
use crate::verify;
use serde::Serialize;
use std::path::Path;

/// What to download.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Whose backups are wanted, where that is known: others in the list only come by their names.
    pub site: Option<SiteName>,
    /// Only the backups of these names, of which `recent` is the newest; all when none is named.
    pub names: Vec<String>,
    /// Refuse a backup that is not encrypted.
    pub require_encrypted: bool,
    /// Proves what is encrypted: a list may be written by whoever has the store.
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
    let (own, others): (Vec<Entry>, Vec<Entry>) = entries
        .iter()
        .cloned()
        .partition(|entry| options.is_own(&entry.name));
    let recent = own
        .iter()
        .find(|entry| !is_of_the_future(entry))
        .or(own.first())
        .map(|entry| entry.name.as_str());
    let mut names = Vec::new();
    for name in &options.names {
        match (name.as_str(), recent) {
            (RECENT, Some(recent)) => names.push(recent),
            (name, _) if entries.iter().any(|entry| entry.name.as_str() == name) => {
                names.push(name)
            }
            (name, _) => return Err(verify::unknown(name, &own, None)),
        }
    }
    let is_wanted = |name: &str| {
        if names.is_empty() {
            // What can be no name at all may be anybody's.
            BackupName::try_from(name.to_owned()).map_or(true, |name| options.is_own(&name))
        } else {
            names.contains(&name)
        }
    };
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
    if let Some(other) = others.first() {
        pull.pulled.warnings.push(format!(
            "backups of something else are in the same list, as {}: they are not downloaded unless they \
             are named; give each site a url of its own",
            other.name
        ));
    }
    pull.is_set_back(&own)?;
    pull.all(wanted, &list.catalog).await?;
    pull.pulled.newest = pull.newest()?;
    Ok(pull.pulled)
}

impl PullOptions {
    /// Whether a backup of that name is one of the site.
    pub(super) fn is_own(&self, name: &BackupName) -> bool {
        let site = self.site.as_ref();
        site.is_none_or(|site| is_of_site(name.as_str(), site.as_str()))
    }
}

pub(super) struct Pull<'a> {
    source: &'a Source<'a>,
    folder: &'a BackupFolder,
    path: &'a Path,
    options: &'a PullOptions,
    monitor: &'a Monitor,
    pub(super) pulled: Pulled,
}

/// The folder, and whose the files are in it and in the store.
struct Lists {
    catalog: Catalog,
    here: Owners,
    there: Owners,
}

/// What came of a backup, all of it.
#[derive(Default)]
struct Came {
    bytes: u64,
    staged: Vec<PartName>,
    notes: Vec<String>,
}

/// Why a backup did not come.
enum Failed {
    /// It is not what it should be; it may be just being replaced.
    Other(Problem),
    /// The store or the disk.
    Error(Error),
}

impl Failed {
    /// An error that is about one backup is none of the others.
    fn of(entry: &Entry, error: Error) -> Self {
        let is_of_one = match &error {
            Error::NoRoom { .. } | Error::Damaged { .. } => true,
            Error::Offsite { kind, .. } => matches!(
                kind,
                ErrorKind::Damaged | ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Store
            ),
            _ => false,
        };
        if is_of_one {
            Self::Other(problem(entry, error.kind(), error.to_string()))
        } else {
            Self::Error(error)
        }
    }
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
        here.retain(|entry| entry.is_filestore_uploaded && self.options.is_own(&entry.name));
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
        let lists = self.lists(list)?;
        for entry in entries {
            self.monitor.check()?;
            match self.is_wanted(&entry, &lists) {
                Ok(true) => wanted.push(entry),
                Ok(false) => self.pulled.already.push(entry.name),
                Err((kind, reason)) => self.pulled.problems.push(problem(&entry, kind, reason)),
            }
        }
        Ok(wanted)
    }

    async fn all(&mut self, entries: Vec<Entry>, list: &Catalog) -> Result<()> {
        let wanted = self.sort(entries, list)?;
        // The sizes are what somebody says.
        let total = wanted
            .iter()
            .flat_map(|entry| entry.parts().map(|(_, part)| part.size))
            .try_fold(0, |sum: u64, size| Some(sum.saturating_add(size?)));
        self.monitor.begin(Phase::Download, total)?;
        for entry in wanted {
            self.latest_of(entry).await?;
        }
        Ok(())
    }

    fn lists(&self, there: &Catalog) -> Result<Lists> {
        let (catalog, _) = self.folder.catalog()?;
        Ok(Lists {
            here: Owners::of(&catalog),
            there: Owners::of(there),
            catalog,
        })
    }

    /// Whether a backup of the store is to be downloaded, or why it must not be.
    fn is_wanted(
        &self,
        entry: &Entry,
        lists: &Lists,
    ) -> std::result::Result<bool, (ErrorKind, String)> {
        let damaged = |reason: &str| Err((ErrorKind::Damaged, reason.to_owned()));
        if let Some(here) = lists.catalog.get(&entry.name) {
            if is_same(&here, entry) && self.is_complete(&here) {
                return Ok(false);
            }
            if here.timestamp > entry.timestamp && !is_of_the_future(&here) {
                let reason = "the backup of this name that is here is newer, and is kept";
                return Err((ErrorKind::Exists, reason.into()));
            }
            if here.timestamp == entry.timestamp && self.is_complete(&here) {
                return damaged(
                    "the store lists other files for it than the backup of the same time has that is \
                     here, which is kept",
                );
            }
            if here.database.is_some() && entry.database.is_none() && self.is_complete(&here) {
                return damaged(
                    "it has no database, and the backup of this name has that is here, which is kept",
                );
            }
        }
        if is_of_the_future(entry) {
            return damaged(
                "its time has not come yet: set the clock of this machine, or of the one that made it; \
                 nothing from the future replaces what is here",
            );
        }
        let must_encrypt = self.options.require_encrypted;
        match refusal(entry, &lists.here, &lists.there, must_encrypt) {
            Some(reason) => damaged(&reason),
            None => Ok(true),
        }
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
                    match self.is_wanted(&now, &self.lists(&list.catalog)?) {
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
        let mut came = Came::default();
        if let Err(failed) = self.fetch(entry, &mut came).await {
            // Nothing of it is needed any more.
            for file in &came.staged {
                let _ = std::fs::remove_file(self.folder.staged(file)?);
            }
            return Err(failed);
        }
        self.monitor.check()?;
        let mut here = entry.clone();
        here.is_filestore_uploaded = true;
        // Whoever proved it proved what is there.
        here.verified = None;
        let (catalog, _) = self.folder.catalog()?;
        let aside = self.folder.commit(catalog, here, &came.staged)?;
        self.pulled.warnings.extend(aside.iter().map(|file| {
            format!("a file that no list knows had the name of a new one: it is kept as {file}")
        }));
        Ok(PulledBackup {
            name: entry.name.clone(),
            timestamp: entry.timestamp,
            bytes: came.bytes,
            is_proven: came.notes.is_empty(),
            notes: came.notes,
        })
    }

    /// Stages what is not here of a backup, and proves all of it.
    async fn fetch(&self, entry: &Entry, came: &mut Came) -> std::result::Result<(), Failed> {
        let of_one = |error| Failed::of(entry, error);
        let mut needed = Vec::new();
        let mut kept = Vec::new();
        for (part, stored) in entry.parts() {
            let head = self.source.head(stored.file.as_str()).await;
            let Some(head) = head.map_err(of_one)? else {
                // A program that fetches leaves out what is here.
                if matches!(self.source, Source::Relay(_)) && self.is_here(stored, stored.size)? {
                    kept.push((part, stored));
                    continue;
                }
                let reason = "is in the list and not in the store";
                return Err(other(entry, stored, ErrorKind::NotFound, reason));
            };
            if stored.size.is_some_and(|size| size != head.size) {
                let reason = "is not of the length that the list says: it is of another backup";
                return Err(other(entry, stored, ErrorKind::Damaged, reason));
            }
            if self.is_here(stored, Some(head.size))? {
                kept.push((part, stored));
            } else {
                needed.push((part, stored, head));
            }
        }
        came.bytes = needed
            .iter()
            .fold(0_u64, |sum, (_, _, head)| sum.saturating_add(head.size));
        // What a program has fetched has its room already.
        if !matches!(self.source, Source::Relay(_)) {
            room::check_with_reserve(self.path, came.bytes).map_err(of_one)?;
        }
        for (part, stored) in kept {
            if let Some(hash) = stored.sha256 {
                let note = self.prove(entry, part, stored, self.path, hash)?;
                came.notes.extend(note);
            }
        }
        for (part, stored, head) in needed {
            came.staged.push(stored.file.clone());
            let came_as = self
                .source
                .receive(&stored.file, &head, self.folder, self.monitor);
            let hash = came_as.await;
            let Some(hash) = hash.map_err(of_one)? else {
                let reason = "is being replaced in the store; try again later";
                return Err(other(entry, stored, ErrorKind::Damaged, reason));
            };
            let staging = self.folder.staging()?;
            let note = self.prove(entry, part, stored, &staging, hash)?;
            came.notes.extend(note);
        }
        Ok(())
    }

    /// What cannot be proven of a file in `folder`. It is an error where the file would replace what may be
    /// better.
    fn prove(
        &self,
        entry: &Entry,
        part: Part,
        stored: &StoredPart,
        folder: &Path,
        hash: Sha256Hash,
    ) -> std::result::Result<Option<String>, Failed> {
        let password = self.options.password.as_ref();
        let proof = prove(folder, entry, part, stored, hash, password, self.monitor);
        let (catalog, _) = self.folder.catalog()?;
        let here = catalog.get(&entry.name);
        let here = here.filter(|here| self.is_complete(here));
        // Media that stay as they are replace nothing.
        let stays = part == Part::Files && folder == self.path;
        let (kind, keeps, note) = match proof.map_err(|error| Failed::of(entry, error))? {
            Proof::Proven => return Ok(None),
            Proof::Wrong(reason) => return Err(other(entry, stored, ErrorKind::Damaged, reason)),
            Proof::Unproven(note) => {
                let keeps = here.is_some_and(|here| self.has_hashes(&here));
                (ErrorKind::Damaged, keeps, note)
            }
            Proof::Sealed => (
                ErrorKind::WrongPassword,
                here.is_some(),
                "encrypted with another password than the one given: nothing proves it",
            ),
        };
        if keeps && !stays {
            let reason = format!("is {note}; the backup of this name that is here is kept");
            return Err(other(entry, stored, kind, &reason));
        }
        Ok(Some(format!("{}: {note}", stored.file)))
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
            is_of_store
                && self.options.is_own(&entry.name)
                && !is_of_the_future(entry)
                && self.is_complete(entry)
        });
        Ok(newest.map(|entry| {
            let new = pulled.iter().find(|new| new.name == entry.name);
            Newest {
                timestamp: entry.timestamp,
                is_proven: new.map_or_else(
                    || self.has_hashes(&entry) && self.opens(&entry),
                    |new| new.is_proven,
                ),
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

    /// Whether the password, where there is one, opens each file as what it is in the list. What it does not
    /// open came without a proof.
    fn opens(&self, entry: &Entry) -> bool {
        let Some(password) = &self.options.password else {
            return true;
        };
        let quiet = self.monitor.quiet();
        entry.parts().all(|(part, stored)| {
            let is_z2 = seems(&self.path.join(stored.file.as_str()))
                .is_ok_and(|encryption| encryption == Encryption::Z2);
            let open = || PartReader::open(self.path, entry, part, stored, Some(password), &quiet);
            !is_z2 || open().is_ok()
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
