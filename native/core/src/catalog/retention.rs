//! What goes away when a new backup is there, beside the one whose name it takes.
//!
//! The names rotate, and that is nearly all there is of retention (see [`crate::schedule`]). What is
//! left: names that only Zotonic's own module used (`-1`, `-w0`), which nothing replaces any more, and
//! files that no backup in the list has.

use super::{BackupName, Catalog, Entry, FILE_NAME, Part};
use crate::schedule;
use jiff::ToSpan;
use jiff::civil::date;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How long the copies of four Sundays reach back, and some days.
const FIVE_WEEKS: i64 = 5 * 7 * 24 * 3600;
/// The names that Zotonic's own module gave a Monday, and a Sunday in five.
const FORMER: [&str; 2] = ["1", "w0"];

/// Whether anything may go because of its age: another backup of the list must be of the last five weeks.
/// Then the list is one that is kept, and not a new one beside backups that were copied here, and the clock
/// agrees with it.
pub(super) fn is_in_order(catalog: &Catalog, new: &BackupName, now: i64) -> bool {
    let rotating = rotating_names(new);
    let (entries, _) = catalog.entries();
    entries.iter().any(|entry| {
        entry.name != *new
            && rotating.contains(&entry.name)
            && (now - FIVE_WEEKS..=now).contains(&entry.timestamp)
    })
}

/// Takes backups with former names that are older than five weeks out of the list. Their files.
pub(super) fn expire(catalog: &mut Catalog, new: &BackupName, now: i64) -> Vec<String> {
    let former: Vec<Entry> = former_names(new)
        .into_iter()
        .filter_map(|name| catalog.get(&name))
        .filter(|entry| entry.timestamp < now - FIVE_WEEKS && entry.name != *new)
        .collect();
    for entry in &former {
        catalog.remove(&entry.name);
    }
    former
        .iter()
        .flat_map(|entry| entry.parts().map(|(_, part)| part.file.to_string()))
        .collect()
}

/// Files with names that backups of this site have: of the new backup's name those of the parts that it
/// made, of other names what has not changed for five weeks. Those that a backup has are for the caller
/// to keep. None while a damaged list lies aside: they may be backups that only that list knew.
pub(super) fn orphans(folder: &Path, new: &BackupName, has_files: bool, now: i64) -> Vec<String> {
    if has_damaged_list(folder) {
        return Vec::new();
    }
    let mut orphans = Vec::new();
    for name in rotating_names(new).into_iter().chain(former_names(new)) {
        for part in Part::ALL {
            let is_replaced = name == *new && (part != Part::Files || has_files);
            for encrypted in [false, true] {
                let file = part.file_name(&name, encrypted).to_string();
                let changed = || changed_at(&folder.join(&file));
                if is_replaced || changed().is_some_and(|at| at < now - FIVE_WEEKS) {
                    orphans.push(file);
                }
            }
        }
    }
    orphans
}

/// Every name that a backup of the same site can have.
fn rotating_names(new: &BackupName) -> BTreeSet<BackupName> {
    let Some((site, _)) = new.as_str().rsplit_once('-') else {
        return BTreeSet::new();
    };
    // Four weeks have them all.
    date(2026, 1, 1)
        .series(1.day())
        .take(28)
        .filter_map(|day| BackupName::try_from(schedule::backup_name(site, day)).ok())
        .collect()
}

fn former_names(new: &BackupName) -> Vec<BackupName> {
    let Some((site, _)) = new.as_str().rsplit_once('-') else {
        return Vec::new();
    };
    FORMER
        .iter()
        .filter_map(|slot| BackupName::try_from(format!("{site}-{slot}")).ok())
        .collect()
}

fn has_damaged_list(folder: &Path) -> bool {
    let aside = format!("{FILE_NAME}.damaged-");
    // One that cannot be read may have it.
    folder.read_dir().map_or(true, |entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(&aside))
    })
}

fn changed_at(path: &Path) -> Option<i64> {
    path.symlink_metadata()
        .ok()
        .map(|metadata| metadata.mtime())
}
