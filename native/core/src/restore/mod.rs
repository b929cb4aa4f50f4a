//! Brings a site back from a backup, so that it is either as before or as in the backup.
//!
//! All that is wanted of the backup is proven first (the database, when it is all, while it is loaded). Files
//! are unpacked beside their places, then the database is replaced in one transaction, and that the server
//! commits it is what decides: from there on the staged files are moved in, whatever happens. A journal in the backup folder tells how far it is;
//! after a crash the server is asked what became of the transaction.

mod config;
mod journal;
mod load;
mod place;
mod plan;
mod settle;

pub(crate) use journal::FILE_NAME as JOURNAL;
use load::load_and_verify;
pub use place::place;
pub use plan::{Options, Piece, Plan, plan};
pub(crate) use settle::settle_in;
pub use settle::{Settled, settle};

use crate::archive::{Skipped, check_made, open_folder, remove, unpack};
use crate::catalog::{BackupFolder, Entry, Part, StoredPart, Work};
use crate::database::{self, Loaded, Outcome, Pending, Purpose, TableRows, UnprovenDump};
use crate::durable::make_folders;
use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::part_reader::PartReader;
use crate::progress::{Monitor, Phase};
use crate::room;
use crate::secret::Password;
use crate::site::{Database, Site};
use crate::stream::Encryption;
use crate::verify::{self, Proof};
use crate::way;
use config::{Half, Places};
use journal::{Journal, State};
use serde::Serialize;
use settle::{complete, supersede, take_back};
use std::cell::RefCell;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// A restore that was done.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The backup that it was of.
    pub backup: Entry,
    /// What was restored.
    pub restored: Vec<Restored>,
    /// The tables of the database, with the number of their rows.
    pub tables: Vec<TableRows>,
    /// What is not on the disk as it is in the backup.
    pub skipped: Vec<Skipped>,
    /// What a person should look at, though the restore is done.
    pub warnings: Vec<String>,
}

/// What was restored of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Which one.
    pub piece: Piece,
    /// Files and folders; rows of the database.
    pub entries: u64,
    /// Bytes of them; of the dump.
    pub bytes: u64,
}

/// Restores the backup `name`, or the newest where that is "recent".
///
/// An interrupted restore is settled first. One of which nobody can tell what became of it stays as it is
/// until this one, of at least the same pieces, is decided, and goes away with that.
///
/// # Errors
/// Any of [`Error`]. The site is untouched then, but after `Unfinished`: that restore is decided, and the
/// next one, or the next backup, or [`settle`], completes it.
pub fn run(
    site: &Site,
    name: &str,
    options: &Options,
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Report> {
    let folder = existing(site)?;
    let mut warnings = Vec::new();
    let mut skipped = Vec::new();
    let mut unknown = None;
    match settle_in(site, &folder, monitor) {
        Ok(None) => {}
        Ok(Some(settled)) => {
            warnings.push(settled.warning());
            skipped.extend(settled.skipped);
        }
        // The server that should know does not. One that cannot be asked now is not asked in vain later.
        Err(Error::Unknowable(reason)) => unknown = Some(reason),
        // The disk with what it had unpacked may never come back.
        Err(error @ Error::Unfinished { .. }) => unknown = Some(error.to_string()),
        Err(error) => return Err(error),
    }
    let Plan {
        backup: entry,
        pieces,
    } = plan(site, name, options)?;
    warnings.extend(plan::absent(site, &entry, options));
    let mut journal = Journal::new(entry.name.as_str(), &pieces)?;
    if let Some(reason) = unknown {
        warnings.push(supersede(site, &mut journal, reason)?);
    }
    let mut restoring = Restoring {
        site,
        entry: &entry,
        password,
        unproven_dump: options.unproven_dump,
        journal: RefCell::new(journal),
        monitor,
        restored: Vec::new(),
        tables: Vec::new(),
        skipped,
        warnings,
    };
    if let Err(error) = restoring.until_decided(&pieces) {
        // The next one asks the server again, or the disk.
        if !matches!(error, Error::Undecided(_) | Error::Unsettled { .. }) {
            // What cannot be removed now is by whoever comes next.
            let _ = take_back(&site.backup_dir, &restoring.journal.into_inner());
        }
        return Err(error);
    }
    let Restoring {
        journal,
        restored,
        tables,
        mut skipped,
        warnings,
        ..
    } = restoring;
    skipped.extend(complete(
        &site.backup_dir,
        &mut journal.into_inner(),
        monitor,
    )?);
    Ok(Report {
        backup: entry,
        restored,
        tables,
        skipped,
        warnings,
    })
}

/// The backup folder of the site, which must be there.
fn existing(site: &Site) -> Result<BackupFolder> {
    std::fs::read_dir(&site.backup_dir)
        .map_err(Error::io("cannot read the folder", &site.backup_dir))?;
    BackupFolder::open_for(&site.backup_dir, Work::Restore)
}

struct Restoring<'a> {
    site: &'a Site,
    entry: &'a Entry,
    password: Option<&'a Password>,
    unproven_dump: UnprovenDump,
    /// Written at the end of the load, too.
    journal: RefCell<Journal>,
    monitor: &'a Monitor,
    restored: Vec<Restored>,
    tables: Vec<TableRows>,
    skipped: Vec<Skipped>,
    warnings: Vec<String>,
}

impl Restoring<'_> {
    /// Everything up to the point from which there is no way back.
    fn until_decided(&mut self, pieces: &[Piece]) -> Result<()> {
        // Alone it is proven while it is loaded: nothing is unpacked in vain.
        let proofs = match pieces {
            [Piece::Database] => Vec::new(),
            pieces => self.prove(pieces)?,
        };
        let proof = |part| proofs.iter().find(|(proven, _)| *proven == part);
        // What the server will refuse is known before all the files are unpacked for nothing.
        if let Some((_, proof)) = proof(Part::Database)
            && let Some(database) = &self.site.database
        {
            let file = self
                .site
                .backup_dir
                .join(self.stored(Part::Database)?.file.as_str());
            let trust = self
                .unproven_dump
                .judge(proof.encryption, &file, database)?;
            database::check(database, trust, self.monitor)?;
        }
        if pieces.contains(&Piece::Files)
            && let Some((part, proof)) = proof(Part::Files)
            && let Some(media) = &self.site.media_dir
        {
            let target = way::real(media)?;
            room::check(&target, proof.contents.bytes)?;
            self.monitor
                .begin(Phase::Unpack, Some(self.length(*part)))?;
            let (entries, bytes) = self.unpack(*part, &target, |name| Ok(Some(name.to_vec())))?;
            self.restored.push(Restored {
                piece: Piece::Files,
                entries,
                bytes,
            });
        }
        if let Some((_, proof)) = proof(Part::Config) {
            self.configuration(pieces, proof.contents.bytes)?;
        }
        for placement in &self.journal.borrow().placements {
            place::check(&placement.staged, &placement.target, self.monitor)?;
        }
        if pieces.contains(&Piece::Database) {
            self.load(proof(Part::Database).map(|(_, proof)| proof))?;
        }
        self.restored.sort_by_key(|restored| restored.piece as u8);
        let mut journal = self.journal.borrow_mut();
        let before = std::mem::replace(&mut journal.state, State::Decided);
        let written = journal.write(&self.site.backup_dir);
        match (written, before) {
            (Ok(()), _) => Ok(()),
            // It says which transaction to ask for: that is as good.
            (Err(_), State::Loading(_)) => Ok(()),
            (Err(error), before) => {
                // It may be there all the same, and must not be when what is staged goes: whoever came next
                // would look for that, and never find it.
                journal.state = before;
                match journal.write(&self.site.backup_dir) {
                    Ok(()) => Err(error),
                    Err(error) => Err(Error::Unsettled {
                        backup: journal.backup.clone(),
                        source: Box::new(error),
                    }),
                }
            }
        }
    }

    fn stored(&self, part: Part) -> Result<&StoredPart> {
        let missing = || Error::Internal(format!("the backup has no {part}"));
        self.entry.part(part).ok_or_else(missing)
    }

    /// Length of the file of a part: as far as one can tell how long something takes.
    fn length(&self, part: Part) -> u64 {
        let file = self.stored(part).map(|stored| stored.file.as_str());
        let metadata = file.map(|file| self.site.backup_dir.join(file).metadata());
        metadata.map_or(0, |found| found.map_or(0, |found| found.len()))
    }

    fn open(&self, part: Part) -> Result<PartReader> {
        let folder = &self.site.backup_dir;
        let stored = self.stored(part)?;
        PartReader::open(
            folder,
            self.entry,
            part,
            stored,
            self.password,
            self.monitor,
        )
    }

    /// Proves all that is wanted before anything is touched.
    fn prove(&mut self, pieces: &[Piece]) -> Result<Vec<(Part, Proof)>> {
        let wanted = |part: &Part| pieces.iter().any(|piece| piece.part() == *part);
        let parts: Vec<Part> = Part::ALL.into_iter().filter(wanted).collect();
        let total = parts.iter().map(|part| self.length(*part)).sum();
        self.monitor.begin(Phase::Verify, Some(total))?;
        let mut proofs = Vec::new();
        for part in parts {
            let proof = self.prover(part)?(self.monitor)?;
            self.look_at(part, &proof)?;
            proofs.push((part, proof));
        }
        Ok(proofs)
    }

    /// What proves a part, in this thread or another.
    fn prover(
        &self,
        part: Part,
    ) -> Result<impl FnOnce(&Monitor) -> Result<Proof> + Send + use<'_>> {
        let (site, entry, password) = (self.site, self.entry, self.password);
        let stored = self.stored(part)?;
        let schema = site.database.as_ref().map(|of| of.schema.as_str());
        Ok(move |monitor: &Monitor| {
            verify::prove(
                &site.backup_dir,
                entry,
                part,
                stored,
                password,
                schema,
                monitor,
            )
        })
    }

    /// Notes what a person should know of what was proven.
    fn look_at(&mut self, part: Part, proof: &Proof) -> Result<()> {
        let file = self.stored(part)?.file.clone();
        if self.site.encryption.is_some() && proof.encryption == Encryption::None {
            self.warnings.push(format!(
                "{file} is not encrypted, though backups of this site are: nothing proves who made it"
            ));
        }
        if let Some(note) = proof.note {
            self.warnings.push(format!("{file}: {note}"));
        }
        Ok(())
    }

    /// Stages what belongs into the folder `target` of an archive: `place` says where in there.
    fn unpack(
        &mut self,
        part: Part,
        target: &Path,
        place: impl Fn(&[u8]) -> Result<Option<Vec<u8>>>,
    ) -> Result<(u64, u64)> {
        let folder = &self.site.backup_dir;
        way::check(target)?;
        let made = target
            .parent()
            .map_or(Ok(Vec::new()), |parent| make_folders(parent, 0o755))?;
        let staged = {
            let mut journal = self.journal.borrow_mut();
            let staged = journal.stage(target);
            journal.write(folder)?;
            staged
        };
        make_staged(&staged, target)?;
        let mut reader = self.open(part)?;
        let misplaced = RefCell::new(None);
        let rename = |name: &[u8]| match place(name) {
            Ok(place) => place,
            Err(error) => {
                misplaced.borrow_mut().get_or_insert(error);
                None
            }
        };
        let unpacked = unpack(&mut reader, &staged, &rename, self.monitor);
        let unpacked = unpacked.map_err(|incomplete| incomplete.of(reader.path()))?;
        reader.finish()?;
        if let Some(error) = misplaced.into_inner() {
            return Err(error);
        }
        // A folder that a site does not have is not made for nothing.
        if part == Part::Config && unpacked.entries == 0 {
            remove(&staged).map_err(|errno| Error::io("cannot remove", &staged)(errno.into()))?;
            for folder in made.iter().rev() {
                let _ = std::fs::remove_dir(folder);
            }
            let mut journal = self.journal.borrow_mut();
            journal.placements.pop();
            journal.write(folder)?;
        }
        self.skipped.extend(unpacked.skipped);
        Ok((unpacked.entries, unpacked.bytes))
    }

    /// Stages configuration and security files, each folder that they belong to by itself. There are `bytes`
    /// of them.
    fn configuration(&mut self, pieces: &[Piece], bytes: u64) -> Result<()> {
        let places = Places::of(self.site, way::real)?;
        for folder in places.folders() {
            room::check(&folder, bytes)?;
        }
        for (piece, half) in [
            (Piece::Config, Half::Config),
            (Piece::Security, Half::Security),
        ] {
            if !pieces.contains(&piece) {
                continue;
            }
            self.monitor
                .begin(Phase::Unpack, Some(self.length(Part::Config)))?;
            let mut restored = Restored {
                piece,
                entries: 0,
                bytes: 0,
            };
            let folders = places.folders();
            if folders.is_empty() {
                return Err(Error::Usage(
                    "the site does not say where its configuration belongs: set config_files and \
                     security_dir, or leave it out with --only"
                        .into(),
                ));
            }
            for folder in folders {
                let (entries, bytes) = self.unpack(Part::Config, &folder, |name| {
                    let place = places.place(name, half)?;
                    Ok(place.and_then(|(to, below)| (to == folder).then_some(below)))
                })?;
                restored.entries += entries;
                restored.bytes += bytes;
            }
            self.restored.push(restored);
        }
        Ok(())
    }

    /// Loads the database, and proves it meanwhile where that was not done.
    fn load(&mut self, proof: Option<&Proof>) -> Result<()> {
        let Some(database) = &self.site.database else {
            return Err(Error::Internal("a site without a database".into()));
        };
        self.monitor
            .begin(Phase::Load, Some(self.length(Part::Database)))?;
        let open = || {
            let dump = self.open(Part::Database)?;
            let trust = self
                .unproven_dump
                .judge(dump.encryption(), dump.path(), database)?;
            Ok((dump, trust))
        };
        let end = |pending: Pending<'_>| {
            let mut journal = self.journal.borrow_mut();
            journal.state = State::Loading(pending.id().clone());
            journal.write(&self.site.backup_dir)?;
            pending.commit()
        };
        let (loaded, proven) = if proof.is_some() {
            let load = || {
                let (_, trust) = open()?;
                let dump = || open().map(|(dump, _)| dump);
                let (pending, dump) =
                    database::load(database, trust, Purpose::Replace, dump, self.monitor)?;
                dump.finish()?;
                end(pending)
            };
            (load(), None)
        } else {
            let verify = self.prover(Part::Database)?;
            load_and_verify(database, open, verify, end, self.monitor)
        };
        let loaded = match loaded {
            Err(Error::Undecided(reason)) => self.decided(database, reason)?,
            loaded => loaded?,
        };
        if let Some(proof) = &proven {
            self.look_at(Part::Database, proof)?;
        }
        let proof = proof.or(proven.as_ref());
        let proof = proof.ok_or_else(|| Error::Internal("a load without a proof".into()))?;
        self.restored.push(Restored {
            piece: Piece::Database,
            entries: loaded.tables.iter().map(|table| table.rows).sum(),
            bytes: proof.contents.bytes,
        });
        self.warnings.extend(loaded.warnings);
        self.tables = loaded.tables;
        Ok(())
    }

    /// Asks the server whether it has committed, when it could not say so.
    fn decided(&self, database: &Database, reason: String) -> Result<Loaded> {
        let State::Loading(transaction) = &self.journal.borrow().state else {
            return Err(Error::Internal("a load without a transaction".into()));
        };
        match database::outcome(database, transaction, &self.monitor.without_cancel()) {
            Ok(Outcome::Committed) => Ok(Loaded {
                tables: Vec::new(),
                warnings: vec![format!("{reason}: it was made final")],
            }),
            Ok(Outcome::Aborted) => Err(Error::Database(format!(
                "{reason}: it was not, the database is as it was"
            ))),
            Err(error) => Err(Error::Undecided(format!(
                "{reason}; {error}; the next restore or backup of the site asks again"
            ))),
        }
    }
}

/// Makes the folder that what belongs into `target` is unpacked in. It is the target's owner's, who can go on
/// when this process does not live to.
fn make_staged(staged: &Path, target: &Path) -> Result<()> {
    let fail = || Error::io("cannot create the folder", staged);
    DirBuilder::new()
        .mode(0o700)
        .create(staged)
        .map_err(fail())?;
    let owner = Owner::at(target).map_err(fail())?;
    let opened = open_folder(rustix::fs::CWD, staged.as_os_str().as_bytes());
    let folder = opened.map_err(|errno| fail()(errno.into()))?;
    owner.give(&folder).map_err(|errno| fail()(errno.into()))?;
    check_made(&folder, staged, owner)
}
