//! Downloads what a store has and the backup folder has not. Nothing that comes is trusted: an entry is
//! refused when it is not what an entry can be, and a file when it is not the one that the entry names.

mod fetch;
mod newest;

use super::entries::{Owners, is_of_site, refusal};
use super::location::Offsite;
use super::store::Store;
use super::{Problem, Runtime, Source, damaged_list, is_of_the_future, is_same};
use crate::catalog::{BackupFolder, BackupName, Catalog, Entry, Refused};
use crate::error::{ErrorKind, Result};
use crate::progress::{Monitor, Phase};
use crate::secret::Password;
use crate::site::SiteName;
use crate::verify;
use fetch::Failed;
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
}

fn problem(entry: &Entry, kind: ErrorKind, reason: String) -> Problem {
    Problem {
        name: entry.name.to_string(),
        kind,
        reason,
    }
}
