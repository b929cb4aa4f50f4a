//! What a restore would be of.

use super::config::Places;
use crate::catalog::{Catalog, Entry, Part};
use crate::database::UnprovenDump;
use crate::durable::real;
use crate::error::{Error, Result};
use crate::site::Site;
use crate::time::local;
use crate::verify;
use crate::way;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
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

/// What a restore would be of.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The backup.
    pub backup: Entry,
    /// What of it.
    pub pieces: Vec<Piece>,
}

/// What is asked for of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Only these pieces; all that the backup has when none is named.
    pub only: Vec<Piece>,
    /// When the backup was made that is meant, in seconds since 1970 (Unix time). Names are used again: by
    /// now a newer one may have it, which nobody has agreed to.
    pub timestamp: Option<i64>,
    /// What to do with a dump that somebody may have changed.
    pub unproven_dump: UnprovenDump,
}

/// Tells what [`run`](super::run) would restore. Changes nothing but what an interrupted backup left.
///
/// # Errors
/// `UnknownBackup`; `Replaced`; `Usage` when the backup or the site lacks what is wanted; `Io`, `Damaged`.
pub fn plan(site: &Site, name: &str, options: &Options) -> Result<Plan> {
    let backup = find(&site.backup_dir, name, &options.only)?;
    if let Some(agreed) = options.timestamp
        && agreed != backup.timestamp
    {
        let zone = site.time_zone()?;
        return Err(Error::Replaced {
            name: backup.name.to_string(),
            agreed: local(agreed, &zone),
            now: local(backup.timestamp, &zone),
        });
    }
    let pieces = pieces(site, &backup, &options.only)?;
    Ok(Plan { backup, pieces })
}

/// What the site has and the backup has not, where all of that is wanted. The list that says so is not sealed:
/// somebody may have left a part out of it.
pub(super) fn absent(site: &Site, entry: &Entry, options: &Options) -> Option<String> {
    let has_config = !site.config_files.is_empty() || site.security_dir.is_some();
    let absent: Vec<String> = [
        (Part::Database, site.database.is_some()),
        (Part::Config, has_config),
        (Part::Files, site.media_dir.is_some()),
    ]
    .into_iter()
    .filter(|(part, is_wanted)| *is_wanted && entry.part(*part).is_none())
    .map(|(part, _)| part.to_string())
    .collect();
    (options.only.is_empty() && !absent.is_empty()).then(|| {
        format!(
            "the backup {} has no {}, as the list says, which nothing proves: what the site has of that stays",
            entry.name,
            absent.join(" and no ")
        )
    })
}

/// The backup that is meant.
fn find(folder: &Path, name: &str, only: &[Piece]) -> Result<Entry> {
    let (entries, refused) = Catalog::load(folder)?.entries();
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
        None => Err(verify::unknown(name, &entries, Some(folder))),
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
    // Said before the long work; it holds for what is opened then.
    for piece in &pieces {
        let ways: Vec<&PathBuf> = match piece {
            Piece::Files => site.media_dir.iter().collect(),
            Piece::Security => site.security_dir.iter().collect(),
            Piece::Config => site.config_files.iter().collect(),
            Piece::Database => Vec::new(),
        };
        ways.into_iter().try_for_each(|way| way::check(way))?;
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
pub(super) fn targets(site: &Site) -> Vec<PathBuf> {
    let Ok(places) = Places::of(site, |path| Ok::<_, Infallible>(real(path)));
    let mut targets = places.folders();
    targets.extend(site.media_dir.as_deref().map(real));
    targets
}
