//! Results, for a person or for a program.

use indicatif::HumanBytes;
use serde::Serialize;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zbackup_core::archive::Skipped;
use zbackup_core::backup::Report;
use zbackup_core::error::{ErrorKind, Result, is_harmful};
use zbackup_core::list::{Listed, Listing};
use zbackup_core::offsite::{Problem, Pulled, Pushed};
use zbackup_core::restore::{self, Piece, Plan};
use zbackup_core::revisions::{Pruned, Rule};
use zbackup_core::site::{Site, TimeZone};
use zbackup_core::stream::Encryption;
use zbackup_core::time::local;
use zbackup_core::verify::{Verified, VerifiedPart};

/// How many of many similar lines a person wants to see.
const MOST_LINES: usize = 20;

pub(crate) fn json(value: &impl Serialize) -> String {
    match serde_json::to_string_pretty(value) {
        Ok(text) => visible(&text) + "\n",
        // What is printed here is made of maps with text for keys: it always can be.
        Err(error) => format!("{error}\n"),
    }
}

/// The same JSON, also harmless on a terminal: what JSON itself does not escape is only in texts.
fn visible(json: &str) -> String {
    let mut visible = String::with_capacity(json.len());
    for c in json.chars() {
        if is_harmful(c) {
            visible += &format!("\\u{:04x}", u32::from(c));
        } else {
            visible.push(c);
        }
    }
    visible
}

/// What went wrong, for a program.
pub(crate) fn failure(kind: ErrorKind, message: &str) -> String {
    json(&serde_json::json!({ "error": kind, "message": message }))
}

pub(crate) fn report(report: &Report) -> String {
    let backup = &report.backup;
    let time = Duration::from_millis(backup.duration_ms.unwrap_or(0)).as_secs_f64();
    let encrypted = if backup.is_encrypted {
        ", encrypted,"
    } else {
        ""
    };
    let mut out = format!("backup {} made{encrypted} in {time:.1} s\n", backup.name);
    for made in &report.made {
        out += &format!(
            "  {:<14} {:<40} {:>12} from {}\n",
            made.part.to_string(),
            made.file.to_string(),
            HumanBytes(made.size).to_string(),
            HumanBytes(made.source_bytes)
        );
    }
    out
}

/// What a person should look at, though all is done.
pub(crate) fn notes(warnings: &[String], skipped: &[Skipped]) -> String {
    let mut out = String::new();
    for warning in warnings {
        out += &format!("zbackup: warning: {warning}\n");
    }
    for skipped in skipped.iter().take(MOST_LINES) {
        out += &format!(
            "zbackup: warning: not the same on the disk and in the backup: {:?}: {}\n",
            skipped.path, skipped.reason
        );
    }
    if let Some(more @ 1..) = skipped.len().checked_sub(MOST_LINES) {
        out += &format!("zbackup: warning: … and {more} more (all are in the output of --json)\n");
    }
    out
}

/// What a restore would do, for a person to agree to.
pub(crate) fn plan(plan: &Plan, site: &Site) -> Result<String> {
    let backup = &plan.backup;
    let zone = site.time_zone()?;
    let made = local(backup.timestamp, &zone);
    let mut out = format!("restoring {} of {made}, into this site:\n", backup.name);
    for piece in &plan.pieces {
        out += &match (piece, &site.database) {
            (Piece::Database, Some(database)) => format!(
                "  the schema {} of the database {} at {}:{} is replaced\n",
                database.schema, database.dbname, database.host, database.port
            ),
            (Piece::Database, None) => String::new(),
            (Piece::Files, _) => {
                let media = site.media_dir.as_deref().unwrap_or(Path::new(""));
                let older = backup.files_timestamp.map_or_else(String::new, |time| {
                    format!(" (the files are of {})", local(time, &zone))
                });
                format!(
                    "  media files in {} are replaced{older}; others stay\n",
                    media.display()
                )
            }
            (Piece::Config, _) => {
                let parent =
                    |file: &PathBuf| file.parent().map(|folder| folder.display().to_string());
                let folders: BTreeSet<String> =
                    site.config_files.iter().filter_map(parent).collect();
                format!(
                    "  configuration files in {} are replaced; others stay\n",
                    Vec::from_iter(folders).join(", ")
                )
            }
            (Piece::Security, _) => {
                let security = site.security_dir.as_deref().unwrap_or(Path::new(""));
                format!(
                    "  security files in {} are replaced; others stay\n",
                    security.display()
                )
            }
        };
    }
    if is_unproven(plan) {
        out += "  nothing proves who made this backup (it is not encrypted): while it is loaded, the SQL in it can do \
                whatever the database's user can\n";
    }
    Ok(out)
}

/// True if the backup, as its catalog says, has a dump that somebody may have changed.
pub(crate) fn is_unproven(plan: &Plan) -> bool {
    plan.pieces.contains(&Piece::Database) && !plan.backup.is_encrypted
}

pub(crate) fn restored(report: &restore::Report) -> String {
    let mut out = format!("{} is restored\n", report.backup.name);
    for restored in &report.restored {
        let what = match restored.piece {
            Piece::Database => format!(
                "{} rows in {} tables",
                restored.entries,
                report.tables.len()
            ),
            _ => format!("{} files and folders", restored.entries),
        };
        out += &format!(
            "  {:<14} {what}, {}\n",
            restored.piece.name(),
            HumanBytes(restored.bytes)
        );
    }
    out
}

/// `unlisted` is what there is where nothing is listed.
pub(crate) fn listing(
    listing: &Listing,
    place: &str,
    unlisted: Option<String>,
    zone: &TimeZone,
) -> String {
    if listing.backups.is_empty() && listing.refused.is_empty() {
        let words = unlisted.map_or_else(String::new, |words| format!(": {words}"));
        return format!("no backups in {place}{words}\n");
    }
    let mut out = format!(
        "{:<24} {:<25} {:>12}  {:<9} parts\n",
        "name", "made", "size", "encrypted"
    );
    for backup in &listing.backups {
        let encrypted = if backup.entry.is_encrypted {
            "yes"
        } else {
            "no"
        };
        out += &format!(
            "{:<24} {:<25} {:>12}  {encrypted:<9} {}\n",
            backup.entry.name.to_string(),
            local(backup.entry.timestamp, zone),
            HumanBytes(backup.size).to_string(),
            parts(backup, zone)
        );
        for file in &backup.missing {
            out += &format!("  missing, or not of the length it should have: {file}\n");
        }
    }
    for refused in &listing.refused {
        out += &format!(
            "{:<24} cannot be used: {}\n",
            refused.name.escape_debug().to_string(),
            refused.reason
        );
    }
    out
}

fn parts(backup: &Listed, zone: &TimeZone) -> String {
    let mut parts: Vec<String> = Vec::new();
    if backup.is_database_present {
        parts.push("database".into());
    }
    if backup.is_config_files_present {
        parts.push("configuration".into());
    }
    if backup.is_files_present {
        parts.push(match backup.entry.files_timestamp {
            Some(time) => format!("files (of {})", local(time, zone)),
            None => "files".into(),
        });
    }
    parts.join(", ")
}

pub(crate) fn pushed(pushed: &Pushed, zone: &TimeZone) -> String {
    let mut out = String::new();
    for backup in &pushed.uploaded {
        out += &format!(
            "{:<24} {:<25} {:>12}  uploaded\n",
            backup.name.to_string(),
            local(backup.timestamp, zone),
            HumanBytes(backup.bytes).to_string()
        );
    }
    for file in &pushed.removed {
        out += &format!("{file} was replaced: removed there\n");
    }
    let count = pushed.already.len();
    match (pushed.uploaded.len(), count) {
        (0, 0) => out += &format!("nothing to upload to {}\n", pushed.store),
        (_, 0) => out += &format!("to {}\n", pushed.store),
        _ => out += &format!("{count} there already, in {}\n", pushed.store),
    }
    out
}

pub(crate) fn pulled(pulled: &Pulled, zone: &TimeZone) -> String {
    let mut out = String::new();
    for backup in &pulled.pulled {
        let proven = if backup.is_proven {
            "downloaded, as the list says"
        } else {
            "downloaded, NOT proven"
        };
        out += &format!(
            "{:<24} {:<25} {:>12}  {proven}\n",
            backup.name.to_string(),
            local(backup.timestamp, zone),
            HumanBytes(backup.bytes).to_string()
        );
        for note in &backup.notes {
            out += &format!("  {note}\n");
        }
    }
    if !pulled.already.is_empty() {
        out += &format!("{} here already\n", pulled.already.len());
    }
    match &pulled.newest {
        Some(newest) => {
            out += &format!(
                "the newest backup of the store that is here is {} of {}\n",
                newest.name,
                local(newest.timestamp, zone)
            );
        }
        None => out += &format!("there is no complete backup, here or in {}\n", pulled.store),
    }
    out
}

/// What a person should look at after copying backups.
pub(crate) fn offsite_notes(warnings: &[String], problems: &[Problem]) -> String {
    let mut out = String::new();
    for warning in warnings {
        out += &format!("zbackup: warning: {warning}\n");
    }
    for problem in problems {
        out += &format!(
            "zbackup: not copied: {}: {}\n",
            problem.name.escape_debug(),
            problem.reason
        );
    }
    out
}

/// `unlisted` is what there is where nothing is listed.
pub(crate) fn verified(all: &[Verified], unlisted: Option<String>) -> String {
    if all.is_empty() {
        let words = unlisted.unwrap_or_else(|| "there are no backups".into());
        return format!("nothing was proven: {words}\n");
    }
    let mut out = String::new();
    for backup in all {
        let verdict = if backup.ok { "proven" } else { "NOT proven" };
        out += &format!("{}: {verdict}\n", backup.name.escape_debug());
        for part in &backup.parts {
            out += &format!(
                "  {:<14} {:<40} {}\n",
                part.part.to_string(),
                part.file.to_string(),
                found(part)
            );
        }
        if let Some(problem) = &backup.problem {
            out += &format!("  {problem}\n");
        }
    }
    out
}

fn found(part: &VerifiedPart) -> String {
    if let Some(problem) = &part.problem {
        return problem.clone();
    }
    let inside = part.contents.map_or_else(String::new, |contents| {
        format!("{} unpacked", HumanBytes(contents.bytes))
    });
    let how = match part.encryption {
        Some(Encryption::Z2) => "hash, authentication, gzip and structure are right",
        _ => "hash, gzip and structure are right",
    };
    let note = part
        .note
        .map_or_else(String::new, |note| format!("\n{:17}note: {note}", ""));
    let rehearsed = part.rehearsed.as_ref().map_or_else(String::new, |tables| {
        let rows: u64 = tables.iter().map(|table| table.rows).sum();
        format!(
            "\n{:17}its restore was rehearsed: {rows} rows in {} tables, rolled back",
            "",
            tables.len()
        )
    });
    format!("{how}, {inside}{rehearsed}{note}")
}

pub(crate) fn pruned(pruned: &Pruned) -> String {
    let done = if pruned.dry_run {
        "would be deleted"
    } else {
        "deleted"
    };
    let mut out = String::new();
    for rule in &pruned.rules {
        let what = match rule.rule {
            Rule::Revisions => "revisions",
            Rule::UserRevisions => "revisions of users",
            Rule::DeletedUsers => "revisions of deleted users",
            Rule::MediumLog => "deleted media",
            Rule::EdgeLog => "connections",
        };
        out += &format!(
            "{what:<27} older than {} UTC: {} {done}\n",
            local(rule.before, &TimeZone::UTC),
            rule.deleted
        );
        if let Some(problem) = &rule.problem {
            out += &format!("  and then it failed: {problem}\n");
        }
    }
    out
}

/// Whether others than its owner can read a file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn json_says_the_same_and_a_terminal_obeys_nothing_of_it() {
        let said = "nä\n\x1b[2J\x7f\u{9b}2J\u{202e}\u{2069}";
        let text = json(&[said]);
        assert!(
            text.contains("nä") && !text.contains(is_harmful),
            "{text:?}"
        );
        let read: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, [said]);
    }
}
