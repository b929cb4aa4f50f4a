//! What becomes of a restore that was interrupted: it is completed, or taken back.

use super::journal::{Journal, Placement, State};
use super::plan::targets;
use super::{existing, place};
use crate::archive::{Skipped, remove};
use crate::catalog::BackupFolder;
use crate::database::{self, Outcome};
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::site::Site;
use serde::Serialize;
use std::path::Path;

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

/// Completes or takes back a restore of this site that was interrupted, when there is one.
///
/// # Errors
/// `InProgress` when it has not ended; `Database` when the server that knows cannot be asked; `Unknowable` when
/// it does not know; `Unfinished`; `Leftover`, after which the site is whole; `Io`, `Damaged`.
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
    loop {
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
                database::outcome(database, transaction, monitor)? == Outcome::Committed
            }
        };
        let skipped = if completed {
            complete(&site.backup_dir, &mut journal, monitor)?
        } else {
            take_back(&site.backup_dir, &journal).map_err(|error| match journal.superseded {
                None => leftover(&journal.backup, error),
                Some(_) => error,
            })?;
            if journal.superseded.is_some() {
                // That one is there again.
                continue;
            }
            Vec::new()
        };
        return Ok(Some(Settled {
            backup: journal.backup,
            completed,
            skipped,
        }));
    }
}

/// Has a new restore take the place of one that was interrupted, of which nobody can tell whether it was
/// done, because of `reason`. What that one has staged stays until the new one is decided, and whoever
/// fails before that leaves all as it was. The answer is what a person should know.
///
/// # Errors
/// `Unknowable` with the reason when the new one does not restore all that the other one would have: the site
/// could become half of one backup and half of another.
pub(super) fn supersede(site: &Site, journal: &mut Journal, reason: String) -> Result<String> {
    let Some(earlier) = Journal::read(&site.backup_dir, &targets(site))? else {
        return Err(Error::Unknowable(reason));
    };
    if !earlier
        .pieces
        .iter()
        .all(|piece| journal.pieces.contains(piece))
    {
        let pieces: Vec<&str> = earlier.pieces.iter().map(|piece| piece.name()).collect();
        return Err(Error::Unknowable(format!(
            "{reason}; a restore of {} takes its place, whatever became of it",
            pieces.join(", ")
        )));
    }
    let warning = format!(
        "an earlier restore of {} had been interrupted: this one takes its place ({reason})",
        earlier.backup
    );
    journal.superseded = Some(Box::new(earlier));
    Ok(warning)
}

/// Moves what is staged into its place. Nothing can stop it any more.
pub(super) fn complete(
    folder: &Path,
    journal: &mut Journal,
    monitor: &Monitor,
) -> Result<Vec<Skipped>> {
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
        }
        Ok(skipped)
    };
    let skipped = moved().map_err(|error| Error::Unfinished {
        backup: backup.clone(),
        source: Box::new(error),
    })?;
    // With what those had staged that this one has taken the place of.
    let mut next = Some(&*journal);
    while let Some(journal) = next {
        remove_staged(journal).map_err(|error| leftover(&backup, error))?;
        next = journal.superseded.as_deref();
    }
    Journal::remove(folder).map_err(|error| leftover(&backup, error))?;
    Ok(skipped)
}

fn leftover(backup: &str, error: Error) -> Error {
    Error::Leftover {
        backup: backup.to_owned(),
        source: Box::new(error),
    }
}

/// Removes what was staged: the site is as it was, with what it had taken the place of.
pub(super) fn take_back(folder: &Path, journal: &Journal) -> Result<()> {
    remove_staged(journal)?;
    match &journal.superseded {
        Some(superseded) => superseded.write(folder),
        None => Journal::remove(folder),
    }
}

fn remove_staged(journal: &Journal) -> Result<()> {
    for Placement { staged, .. } in &journal.placements {
        remove(staged).map_err(|errno| Error::io("cannot remove", staged)(errno.into()))?;
    }
    Ok(())
}
