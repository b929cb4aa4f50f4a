//! Results, for a person or for a program.

use indicatif::{HumanBytes, HumanDuration};
use serde::Serialize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use zbackup_core::backup::Report;
use zbackup_core::list::{Listed, Listing};
use zbackup_core::stream::Encryption;
use zbackup_core::time::local;
use zbackup_core::verify::{Verified, VerifiedPart};

/// How many of many similar lines a person wants to see.
const MOST_LINES: usize = 20;

pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("zbackup: cannot print the result: {error}"),
    }
}

pub(crate) fn report(report: &Report, is_encrypted: bool) {
    let backup = &report.backup;
    println!(
        "backup {} made{} in {}",
        backup.name,
        if is_encrypted { ", encrypted," } else { "" },
        HumanDuration(Duration::from_millis(backup.duration_ms.unwrap_or(0)))
    );
    for made in &report.made {
        println!(
            "  {:<14} {:<40} {:>12} from {}",
            made.part.to_string(),
            made.file.to_string(),
            HumanBytes(made.size).to_string(),
            HumanBytes(made.source_bytes)
        );
    }
    for warning in &report.warnings {
        eprintln!("zbackup: warning: {warning}");
    }
    for skipped in report.skipped.iter().take(MOST_LINES) {
        eprintln!(
            "zbackup: not as on the disk: {:?}: {}",
            skipped.path, skipped.reason
        );
    }
    if report.skipped.len() > MOST_LINES {
        eprintln!("zbackup: … and {} more", report.skipped.len() - MOST_LINES);
    }
}

pub(crate) fn listing(listing: &Listing, folder: &Path) {
    if listing.backups.is_empty() && listing.refused.is_empty() {
        println!("no backups in {}", folder.display());
    } else {
        println!(
            "{:<24} {:<25} {:>12}  {:<9} parts",
            "name", "made", "size", "encrypted"
        );
    }
    for backup in &listing.backups {
        println!(
            "{:<24} {:<25} {:>12}  {:<9} {}",
            backup.entry.name.to_string(),
            local(backup.entry.timestamp),
            HumanBytes(backup.size).to_string(),
            if backup.entry.is_encrypted {
                "yes"
            } else {
                "no"
            },
            parts(backup)
        );
        for file in &backup.missing {
            println!("  missing, or not of the length it should have: {file}");
        }
    }
    for refused in &listing.refused {
        println!(
            "{:<24} cannot be used: {}",
            refused.name.escape_debug(),
            refused.reason
        );
    }
}

fn parts(backup: &Listed) -> String {
    let mut parts: Vec<String> = Vec::new();
    if backup.is_database_present {
        parts.push("database".into());
    }
    if backup.is_config_files_present {
        parts.push("configuration".into());
    }
    if backup.is_files_present {
        parts.push(match backup.entry.files_timestamp {
            Some(time) => format!("files (of {})", local(time)),
            None => "files".into(),
        });
    }
    parts.join(", ")
}

pub(crate) fn verified(all: &[Verified]) {
    if all.is_empty() {
        println!("there are no backups to verify");
    }
    for backup in all {
        let verdict = if backup.ok { "proven" } else { "NOT proven" };
        println!("{}: {verdict}", backup.name.escape_debug());
        for part in &backup.parts {
            println!(
                "  {:<14} {:<40} {}",
                part.part.to_string(),
                part.file.to_string(),
                found(part)
            );
        }
        if let Some(problem) = &backup.problem {
            println!("  {problem}");
        }
    }
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
        .map_or_else(String::new, |note| format!(" (note: {note})"));
    format!("{how}, {inside}{note}")
}

/// Whether others than its owner can read a file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}
