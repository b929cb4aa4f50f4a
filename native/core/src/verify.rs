//! Proves that stored backups are whole: the hash of each file, the authentication of its encryption,
//! gzip, and the structure of what is inside.

use crate::archive::{Contents, Incomplete, check_tar};
use crate::catalog::{
    BackupFolder, BackupName, Catalog, Entry, Part, PartName, StoredPart, Verification,
};
use crate::database::{
    self, Purpose, TableRows, UnprovenDump, check_dump, check_script, watch_dump,
};
use crate::error::{Error, ErrorKind, Result};
use crate::list;
use crate::part_reader::PartReader;
use crate::progress::{Monitor, Phase};
use crate::secret::Password;
use crate::site::Database;
use crate::stream::Encryption;
use jiff::Timestamp;
use serde::Serialize;
use std::io;
use std::path::Path;

/// What was found out about a backup.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// Its name.
    pub name: String,
    /// When it was made, in seconds since 1970 (Unix time); nothing of an entry that cannot be used.
    pub timestamp: Option<i64>,
    /// Whether every part of it is proven.
    pub ok: bool,
    /// Its parts.
    pub parts: Vec<VerifiedPart>,
    /// What is wrong with the backup as a whole.
    pub problem: Option<String>,
}

/// What was found out about a part.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedPart {
    /// Which one.
    pub part: Part,
    /// Its file.
    pub file: PartName,
    /// Whether it is proven.
    pub ok: bool,
    /// How it is encrypted.
    pub encryption: Option<Encryption>,
    /// What is in it, when it is proven.
    pub contents: Option<Contents>,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// The kind of what is wrong.
    pub kind: Option<ErrorKind>,
    /// What cannot be proven about it, though nothing is wrong.
    pub note: Option<&'static str>,
    /// The tables that a rehearsal of its restore has loaded; none was asked for otherwise.
    pub rehearsed: Option<Vec<TableRows>>,
}

/// A drill: each dump that is verified is loaded into this database, in a transaction that is rolled back.
#[derive(Debug, Clone, Copy)]
pub struct Drill<'a> {
    /// The database of the site.
    pub database: &'a Database,
    /// What to do with a dump that somebody may have changed.
    pub unproven_dump: UnprovenDump,
}

/// Proves the backups of these names, or all of them; with a drill where that is wanted.
///
/// # Errors
/// `UnknownBackup`; `PasswordRequired`; `Io` and `Damaged` for the list itself; `Cancelled`. What is
/// wrong with a backup, or with the password for it, is in the answer and not an error.
pub fn run(
    folder: &Path,
    names: &[String],
    password: Option<&Password>,
    drill: Option<Drill<'_>>,
    monitor: &Monitor,
) -> Result<Vec<Verified>> {
    let (entries, refused) = Catalog::load(folder)?.entries();
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    for name in names {
        let is_listed = entries.iter().any(|entry| entry.name.as_str() == name)
            || refused.iter().any(|refused| refused.name == *name);
        if !is_listed {
            return Err(unknown(name, &entries, Some(folder)));
        }
    }
    let entries: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| is_wanted(entry.name.as_str()))
        .collect();
    let total = entries
        .iter()
        .flat_map(Entry::parts)
        .filter_map(|(_, part)| folder.join(part.file.as_str()).metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    monitor.begin(Phase::Verify, Some(total))?;
    let mut all = Vec::new();
    for entry in entries {
        let mut verified = backup(folder, entry.clone(), password, monitor)?;
        if let Some(drill) = drill {
            rehearse(folder, &entry, password, drill, &mut verified, monitor)?;
        }
        all.push(verified);
    }
    all.extend(
        refused
            .into_iter()
            .filter(|refused| is_wanted(&refused.name))
            .map(|refused| Verified {
                name: refused.name,
                timestamp: None,
                ok: false,
                parts: Vec::new(),
                problem: Some(refused.reason),
            }),
    );
    Ok(all)
}

/// Whether all that was looked at is proven. Where there was nothing, nothing is.
#[must_use]
pub fn is_proven(all: &[Verified]) -> bool {
    !all.is_empty() && all.iter().all(|backup| backup.ok)
}

/// Keeps in the list what a proof came to, for whoever looks at the list later.
///
/// # Errors
/// `InProgress` when another job has the folder for longer than some seconds; `Io`; `Damaged`.
pub fn record(folder: &Path, all: &[Verified], at: Timestamp) -> Result<()> {
    let open = BackupFolder::open_soon(folder)?;
    let mut catalog = Catalog::load(folder)?;
    let mut is_changed = false;
    for verified in all {
        let name = BackupName::try_from(verified.name.clone());
        let (Ok(name), Some(timestamp)) = (name, verified.timestamp) else {
            continue;
        };
        if !verified.ok && !verified.is_damaged() {
            continue; // it may be good: this password, or this disk, could not tell
        }
        let verification = Verification {
            at: at.as_second(),
            ok: verified.ok,
            problem: verified.problem_in_words(),
        };
        is_changed |= catalog.note_verified(&name, timestamp, verification)?;
    }
    if is_changed {
        open.amend(&catalog)?;
    }
    Ok(())
}

impl Verified {
    /// Whether something is wrong with the backup itself, and not with the password or the machine.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let mut kinds = self.parts.iter().filter_map(|part| part.kind);
        self.problem.is_some() || kinds.any(is_damage)
    }

    /// What is wrong with the backup or with the first part that is not proven.
    #[must_use]
    pub fn problem_in_words(&self) -> Option<String> {
        let parts = self.parts.iter().filter_map(|part| part.problem.clone());
        self.problem.clone().into_iter().chain(parts).next()
    }
}

/// Whether something is wrong with what is stored, and not with the password, the settings or the machine.
pub(crate) fn is_damage(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::WrongPassword
            | ErrorKind::NoPassword
            | ErrorKind::Permission
            | ErrorKind::Io
            | ErrorKind::Usage
    )
}

/// The error for a name that is not in the list, of that folder where it is one.
pub(crate) fn unknown(name: &str, entries: &[Entry], folder: Option<&Path>) -> Error {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    Error::UnknownBackup {
        name: name.to_owned(),
        known: if names.is_empty() {
            folder
                .and_then(list::unlisted)
                .unwrap_or_else(|| "there are no backups yet".into())
        } else {
            format!("there are {}", names.join(", "))
        },
    }
}

/// Proves a backup. When it was replaced by a newer one meanwhile, that one is proven.
fn backup(
    folder: &Path,
    mut entry: Entry,
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Verified> {
    loop {
        let verified = once(folder, &entry, password, monitor)?;
        if verified.ok {
            return Ok(verified);
        }
        match Catalog::load(folder)?.get(&entry.name) {
            Some(newer) if newer.timestamp > entry.timestamp => entry = newer,
            _ => return Ok(verified),
        }
    }
}

fn once(
    folder: &Path,
    entry: &Entry,
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Verified> {
    let mut parts = Vec::new();
    for (part, stored) in entry.parts() {
        let mut verified = VerifiedPart {
            part,
            file: stored.file.clone(),
            ok: false,
            encryption: None,
            contents: None,
            problem: None,
            kind: None,
            note: None,
            rehearsed: None,
        };
        match prove(folder, entry, part, stored, password, None, monitor) {
            Ok(proof) => {
                verified.ok = true;
                verified.encryption = Some(proof.encryption);
                verified.contents = Some(proof.contents);
                verified.note = proof.note;
            }
            // The fault of whoever asks, or of the machine: not of the backup.
            Err(error @ (Error::Cancelled | Error::PasswordRequired(_) | Error::Internal(_))) => {
                return Err(error);
            }
            Err(error) => {
                verified.kind = Some(error.kind());
                verified.problem = Some(error.to_string());
            }
        }
        parts.push(verified);
    }
    let problem = parts
        .is_empty()
        .then(|| "it has no parts: there is nothing to restore".to_owned());
    Ok(Verified {
        name: entry.name.to_string(),
        timestamp: Some(entry.timestamp),
        ok: problem.is_none() && parts.iter().all(|part| part.ok),
        parts,
        problem,
    })
}

/// Loads the dump of a proven backup into the server, and has it rolled back.
fn rehearse(
    folder: &Path,
    entry: &Entry,
    password: Option<&Password>,
    drill: Drill<'_>,
    verified: &mut Verified,
    monitor: &Monitor,
) -> Result<()> {
    let proven = verified
        .parts
        .iter_mut()
        .find(|part| part.part == Part::Database);
    let Some((proven, stored)) = proven.filter(|part| part.ok).zip(entry.database.as_ref()) else {
        return Ok(());
    };
    let length = folder.join(stored.file.as_str()).metadata();
    monitor.begin(Phase::Load, length.ok().map(|length| length.len()))?;
    let open = || PartReader::open(folder, entry, Part::Database, stored, password, monitor);
    let run = || {
        let first = open()?;
        let trust = drill
            .unproven_dump
            .judge(first.encryption(), first.path(), drill.database)?;
        let (pending, dump) = database::load(drill.database, trust, Purpose::Drill, open, monitor)?;
        dump.finish()?;
        pending.roll_back()
    };
    match run() {
        Ok(loaded) => proven.rehearsed = Some(loaded.tables),
        Err(error @ (Error::Cancelled | Error::Internal(_))) => return Err(error),
        Err(error) => {
            proven.ok = false;
            proven.kind = Some(error.kind());
            proven.problem = Some(format!("its restore was rehearsed, and failed: {error}"));
            verified.ok = false;
        }
    }
    Ok(())
}

/// What was proven of a part.
pub(crate) struct Proof {
    pub(crate) encryption: Encryption,
    pub(crate) contents: Contents,
    pub(crate) note: Option<&'static str>,
}

/// Proves that a part is whole, and gives why a restore would refuse it all the same.
///
/// # Errors
/// As of [`prove`], but for what a restore would refuse.
pub(crate) fn prove_whole(
    folder: &Path,
    entry: &Entry,
    part: Part,
    stored: &StoredPart,
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Option<String>> {
    let mut reader = PartReader::open(folder, entry, part, stored, password, monitor)?;
    let refusal = match part {
        Part::Database => watch_dump(&mut reader),
        Part::Config | Part::Files => check_tar(&mut reader).map(|_| None),
    };
    let refusal = refusal.map_err(|incomplete| incomplete.of(reader.path()))?;
    reader.finish()?;
    Ok(refusal)
}

/// Proves a part of a backup: all of its file is read. A dump is to be of `schema`, where that is given.
///
/// # Errors
/// `Damaged` and what else is wrong with it; `PasswordRequired`, `WrongPassword`, `Io`, `Cancelled`; `Usage`
/// when it is whole, and of another schema.
pub(crate) fn prove(
    folder: &Path,
    entry: &Entry,
    part: Part,
    stored: &StoredPart,
    password: Option<&Password>,
    schema: Option<&str>,
    monitor: &Monitor,
) -> Result<Proof> {
    let mut reader = PartReader::open(folder, entry, part, stored, password, monitor)?;
    let inside = match (part, schema) {
        (Part::Database, Some(schema)) => check_script(&mut reader, schema),
        (Part::Database, None) => check_dump(&mut reader),
        (Part::Config | Part::Files, _) => check_tar(&mut reader),
    };
    let contents = match inside.map_err(|incomplete| incomplete.of(reader.path())) {
        Err(error @ Error::Usage(_)) => {
            // A damaged file could say that too.
            let path = reader.path().to_owned();
            io::copy(&mut reader, &mut io::sink())
                .map_err(|error| Incomplete::Read(error).of(&path))?;
            reader.finish()?;
            return Err(error);
        }
        inside => inside?,
    };
    let (encryption, note) = (reader.encryption(), reader.note());
    reader.finish()?;
    Ok(Proof {
        encryption,
        contents,
        note,
    })
}
