//! Proves that stored backups are whole: the hash of each file, the authentication of its encryption,
//! gzip, and the structure of what is inside.

use crate::archive::{Contents, Incomplete, check_dump, check_tar};
use crate::catalog::{
    BackupFolder, BackupName, Catalog, Entry, Part, PartName, StoredPart, Verification,
};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use crate::progress::{Monitor, Phase};
use crate::secret::Password;
use crate::stream::{Encryption, StoredReader};
use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};
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
}

/// Proves the backups of these names, or all of them.
///
/// # Errors
/// `UnknownBackup`; `PasswordRequired`; `Io` and `Damaged` for the list itself; `Cancelled`. What is
/// wrong with a backup, or with the password for it, is in the answer and not an error.
pub fn run(
    folder: &Path,
    names: &[String],
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Vec<Verified>> {
    let (entries, refused) = Catalog::load(folder)?.entries();
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    for name in names {
        let is_listed = entries.iter().any(|entry| entry.name.as_str() == name)
            || refused.iter().any(|refused| refused.name == *name);
        if !is_listed {
            return Err(unknown(name, &entries));
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
        all.push(backup(folder, entry, password, monitor)?);
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
    /// What is wrong with the backup or with the first part that is not proven.
    #[must_use]
    pub fn problem_in_words(&self) -> Option<String> {
        let parts = self.parts.iter().filter_map(|part| part.problem.clone());
        self.problem.clone().into_iter().chain(parts).next()
    }
}

/// The error for a name that is not in the list.
pub(crate) fn unknown(name: &str, entries: &[Entry]) -> Error {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    Error::UnknownBackup {
        name: name.to_owned(),
        known: if names.is_empty() {
            "there are no backups yet".into()
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
        };
        match prove(folder, entry, part, stored, password, monitor) {
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

struct Proof {
    encryption: Encryption,
    contents: Contents,
    note: Option<&'static str>,
}

fn prove(
    folder: &Path,
    entry: &Entry,
    part: Part,
    stored: &StoredPart,
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Proof> {
    let path = folder.join(stored.file.as_str());
    let reader = StoredReader::open(&path, password, monitor)?;
    let encryption = reader.encryption();
    if (encryption == Encryption::None) == stored.file.is_encrypted() {
        return Err(Error::damaged(
            &path,
            if stored.file.is_encrypted() {
                "it should be encrypted, and is not"
            } else {
                "it should not be encrypted, and is"
            },
        ));
    }
    let is_kept = part == Part::Files && entry.files_timestamp.is_some();
    if encryption == Encryption::None && entry.is_encrypted && !is_kept {
        return Err(Error::damaged(
            &path,
            "the backup is listed as encrypted, and this file is not",
        ));
    }
    let sealed_as = reader.context();
    if sealed_as.is_some_and(|context| context != part.context(&entry.name, entry.made_at(part))) {
        return Err(Error::damaged(
            &path,
            format!("it is another backup's file, or of another time: not the {part} of this one"),
        ));
    }
    let mut unpacked = Unpacked::new(reader);
    let inside = match part {
        Part::Database => check_dump(&mut unpacked),
        Part::Config | Part::Files => check_tar(&mut unpacked),
    };
    let contents = inside.map_err(|incomplete| match incomplete {
        Incomplete::Structure(reason) => Error::damaged(&path, reason),
        Incomplete::Read(error) => match error.downcast::<Error>() {
            Ok(own) => own,
            Err(error) => Error::damaged(&path, format!("its gzip data is not right: {error}")),
        },
    })?;
    let (outside, opened) = unpacked.finish(&path)?;
    let matches = |hash: Sha256Hash| stored.sha256 == Some(hash);
    let hash_fits = match stored.sha256 {
        // A backup of only the database keeps what Zotonic's own module made.
        None => !entry.is_ours() || is_kept,
        // Zotonic's own module hashes before it encrypts.
        Some(_) => matches(outside) || (encryption == Encryption::Z1 && matches(opened)),
    };
    if !hash_fits {
        return Err(Error::damaged(
            &path,
            "its hash is not that of the backup: it was changed or replaced",
        ));
    }
    let note = match encryption {
        Encryption::Z1 => Some(
            "encrypted in Zotonic's old format, which has no integrity: only the hash in backup.json \
             and gzip's own check speak for it",
        ),
        _ if stored.sha256.is_none() => Some("the list has no hash of it"),
        _ => None,
    };
    Ok(Proof {
        encryption,
        contents,
        note,
    })
}

/// The inside of a stored file, unpacked; and the hash of it as it was packed.
struct Unpacked {
    decoder: MultiGzDecoder<BufReader<Hashed>>,
}

struct Hashed {
    reader: StoredReader,
    hasher: Sha256,
    wanted: bool,
}

impl Unpacked {
    fn new(reader: StoredReader) -> Self {
        // Only then is the inside another file than the outside.
        let wanted = reader.encryption() == Encryption::Z1;
        Self {
            decoder: MultiGzDecoder::new(BufReader::with_capacity(
                256 << 10,
                Hashed {
                    reader,
                    hasher: Sha256::new(),
                    wanted,
                },
            )),
        }
    }

    /// Reads what is left, and gives the hashes of the stored file and of what was in it.
    fn finish(self, path: &Path) -> Result<(Sha256Hash, Sha256Hash)> {
        let mut rest = self.decoder.into_inner();
        loop {
            let count = rest
                .fill_buf()
                .map_err(Error::io("cannot read", path))?
                .len();
            if count == 0 {
                break;
            }
            rest.consume(count);
        }
        let hashed = rest.into_inner();
        let outside = hashed.reader.finish()?.sha256;
        let inside = Sha256Hash::of(hashed.hasher);
        Ok((outside, if hashed.wanted { inside } else { outside }))
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if self.wanted {
            self.hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}
