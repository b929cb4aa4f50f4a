//! Whether it is time for the nightly backup, from the backups that are there.

use crate::error::{Error, ErrorKind, Result};
use crate::list::{self, Listed};
use crate::schedule::{self, Due, TimeOfDay};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::path::Path;

/// How it stands with the nightly backups of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nightly {
    /// The backup to make now.
    pub due: Option<Due>,
    /// The one after that.
    pub next: Due,
    /// When the newest good backup was made, in seconds since 1970 (Unix time).
    pub last_good: Option<i64>,
}

/// Looks whether the last night has a good backup, and when the next one is due. `with_files` says
/// whether one without media files is no good.
///
/// A backup is good when all of its files are there and no proof of it failed. Any counts that was begun
/// after the night's moment: also one that somebody made by hand. Without a list, or with one that cannot
/// be read, there is none: the next backup makes a new list.
///
/// # Errors
/// `Io` when the folder cannot be read.
pub fn run(
    folder: &Path,
    with_files: bool,
    at: TimeOfDay,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Nightly> {
    let backups = match list::run(folder) {
        Ok(listing) => listing.backups,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let good: Vec<Timestamp> = backups
        .iter()
        .filter(|backup| is_good(backup, with_files))
        .filter_map(|backup| {
            let since = if with_files {
                backup.entry.whole_since()
            } else {
                backup.entry.timestamp
            };
            Timestamp::from_second(since).ok()
        })
        .collect();
    Ok(Nightly {
        due: schedule::due(now, good.iter().copied(), at, zone),
        next: schedule::next_due(now, at, zone),
        last_good: good
            .into_iter()
            .filter(|began| *began <= now)
            .max()
            .map(Timestamp::as_second),
    })
}

fn is_good(backup: &Listed, with_files: bool) -> bool {
    backup.missing.is_empty()
        && backup.entry.parts().next().is_some()
        && (backup.is_files_present || !with_files)
        && backup.entry.verified.as_ref().is_none_or(|proof| proof.ok)
}

/// Reads a time of day such as `03:00`, as a person writes it in a configuration.
///
/// # Errors
/// `Usage`, with what is wrong.
pub fn time_of_day(text: &str) -> Result<TimeOfDay> {
    text.parse()
        .map_err(|error: schedule::TimeOfDayError| Error::Usage(error.to_string()))
}
