//! Makes a backup of a site: database, configuration, media.

use crate::archive::{Packer, Skipped, measure};
use crate::catalog::{
    BackupFolder, BackupName, Catalog, Entry, Part, PartName, StoredPart, Verification, Work,
};
use crate::database;
use crate::durable::real;
use crate::error::{Error, Result};
use crate::progress::{Monitor, Phase};
use crate::restore;
use crate::room;
use crate::schedule;
use crate::secret::Password;
use crate::site::{Site, config_name};
use crate::stream::{Effort, Sealer, StreamWriter};
use crate::verify;
use crate::way;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What kind of backup to make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Leave out the media files. Those that a backup of the same name has are kept.
    pub database_only: bool,
    /// The day that the backup is of, which names it; today when none is given. A nightly backup that
    /// is made late is still of its night ([`schedule::due`]).
    pub day: Option<Date>,
    /// Read back what was made, and prove it as [`verify::run`] does, before it takes the place of
    /// anything. What comes out is in the list.
    pub prove: bool,
}

/// A backup that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The backup, as it is in the list.
    pub backup: Entry,
    /// What is in the parts that were made now.
    pub made: Vec<Made>,
    /// What is not in the backup as it was on the disk.
    pub skipped: Vec<Skipped>,
    /// What a person should look at, though the backup is good.
    pub warnings: Vec<String>,
}

/// A part that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Which one.
    pub part: Part,
    /// Its file.
    pub file: PartName,
    /// Length of what was read.
    pub source_bytes: u64,
    /// Length of the file.
    pub size: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Makes a backup and puts it in the place of the one of the same name, when all of it is safe on the
/// disk.
///
/// # Errors
/// Any of [`Error`]. The backups that were there before are untouched then; unless it was decided
/// already and the disk failed, which whoever opens the folder next finishes. `Unproven` when what was
/// made is not what it should be; `HalfRestored` when an interrupted restore can neither be completed nor
/// taken back.
pub fn run(site: &Site, options: Options, monitor: &Monitor) -> Result<Report> {
    let began = Instant::now();
    let now = Timestamp::now();
    let zone = site.time_zone()?;
    // No list can say so: it would not be a backup for anybody.
    if now.as_second() < 0 {
        return Err(Error::Usage(format!(
            "the clock of this machine says that it is {}: set it first",
            zone.to_datetime(now).date()
        )));
    }
    let day = options.day.unwrap_or_else(|| zone.to_datetime(now).date());
    let name = BackupName::try_from(schedule::backup_name(site.site.as_str(), day))
        .map_err(Error::Usage)?;
    let password = site.password()?;
    let config = config_files(site)?;
    let media = site.media_dir.as_ref().filter(|_| !options.database_only);
    if let Some(media) = media {
        outside(&site.backup_dir, media)?;
    }
    let has_config = !config.is_empty() || site.security_dir.is_some();
    if site.database.is_none() && media.is_none() && !has_config {
        return Err(Error::Usage(
            "there is nothing to back up: no database, no media and no configuration is given"
                .into(),
        ));
    }

    let folder = BackupFolder::open_for(&site.backup_dir, Work::Backup)?;
    let (settled, leftover) = match restore::settle_in(site, &folder, monitor) {
        Ok(settled) => (settled, None),
        Err(error @ Error::Leftover { .. }) => (None, Some(error.to_string())),
        Err(error @ Error::Cancelled) => return Err(error),
        // Nobody wants the site back as it may be now. It would be the newest backup, here and in the store,
        // and take the place of a good one.
        Err(error) => {
            return Err(Error::HalfRestored {
                source: Box::new(error),
            });
        }
    };
    let (catalog, aside) = folder.catalog()?;
    monitor.check()?;
    // It takes its time, beside what follows.
    let sealer = password.as_ref().map(Sealer::new).transpose()?;
    let media_size = media.map(|media| measure(media, monitor)).transpose()?;
    room::check(&site.backup_dir, needed(site, &catalog, media_size))?;
    let mut making = Making {
        folder: &folder,
        name: &name,
        timestamp: now.as_second(),
        sealer,
        monitor,
        made: Vec::new(),
        skipped: Vec::new(),
        warnings: Vec::new(),
    };
    making.warnings.extend(leftover);
    if let Some(settled) = settled {
        making.warnings.push(settled.warning());
        making.skipped.extend(settled.skipped);
    }
    if let Some(aside) = aside {
        making.warnings.push(format!(
            "backup.json was damaged; it is kept as {} and a new list was begun",
            aside.display()
        ));
    }

    let database = site
        .database
        .as_ref()
        .map(|database| {
            making.part(Part::Database, None, |out, making| {
                let warnings = database::dump(database, out, making.monitor)?;
                making.warnings.extend(warnings);
                Ok(())
            })
        })
        .transpose()?;
    let config = has_config
        .then(|| {
            making.part(Part::Config, None, |out, making| {
                let mut packer = Packer::new(out, making.monitor);
                for (path, name) in &config {
                    packer.file(path, name.as_bytes())?;
                }
                if let Some(security) = &site.security_dir {
                    let prefix = format!("config-{}/security/", site.site);
                    packer.folder(security, prefix.as_bytes())?;
                }
                making.skipped.extend(packer.finish()?);
                Ok(())
            })
        })
        .transpose()?;
    let files = media
        .map(|media| {
            making.part(Part::Files, media_size, |out, making| {
                let mut packer = Packer::new(out, making.monitor);
                packer.folder(media, b"")?;
                making.skipped.extend(packer.finish()?);
                Ok(())
            })
        })
        .transpose()?;

    let before = catalog.get(&name).filter(|_| options.database_only);
    let kept = before.and_then(|before| {
        let file = before.files?;
        let made = before.files_timestamp.unwrap_or(before.timestamp);
        let is_there = site.backup_dir.join(file.file.as_str()).is_file();
        is_there.then_some((file, made))
    });
    if kept
        .as_ref()
        .is_some_and(|(file, _)| file.file.is_encrypted() != password.is_some())
    {
        making.warnings.push(if password.is_some() {
            "the media files that this name keeps from before are not encrypted".into()
        } else {
            "the media files that this name keeps from before are encrypted".into()
        });
    }
    let (kept, files_timestamp) = kept.unzip();
    let Making {
        made,
        skipped,
        mut warnings,
        ..
    } = making;
    let mut backup = Entry::new(
        name.clone(),
        now.as_second(),
        [database, config, files.or(kept)],
        files_timestamp,
        password.is_some(),
        began.elapsed(),
    );
    if options.prove {
        backup.verified = proof(&folder, site, &backup, &made, password.as_ref(), monitor)?;
    }
    // The last chance: from here on it is decided.
    monitor.check()?;
    let staged: Vec<PartName> = made.iter().map(|made| made.file.clone()).collect();
    let aside = folder.commit(catalog, backup.clone(), &staged)?;
    warnings.extend(aside.iter().map(|file| {
        format!("a file that no list knows had the name of a new one: it is kept as {file}")
    }));
    Ok(Report {
        backup,
        made,
        skipped,
        warnings,
    })
}

struct Making<'a> {
    folder: &'a BackupFolder,
    name: &'a BackupName,
    timestamp: i64,
    sealer: Option<Sealer>,
    monitor: &'a Monitor,
    made: Vec<Made>,
    skipped: Vec<Skipped>,
    warnings: Vec<String>,
}

impl Making<'_> {
    /// Stages the file of a part: `fill` writes what is in it.
    fn part(
        &mut self,
        part: Part,
        total: Option<u64>,
        fill: impl FnOnce(&mut StreamWriter, &mut Self) -> Result<()>,
    ) -> Result<StoredPart> {
        let began = Instant::now();
        let (phase, effort) = match part {
            Part::Database => (Phase::Database, Effort::Thorough),
            Part::Config => (Phase::Config, Effort::Thorough),
            Part::Files => (Phase::Files, Effort::Quick),
        };
        self.monitor.begin(phase, total)?;
        let file = part.file_name(self.name, self.sealer.is_some());
        let (staged, path) = self.folder.stage(&file)?;
        let mut out = StreamWriter::new(
            staged,
            &path,
            effort,
            self.sealer.as_ref(),
            &part.context(self.name, self.timestamp),
        )?;
        fill(&mut out, self)?;
        let source_bytes = out.source_bytes();
        let stored = out.finish()?;
        self.made.push(Made {
            part,
            file: file.clone(),
            source_bytes,
            size: stored.size,
            duration_ms: millis(began.elapsed()),
        });
        Ok(StoredPart {
            file,
            sha256: Some(stored.sha256),
            size: Some(stored.size),
        })
    }
}

/// Proves the parts that were made, which are still staged: what is wrong with one is an error. And those
/// that the backup keeps from before: what is wrong with one of them is no fault of the new ones.
fn proof(
    folder: &BackupFolder,
    site: &Site,
    backup: &Entry,
    made: &[Made],
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Option<Verification>> {
    let total = backup.parts().filter_map(|(_, stored)| stored.size).sum();
    monitor.begin(Phase::Verify, Some(total))?;
    let mut proof = Some(Verification {
        at: Timestamp::now().as_second(),
        ok: true,
        problem: None,
    });
    for (part, stored) in backup.parts() {
        let is_new = made.iter().any(|made| made.part == part);
        let staging = folder.staging()?;
        let place = if is_new { &staging } else { &site.backup_dir };
        let not_right = |problem| {
            Some(Verification {
                at: Timestamp::now().as_second(),
                ok: false,
                problem: Some(problem),
            })
        };
        match verify::prove_whole(place, backup, part, stored, password, monitor) {
            Ok(None) => {}
            // It can still be loaded by hand, which is more than nothing.
            Ok(Some(refusal)) => proof = not_right(format!("a restore would refuse it: {refusal}")),
            Err(error @ (Error::Cancelled | Error::Internal(_))) => return Err(error),
            Err(error) if is_new => {
                return Err(Error::Unproven {
                    backup: backup.name.to_string(),
                    source: Box::new(error),
                });
            }
            Err(error) => {
                proof = match verify::is_damage(error.kind()) {
                    true => not_right(format!(
                        "the media files that it keeps from before are not whole: {error}"
                    )),
                    false => None,
                };
            }
        }
    }
    Ok(proof)
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How much room a backup takes, as far as one can tell before it is made: as much as the last one of each
/// part, of the media not more than there is now. The first time half of the media, since much of it may
/// compress.
fn needed(site: &Site, catalog: &Catalog, media_size: Option<u64>) -> u64 {
    let (entries, _) = catalog.entries();
    let last = |part| {
        let stored = entries.iter().find_map(|entry| entry.part(part))?;
        let there = site.backup_dir.join(stored.file.as_str()).metadata();
        stored.size.or_else(|| Some(there.ok()?.len()))
    };
    let database = site.database.as_ref().and_then(|_| last(Part::Database));
    let files = media_size.map(|now| last(Part::Files).map_or(now / 2, |last| last.min(now)));
    database.unwrap_or(0) + files.unwrap_or(0)
}

/// The configuration files, each with its name in the archive: `config-<site>/config/priv/<file>` or
/// `config-<site>/config/config.d/…`. That they and the security folder are there is known before the
/// long work begins.
fn config_files(site: &Site) -> Result<Vec<(PathBuf, String)>> {
    if let Some(security) = &site.security_dir {
        way::open(security, way::FOLDER)?;
    }
    let mut files = Vec::new();
    let mut seen: HashMap<String, &Path> = HashMap::new();
    for path in &site.config_files {
        let metadata = File::from(way::open(path, way::FILE)?).metadata();
        let metadata = metadata.map_err(Error::io("cannot read", path))?;
        let name = config_name(path).filter(|_| metadata.is_file());
        let name = name.ok_or_else(|| {
            Error::Usage(format!(
                "{} is not a file: config_files names files, each by itself",
                path.display()
            ))
        })?;
        if let Some(other) = seen.insert(name.clone(), path) {
            return Err(Error::Usage(format!(
                "{} and {} would both be stored as {name}",
                other.display(),
                path.display()
            )));
        }
        files.push((path.clone(), format!("config-{}/config/{name}", site.site)));
    }
    Ok(files)
}

/// A backup folder inside of the media folder would be backed up with it, and grow every night.
fn outside(backups: &Path, media: &Path) -> Result<()> {
    let media_real = media
        .canonicalize()
        .map_err(Error::io("cannot read the media folder", media))?;
    if real(backups).starts_with(media_real) {
        return Err(Error::Usage(format!(
            "the backup folder {} is inside of the media folder {}: choose another",
            backups.display(),
            media.display()
        )));
    }
    Ok(())
}
