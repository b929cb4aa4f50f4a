//! Stores that another program speaks to, as Zotonic does to FTP and WebDAV. That carries single files; which,
//! and whether what came is what it should be, is decided here. What it fetched, the list of the store first,
//! is in a folder of its own (the relay) under the names that it has there.

use super::pull::Pull;
use super::push::{is_newer, superseded};
use super::store::{Head, LONGEST_LIST, List, MOST_ENTRIES};
use super::{Known, Problem, PullOptions, Pulled, Runtime, Source, is_same, known};
use crate::catalog::{
    BackupFolder, BackupName, Catalog, Entry, FILE_NAME, StoredPart, count_entries,
};
use crate::durable::{open_file, write_synced};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use crate::progress::{Monitor, Phase};
use crate::room;
use crate::stream::seems;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files of a backup to be carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Load {
    /// The backup.
    pub name: BackupName,
    /// When it was made, in seconds since 1970.
    pub timestamp: i64,
    /// The files that have not been carried yet.
    pub files: Vec<StoredPart>,
}

/// What is to be carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Newest first; the files of a backup before the list.
    pub loads: Vec<Load>,
    /// What is there already.
    pub already: Vec<BackupName>,
    /// Backups that are not to be carried, and why.
    pub problems: Vec<Problem>,
    /// The name under which to keep what is in the place of the list and is none.
    pub aside: Option<String>,
    /// The longest file that there is room for, in bytes: not each list says how long one is.
    pub room: Option<u64>,
}

/// What of a folder is to be uploaded to a store with the list that is in the relay. What is there already is
/// noted in the list of the folder.
///
/// # Errors
/// `Io`, `Damaged`, `Offsite`, `Cancelled`.
pub fn offer(folder: &Path, relay: &Path, monitor: &Monitor) -> Result<Plan> {
    let list = read_list(relay)?;
    let (entries, refused) = Catalog::load(folder)?.entries();
    let mut plan = Plan {
        loads: Vec::new(),
        already: Vec::new(),
        problems: refused
            .into_iter()
            .map(|refused| Problem {
                name: refused.name,
                kind: ErrorKind::Damaged,
                reason: refused.reason,
            })
            .collect(),
        aside: list.damaged.as_ref().map(|text| {
            let hash = hex::encode(Sha256::digest(text));
            format!("{FILE_NAME}.damaged-{}", &hash[..8])
        }),
        room: None,
    };
    monitor.begin(Phase::Upload, None)?;
    let mut marks = Vec::new();
    for entry in entries {
        if entry.parts().next().is_none() {
            continue;
        }
        let problem = |kind, reason| Problem {
            name: entry.name.to_string(),
            kind,
            reason,
        };
        match list.catalog.get(&entry.name) {
            Some(there) if is_newer(None, &there, &entry) => {
                let reason = superseded(there.timestamp);
                plan.problems.push(problem(ErrorKind::Exists, reason));
            }
            Some(there) if is_same(&there, &entry) => {
                marks.push((entry.name.clone(), entry.timestamp));
                plan.already.push(entry.name);
            }
            _ => match is_whole(folder, &entry, monitor) {
                Ok(()) => plan.loads.push(Load {
                    files: entry.parts().map(|(_, part)| part.clone()).collect(),
                    timestamp: entry.timestamp,
                    name: entry.name,
                }),
                Err(error @ Error::Cancelled) => return Err(error),
                Err(error) => plan.problems.push(problem(error.kind(), error.to_string())),
            },
        }
    }
    if !marks.is_empty() {
        BackupFolder::open_soon(folder)?.set_uploaded(&marks)?;
    }
    Ok(plan)
}

fn is_whole(folder: &Path, entry: &Entry, monitor: &Monitor) -> Result<()> {
    for (part, stored) in entry.parts() {
        let path = folder.join(stored.file.as_str());
        let encryption = seems(&path)?;
        if let Known::Hash(hash) = known(entry, part, stored, encryption)
            && super::hash_of(&path, monitor)? != hash
        {
            return Err(Error::damaged(
                &path,
                "its hash is not that of the backup: it was changed or replaced",
            ));
        }
    }
    Ok(())
}

/// Puts a backup whose files were uploaded in the list that is in the relay: that is to be uploaded then. The
/// answer has the files that are to be removed from the store after that.
///
/// # Errors
/// `Offsite` when the backup was replaced meanwhile, here or there; `Io`, `Damaged`.
pub fn publish(folder: &Path, relay: &Path, name: &str, timestamp: i64) -> Result<Vec<String>> {
    let mut list = read_list(relay)?;
    let replaced = |reason| Error::Offsite {
        kind: ErrorKind::Exists,
        message: format!("{name} is not in the list of the file store: {reason}"),
    };
    let mut entry = at(folder, name, timestamp)?.ok_or_else(|| {
        replaced("it was replaced here meanwhile, and goes with the next upload".into())
    })?;
    let before = list.catalog.get(&entry.name);
    if let Some(newer) = before
        .as_ref()
        .filter(|before| is_newer(None, before, &entry))
    {
        return Err(replaced(superseded(newer.timestamp)));
    }
    entry.is_filestore_uploaded = true;
    list.catalog.set(entry)?;
    let text = serde_json::to_vec(&list.catalog)
        .map_err(|error| Error::Internal(format!("the list of the store: {error}")))?;
    write_synced(&relay.join(FILE_NAME), &text)?;
    let before = before.iter().flat_map(Entry::parts);
    Ok(before
        .map(|(_, part)| part.file.to_string())
        .filter(|file| !list.catalog.mentions(file))
        .collect())
}

/// Notes in the list of the folder that a backup is in the store.
///
/// # Errors
/// `Io`, `Damaged`, `InProgress`.
pub fn mark(folder: &Path, name: &str, timestamp: i64) -> Result<()> {
    match at(folder, name, timestamp)? {
        Some(entry) => BackupFolder::open_soon(folder)?.set_uploaded(&[(entry.name, timestamp)]),
        None => Ok(()),
    }
}

/// The backup of that name, when it is of that time.
fn at(folder: &Path, name: &str, timestamp: i64) -> Result<Option<Entry>> {
    let (entries, _) = Catalog::load(folder)?.entries();
    let is_it = |entry: &Entry| entry.name.as_str() == name && entry.timestamp == timestamp;
    Ok(entries.into_iter().find(is_it))
}

/// What is to be fetched into the relay of the backups in the list that is there.
///
/// # Errors
/// `Io`, `Offsite`, `Cancelled`.
pub fn wanted(
    folder: &Path,
    relay: &Path,
    options: &PullOptions,
    monitor: &Monitor,
) -> Result<Plan> {
    let list = read_list(relay)?;
    let source = Source::Relay(relay);
    if list.damaged.is_some() {
        return Err(super::damaged_list(&source.place()));
    }
    let locked = BackupFolder::open(folder)?;
    let mut pull = Pull::new(&source, &locked, folder, options, monitor);
    let (mut entries, refused) = list.catalog.entries();
    entries.retain(|entry| options.is_own(&entry.name));
    pull.refuse(&refused);
    let mut loads = Vec::new();
    let mut needed: u64 = 0;
    for entry in pull.sort(entries, &list.catalog)? {
        let mut files = Vec::new();
        for (_, stored) in entry.parts() {
            if !pull.is_here(stored, stored.size)? {
                files.push(stored.clone());
            }
        }
        let sizes = files.iter().filter_map(|stored| stored.size);
        let with_it = sizes.fold(needed, u64::saturating_add);
        if let Err(error) = room::check_with_reserve(folder, with_it) {
            pull.pulled.problems.push(Problem {
                name: entry.name.to_string(),
                kind: error.kind(),
                reason: error.to_string(),
            });
            continue;
        }
        needed = with_it;
        loads.push(Load {
            name: entry.name,
            timestamp: entry.timestamp,
            files,
        });
    }
    Ok(Plan {
        loads,
        already: pull.pulled.already,
        problems: pull.pulled.problems,
        aside: None,
        // What has a length is counted already.
        room: room::left(folder).map(|left| left.saturating_sub(needed)),
    })
}

/// Takes backups into the folder whose files are in the relay, as [`super::pull()`] does with those of a store.
///
/// # Errors
/// Those of `pull`.
pub fn take(
    folder: &Path,
    relay: &Path,
    options: &PullOptions,
    monitor: &Monitor,
) -> Result<Pulled> {
    let runtime = Runtime::new()?;
    let source = Source::Relay(relay);
    let done = runtime.run(monitor, super::pull::run(&source, folder, options, monitor));
    runtime.end();
    done
}

/// The list of the store, as it was fetched. A store that has none has no backups.
pub(super) fn read_list(relay: &Path) -> Result<List> {
    let path = relay.join(FILE_NAME);
    let mut text = Vec::new();
    match open_file(&path).and_then(|file| file.take(LONGEST_LIST + 1).read_to_end(&mut text)) {
        Ok(_)
            if text.len() as u64 > LONGEST_LIST
                || count_entries(&text).is_some_and(|count| count > MOST_ENTRIES) =>
        {
            Err(Error::Offsite {
                kind: ErrorKind::Damaged,
                message: "the list of backups in the file store is far too long to be one; look who writes \
                          there"
                    .into(),
            })
        }
        Ok(_) => Ok(List::of(text.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(List::none()),
        Err(error) => Err(Error::io("cannot read", &path)(error)),
    }
}

/// A file that was fetched.
pub(super) fn head(relay: &Path, name: &str) -> Result<Option<Head>> {
    let path = relay.join(name);
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(Head {
            size: found.len(),
            written: found.mtime(),
            e_tag: None,
            sha256: None,
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("cannot read", &path)(error)),
    }
}

/// Moves a file that was fetched. Its hash is the answer.
pub(super) fn receive(
    relay: &Path,
    name: &str,
    to: &Path,
    monitor: &Monitor,
) -> Result<Sha256Hash> {
    let from = relay.join(name);
    let hash = super::hash_of(&from, monitor)?;
    open_file(&from)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("cannot write", &from))?;
    std::fs::rename(&from, to).map_err(Error::io("cannot rename", &from))?;
    Ok(hash)
}
