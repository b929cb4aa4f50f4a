//! What is not here of a backup, and the proof that it is what the list says.

use super::super::prove::{Proof, prove};
use super::super::{Problem, Source, hash_of};
use super::{Pull, PulledBackup, problem};
use crate::catalog::{Entry, Part, PartName, StoredPart};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use crate::room;
use std::path::Path;

/// What came of a backup, all of it.
#[derive(Default)]
struct Came {
    bytes: u64,
    staged: Vec<PartName>,
    notes: Vec<String>,
}

/// Why a backup did not come.
pub(super) enum Failed {
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

impl Pull<'_> {
    pub(super) async fn download(
        &mut self,
        entry: &Entry,
    ) -> std::result::Result<PulledBackup, Failed> {
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
    pub(in crate::offsite) fn is_here(
        &self,
        stored: &StoredPart,
        size: Option<u64>,
    ) -> Result<bool> {
        let path = self.path.join(stored.file.as_str());
        let Some(hash) = stored.sha256 else {
            return Ok(false);
        };
        let is_as_long = path
            .metadata()
            .is_ok_and(|found| found.is_file() && size.is_none_or(|size| found.len() == size));
        Ok(is_as_long && hash_of(&path, self.monitor)? == hash)
    }
}

fn other(entry: &Entry, stored: &StoredPart, kind: ErrorKind, reason: &str) -> Failed {
    Failed::Other(problem(entry, kind, format!("{} {reason}", stored.file)))
}
