//! Brings a site back from a backup, so that it is either as before or as in the backup.
//!
//! All that is wanted of the backup is proven first. Files are unpacked beside their places, then the
//! database is replaced in one transaction, and that the server commits it is what decides: from there on
//! the staged files are moved in, whatever happens. A journal in the backup folder tells how far it is;
//! after a crash the server is asked what became of the transaction.

mod config;
mod journal;
mod place;

pub(crate) use journal::FILE_NAME as JOURNAL;
pub use place::place;

use crate::archive::{Incomplete, Skipped, remove, unpack};
use crate::catalog::{BackupFolder, Catalog, Entry, Part, StoredPart};
use crate::database::{self, Fate, Loaded, Purpose, TableRows, TransactionId, Trust};
use crate::durable::real;
use crate::error::{Error, Result};
use crate::part_reader::PartReader;
use crate::progress::{Monitor, Phase};
use crate::room;
use crate::secret::Password;
use crate::site::{Database, Site};
use crate::stream::Encryption;
use crate::verify::{self, Proof};
use config::{Half, Places};
use jiff::Timestamp;
use journal::{Journal, Placement, State};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What can be restored by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum Piece {
    /// The database.
    Database,
    /// The media files.
    Files,
    /// The configuration files.
    Config,
    /// The files of the security folder.
    Security,
}

impl Piece {
    /// All of them, in the order in which they are restored.
    pub const ALL: [Self; 4] = [Self::Database, Self::Files, Self::Config, Self::Security];

    /// The part of a backup that it is in.
    #[must_use]
    pub fn part(self) -> Part {
        match self {
            Self::Database => Part::Database,
            Self::Files => Part::Files,
            Self::Config | Self::Security => Part::Config,
        }
    }

    /// The name that programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Files => "files",
            Self::Config => "config",
            Self::Security => "security",
        }
    }
}

impl TryFrom<String> for Piece {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        let named = Self::ALL.into_iter().find(|piece| piece.name() == name);
        named.ok_or_else(|| {
            format!(
                "\"{}\" cannot be restored: there are database, files, config and security",
                name.escape_debug()
            )
        })
    }
}

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

/// What became of a restore that was interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// The backup that it was of.
    pub backup: String,
    /// Whether it was completed. Else it was taken back: the site is as it was before it.
    pub completed: bool,
    /// What is not on the disk as it is in the backup.
    pub skipped: Vec<Skipped>,
}

impl Settled {
    /// The same as half a sentence for a person.
    #[must_use]
    pub fn warning(&self) -> String {
        format!(
            "an earlier restore of {} had been interrupted: {}",
            self.backup,
            if self.completed {
                "it was completed now"
            } else {
                "it was taken back, nothing of it remained"
            }
        )
    }
}

/// What a restore would be of.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The backup.
    pub backup: Entry,
    /// What of it.
    pub pieces: Vec<Piece>,
}

/// Tells what [`run`] would restore. Changes nothing but what an interrupted backup left.
///
/// # Errors
/// `UnknownBackup`; `Usage` when the backup or the site lacks what is wanted; `Io`, `Damaged`.
pub fn plan(site: &Site, name: &str, only: &[Piece]) -> Result<Plan> {
    let backup = find(&Catalog::load(&site.backup_dir)?, name, only)?;
    let pieces = pieces(site, &backup, only)?;
    Ok(Plan { backup, pieces })
}

/// Restores the backup `name`, or the newest where that is "recent": the pieces `only`, or all that the
/// backup has when none is named.
///
/// # Errors
/// Any of [`Error`]. The site is untouched then, but after `Unfinished`: that restore is decided, and the
/// next one, or the next backup, or [`settle`], completes it.
pub fn run(
    site: &Site,
    name: &str,
    only: &[Piece],
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Report> {
    let folder = existing(site)?;
    let mut warnings = Vec::new();
    let mut skipped = Vec::new();
    if let Some(settled) = settle_in(site, &folder, monitor)? {
        warnings.push(settled.warning());
        skipped.extend(settled.skipped);
    }
    let Plan {
        backup: entry,
        pieces,
    } = plan(site, name, only)?;
    let journal = Journal::new(entry.name.as_str())?;
    let mut restoring = Restoring {
        site,
        entry: &entry,
        password,
        journal: RefCell::new(journal),
        monitor,
        restored: Vec::new(),
        tables: Vec::new(),
        skipped,
        warnings,
    };
    if let Err(error) = restoring.until_decided(&pieces) {
        // The next one asks the server again.
        if !matches!(error, Error::Undecided(_)) {
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

/// Completes or takes back a restore of this site that was interrupted, when there is one.
///
/// # Errors
/// `InProgress` when it has not ended; `Database` when the server that knows cannot be asked; `Io`,
/// `Damaged`.
pub fn settle(site: &Site, monitor: &Monitor) -> Result<Option<Settled>> {
    if !Journal::is_there(&site.backup_dir) {
        return Ok(None);
    }
    settle_in(site, &existing(site)?, monitor)
}

/// The same by the process that has the folder already.
pub(crate) fn settle_in(
    site: &Site,
    _locked: &BackupFolder,
    monitor: &Monitor,
) -> Result<Option<Settled>> {
    let Some(mut journal) = Journal::read(&site.backup_dir, &targets(site))? else {
        // Nothing was staged before the journal was there.
        if Journal::is_there(&site.backup_dir) {
            Journal::remove(&site.backup_dir)?;
        }
        return Ok(None);
    };
    let completed = match &journal.state {
        State::Staging => false,
        State::Decided => true,
        State::Loading(transaction) => {
            let database = site.database.as_ref().ok_or_else(|| {
                Error::Usage(format!(
                    "a restore of {} was interrupted, and only its database knows whether it was done: \
                     add [database] to the site",
                    journal.backup
                ))
            })?;
            database::fate(database, transaction, monitor)? == Fate::Committed
        }
    };
    let skipped = if completed {
        complete(&site.backup_dir, &mut journal, monitor)?
    } else {
        take_back(&site.backup_dir, &journal)?;
        Vec::new()
    };
    Ok(Some(Settled {
        backup: journal.backup,
        completed,
        skipped,
    }))
}

/// The backup folder of the site, which must be there.
fn existing(site: &Site) -> Result<BackupFolder> {
    std::fs::read_dir(&site.backup_dir)
        .map_err(Error::io("cannot read the folder", &site.backup_dir))?;
    BackupFolder::open(&site.backup_dir)
}

/// The backup that is meant.
fn find(catalog: &Catalog, name: &str, only: &[Piece]) -> Result<Entry> {
    let (entries, refused) = catalog.entries();
    let has_all = |entry: &Entry| only.iter().all(|piece| entry.part(piece.part()).is_some());
    if let Some(refused) = refused.iter().find(|refused| refused.name == name) {
        return Err(Error::Usage(format!(
            "the backup {name} cannot be restored: {}",
            refused.reason
        )));
    }
    let is_candidate = |entry: &&Entry| entry.parts().next().is_some() && has_all(entry);
    let now = Timestamp::now().as_second();
    let found = match name {
        // One that was made while the clock was wrong is not the newest until that time comes.
        "recent" => entries
            .iter()
            .filter(is_candidate)
            .find(|entry| entry.timestamp <= now)
            .or_else(|| entries.iter().find(is_candidate)),
        name => entries.iter().find(|entry| entry.name.as_str() == name),
    };
    match found {
        Some(entry) => Ok(entry.clone()),
        None if name == "recent" && !entries.is_empty() => {
            let wanted: Vec<String> = only.iter().map(|piece| piece.part().to_string()).collect();
            Err(Error::Usage(format!(
                "no backup has {}",
                if wanted.is_empty() {
                    "anything to restore".into()
                } else {
                    wanted.join(" and ")
                }
            )))
        }
        None => Err(verify::unknown(name, &entries)),
    }
}

/// What to restore. Nothing is left out in silence.
fn pieces(site: &Site, entry: &Entry, only: &[Piece]) -> Result<Vec<Piece>> {
    let has = |piece: &Piece| entry.part(piece.part()).is_some();
    if let Some(missing) = only.iter().find(|piece| !has(piece)) {
        let part = missing.part();
        return Err(Error::Usage(format!(
            "the backup {} has no {part}",
            entry.name
        )));
    }
    let pieces: Vec<Piece> = Piece::ALL
        .into_iter()
        .filter(|piece| has(piece) && (only.is_empty() || only.contains(piece)))
        .collect();
    if pieces.is_empty() {
        return Err(Error::Usage(format!(
            "the backup {} has nothing to restore",
            entry.name
        )));
    }
    let lacks = |piece, setting: &str| {
        Err(Error::Usage(format!(
            "the backup {} has {piece}, and the site has no {setting}: add it, or leave that out with \
             --only",
            entry.name
        )))
    };
    if pieces.contains(&Piece::Database) && site.database.is_none() {
        return lacks("a database", "[database]");
    }
    if pieces.contains(&Piece::Files) && site.media_dir.is_none() {
        return lacks("media files", "media_dir");
    }
    // Files of an archive must not become the list of backups.
    let backups = real(&site.backup_dir);
    if let Some(target) = targets(site)
        .iter()
        .find(|target| backups.starts_with(target))
    {
        return Err(Error::Usage(format!(
            "the backup folder {} is inside of {}, which files are restored to: choose another",
            backups.display(),
            target.display()
        )));
    }
    Ok(pieces)
}

/// The folders that a restore writes to.
fn targets(site: &Site) -> Vec<PathBuf> {
    let mut targets = Places::of(site).folders();
    targets.extend(site.media_dir.as_deref().map(real));
    targets
}

struct Restoring<'a> {
    site: &'a Site,
    entry: &'a Entry,
    password: Option<&'a Password>,
    /// Written by the callback of the load, too.
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
        let proofs = self.prove(pieces)?;
        let proof = |part| proofs.iter().find(|(proven, _)| *proven == part);
        if pieces.contains(&Piece::Files)
            && let Some((part, proof)) = proof(Part::Files)
            && let Some(media) = &self.site.media_dir
        {
            let target = real(media);
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
        self.configuration(pieces)?;
        for placement in &self.journal.borrow().placements {
            place::check(&placement.staged, &placement.target, self.monitor)?;
        }
        if pieces.contains(&Piece::Database)
            && let Some((_, proof)) = proof(Part::Database)
        {
            self.load(proof)?;
        }
        self.restored.sort_by_key(|restored| restored.piece as u8);
        let mut journal = self.journal.borrow_mut();
        let before = std::mem::replace(&mut journal.state, State::Decided);
        let written = journal.write(&self.site.backup_dir);
        match (written, before) {
            (Ok(()), _) => Ok(()),
            // It says which transaction to ask for: that is as good.
            (Err(_), State::Loading(_)) => Ok(()),
            (Err(error), _) => Err(error),
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
        let database = self.site.database.as_ref();
        let schema = database.map(|database| database.schema.as_str());
        let mut proofs = Vec::new();
        for part in parts {
            let stored = self.stored(part)?;
            let proof = verify::prove(
                &self.site.backup_dir,
                self.entry,
                part,
                stored,
                self.password,
                schema,
                self.monitor,
            )?;
            let file = stored.file.clone();
            if self.site.encryption.is_some() && proof.encryption == Encryption::None {
                self.warnings.push(format!(
                    "{file} is not encrypted, though backups of this site are: nothing proves who made it"
                ));
            }
            if let Some(note) = proof.note {
                self.warnings.push(format!("{file}: {note}"));
            }
            proofs.push((part, proof));
        }
        Ok(proofs)
    }

    /// Stages what belongs into the folder `target` of an archive: `place` says where in there.
    fn unpack(
        &mut self,
        part: Part,
        target: &Path,
        place: impl Fn(&[u8]) -> Result<Option<Vec<u8>>>,
    ) -> Result<(u64, u64)> {
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)
                .map_err(Error::io("cannot create the folder", parent))?;
        }
        let staged = {
            let mut journal = self.journal.borrow_mut();
            let staged = journal.stage(target);
            journal.write(&self.site.backup_dir)?;
            staged
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&staged)
            .map_err(Error::io("cannot create the folder", &staged))?;
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
        self.skipped.extend(unpacked.skipped);
        Ok((unpacked.entries, unpacked.bytes))
    }

    /// Stages configuration and security files, each folder that they belong to by itself.
    fn configuration(&mut self, pieces: &[Piece]) -> Result<()> {
        let places = Places::of(self.site);
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

    fn load(&mut self, proof: &Proof) -> Result<()> {
        let Some(database) = &self.site.database else {
            return Err(Error::Internal("a site without a database".into()));
        };
        self.monitor
            .begin(Phase::Load, Some(self.length(Part::Database)))?;
        let reader = self.open(Part::Database)?;
        let loaded = load(
            database,
            reader,
            Purpose::Replace,
            |transaction| {
                let mut journal = self.journal.borrow_mut();
                journal.state = State::Loading(transaction);
                journal.write(&self.site.backup_dir)
            },
            self.monitor,
        );
        let loaded = match loaded {
            Err(Error::Undecided(reason)) => self.decided(database, reason)?,
            loaded => loaded?,
        };
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
        match database::fate(database, transaction, &self.monitor.without_cancel()) {
            Ok(Fate::Committed) => Ok(Loaded {
                tables: Vec::new(),
                warnings: vec![format!("{reason}: it was made final")],
            }),
            Ok(Fate::Aborted) => Err(Error::Database(format!(
                "{reason}: it was not, the database is as it was"
            ))),
            Err(error) => Err(Error::Undecided(format!(
                "{reason}; {error}; the next restore or backup of the site asks again"
            ))),
        }
    }
}

/// Loads the dump that `reader` reads, which is proven again before it is final.
pub(crate) fn load(
    database: &Database,
    reader: PartReader,
    purpose: Purpose,
    began: impl FnOnce(TransactionId) -> Result<()>,
    monitor: &Monitor,
) -> Result<Loaded> {
    /// The reader, while it is needed for reading and for the proof after that.
    struct Dump<'a>(&'a RefCell<Option<PartReader>>);

    impl Read for Dump<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.borrow_mut().as_mut() {
                Some(reader) => reader
                    .read(buffer)
                    .map_err(|error| Incomplete::Read(error).of(reader.path()).into()),
                None => Ok(0),
            }
        }
    }

    let trust = match reader.encryption() {
        Encryption::Z2 => Trust::Authenticated,
        Encryption::Z1 | Encryption::None => Trust::Unproven,
    };
    let reader = RefCell::new(Some(reader));
    let prove = || reader.take().map_or(Ok(()), PartReader::finish);
    database::load(
        database,
        Dump(&reader),
        trust,
        purpose,
        began,
        prove,
        monitor,
    )
}

/// Moves what is staged into its place. Nothing can stop it any more.
fn complete(folder: &Path, journal: &mut Journal, monitor: &Monitor) -> Result<Vec<Skipped>> {
    let monitor = monitor.without_cancel();
    let backup = journal.backup.clone();
    let mut moved = || -> Result<Vec<Skipped>> {
        let mut skipped = Vec::new();
        for at in 0..journal.placements.len() {
            let Placement {
                staged,
                target,
                is_placed,
            } = journal.placements[at].clone();
            if !is_placed {
                // Its disk may not be mounted yet.
                staged
                    .symlink_metadata()
                    .map_err(Error::io("cannot read what was unpacked,", &staged))?;
                skipped.extend(place::move_in(&staged, &target, &monitor)?);
                journal.placements[at].is_placed = true;
                journal.write(folder)?;
            }
            remove(&staged).map_err(|errno| Error::io("cannot remove", &staged)(errno.into()))?;
        }
        Journal::remove(folder)?;
        Ok(skipped)
    };
    moved().map_err(|error| Error::Unfinished {
        backup,
        source: Box::new(error),
    })
}

/// Removes what was staged: the site is as it was.
fn take_back(folder: &Path, journal: &Journal) -> Result<()> {
    for placement in &journal.placements {
        let staged = &placement.staged;
        remove(staged).map_err(|errno| Error::io("cannot remove", staged)(errno.into()))?;
    }
    Journal::remove(folder)
}
