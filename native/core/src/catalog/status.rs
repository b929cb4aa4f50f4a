//! What a program that makes backups by itself has to remember beside the list: what failed last, whether
//! somebody was told, and what was restored last.

use super::FILE_NAME;
use crate::durable::{open_file, sync_folder, write_synced};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The longest of it that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// How it goes with the backups of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The last backup that failed; none after one that did not.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Whether somebody was told that backups do not work, and not yet that they do again.
    #[serde(default)]
    pub told: bool,
    /// Other jobs that failed, as a restore, and none of that name that went well since.
    #[serde(default)]
    pub jobs: BTreeMap<String, Failure>,
    /// What a site that follows another one was restored from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<LastRestore>,
}

/// The backup that a site is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRestore {
    /// Its name.
    pub name: String,
    /// When it was made, in seconds since 1970 (Unix time).
    pub timestamp: i64,
    /// When it was restored.
    pub at: i64,
    /// The database that it was restored into, in the words of whoever restored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

/// A job that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, in seconds since 1970 (Unix time).
    pub at: i64,
    /// The kind of error, as [`crate::error::ErrorKind::name`] has it, or another word.
    pub kind: String,
    /// What a person should know.
    pub message: String,
}

impl Status {
    /// Reads it from a backup folder. Where there is none, or an empty file, it begins anew.
    ///
    /// # Errors
    /// `Io`: what cannot be read may be there, and is not to be replaced. `Damaged`: it said something, as the
    /// database that a replica may write into, and nobody knows what.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(name());
        let mut text = Vec::new();
        match open_file(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
            Ok(0) => Ok(Self::default()),
            Ok(_) => serde_json::from_slice(&text).map_err(|error| {
                Error::damaged(
                    &path,
                    format!("{error}. What it said of this site is not known: look at it, then remove it"),
                )
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io("cannot read", &path)(error)),
        }
    }

    /// Writes it to a backup folder: whoever reads it gets this one or the one before, also after the
    /// power went. One process at a time does this, the node that the site runs on.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(name());
        let unfinished = folder.join(format!("{}.new", name()));
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::Internal(format!("the status: {error}")))?;
        write_synced(&unfinished, &text)?;
        std::fs::rename(&unfinished, &path).map_err(Error::io("cannot rename", &unfinished))?;
        sync_folder(folder)
    }
}

/// It begins as the list does, so that the folder is known to be one of ours.
fn name() -> String {
    format!("{FILE_NAME}.status")
}
