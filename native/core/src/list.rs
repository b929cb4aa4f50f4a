//! The backups of a folder, and what of them is really there.

use crate::catalog::{Catalog, Entry, FILE_NAME, Part, PartName, Refused, StoredPart};
use crate::error::Result;
use serde::Serialize;
use std::path::Path;

/// The backups of a folder.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// Newest first.
    pub backups: Vec<Listed>,
    /// Entries of the list that cannot be used.
    pub refused: Vec<Refused>,
}

/// A backup, and what of it is on the disk.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The backup as the list has it.
    #[serde(flatten)]
    pub entry: Entry,
    /// Whether its database dump is there, of the length that it should have.
    pub is_database_present: bool,
    /// The same of its configuration.
    pub is_config_files_present: bool,
    /// The same of its media files.
    pub is_files_present: bool,
    /// Bytes on the disk, all parts.
    pub size: u64,
    /// Files that should be there and are not.
    pub missing: Vec<PartName>,
}

/// Lists the backups of a folder.
///
/// # Errors
/// `Io`; `Damaged` when the list as a whole cannot be read.
pub fn run(folder: &Path) -> Result<Listing> {
    let (entries, refused) = Catalog::load(folder)?.entries();
    let backups = entries
        .into_iter()
        .map(|entry| {
            listed(entry, |part| {
                let metadata = folder.join(part.file.as_str()).metadata().ok()?;
                metadata.is_file().then_some(metadata.len())
            })
        })
        .collect();
    Ok(Listing { backups, refused })
}

/// What a folder has in the place of backups: files that look like those of one, without the list that tells
/// what they are.
#[must_use]
pub fn unlisted(folder: &Path) -> Option<String> {
    let is_part = |name: &str| {
        let unencrypted = name.strip_suffix(".enc").unwrap_or(name);
        unencrypted.ends_with(".sql.gz") || unencrypted.ends_with(".tar.gz")
    };
    if folder.join(FILE_NAME).symlink_metadata().is_ok() {
        return None;
    }
    let files = folder.read_dir().ok()?.flatten();
    let count = files
        .filter(|file| file.file_name().to_str().is_some_and(is_part))
        .count();
    let what = match count {
        0 => return None,
        1 => "1 file there looks like a part".into(),
        count => format!("{count} files there look like parts"),
    };
    Some(format!(
        "there is no {FILE_NAME} in {}, which is the list of backups, and {what} of a backup: copy {FILE_NAME} \
         too, or open them one by one with \"zbackup decrypt FILE\" and gunzip",
        folder.display()
    ))
}

/// A backup whose files are as long as `found` says, those that are there.
pub(crate) fn listed(entry: Entry, found: impl Fn(&StoredPart) -> Option<u64>) -> Listed {
    let length = |part: &StoredPart| {
        found(part).filter(|length| part.size.is_none_or(|size| size == *length))
    };
    let lengths: Vec<(Part, PartName, Option<u64>)> = entry
        .parts()
        .map(|(part, stored)| (part, stored.file.clone(), length(stored)))
        .collect();
    let is_present = |part| {
        lengths
            .iter()
            .any(|(of, _, length)| *of == part && length.is_some())
    };
    Listed {
        is_database_present: is_present(Part::Database),
        is_config_files_present: is_present(Part::Config),
        is_files_present: is_present(Part::Files),
        // The lengths may be what a store says.
        size: lengths
            .iter()
            .filter_map(|(_, _, length)| *length)
            .fold(0, u64::saturating_add),
        missing: lengths
            .iter()
            .filter(|(_, _, length)| length.is_none())
            .map(|(_, file, _)| file.clone())
            .collect(),
        entry,
    }
}
