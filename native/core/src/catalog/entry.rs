//! One backup in `backup.json`.

use crate::hash::Sha256Hash;
use crate::stream::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// The name of a backup, as `mysite-3` or `mysite-w1`: safe as the start of a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BackupName(String);

impl BackupName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BackupName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if is_plain(&name) {
            Ok(Self(name))
        } else {
            Err("its name cannot be the name of a backup".into())
        }
    }
}

/// Whether a text can be a name in a folder, and nothing else than that.
fn is_plain(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(|c: char| c == '/' || c == '\\' || c.is_control())
}

/// A part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum Part {
    /// The dump of the database.
    Database,
    /// Configuration and security files.
    Config,
    /// Media files.
    Files,
}

impl Part {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 3] = [Self::Database, Self::Config, Self::Files];

    /// The name of its file in the backup `name`.
    #[must_use]
    pub fn file_name(self, name: &BackupName, encrypted: bool) -> PartName {
        let end = if encrypted { ".enc" } else { "" };
        PartName(match self {
            Self::Database => format!("{name}.sql.gz{end}"),
            Self::Config => format!("config-{name}.tar.gz{end}"),
            Self::Files => format!("{name}.tar.gz{end}"),
        })
    }

    /// Its key in `backup.json`.
    fn key(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Config => "config_files",
            Self::Files => "files",
        }
    }

    /// What its file is sealed as, in the backup `name` that was made at `timestamp`.
    #[must_use]
    pub fn context(self, name: &BackupName, timestamp: i64) -> Context {
        Context::of(name.as_str(), self.key(), timestamp)
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Database => ".sql.gz",
            Self::Config | Self::Files => ".tar.gz",
        }
    }
}

impl TryFrom<String> for Part {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "database" => Ok(Self::Database),
            "config" => Ok(Self::Config),
            "files" => Ok(Self::Files),
            _ => Err("the parts of a backup are database, config and files"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Config => "configuration",
            Self::Files => "files",
        })
    }
}

/// The name of the file of a part. It stays in the backup folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartName(String);

impl PartName {
    fn new(part: Part, name: String, backup: &BackupName) -> Result<Self, String> {
        let unencrypted = name.strip_suffix(".enc").unwrap_or(&name);
        // Media files may be downloaded: secrets that are listed as such must not.
        let is_another = part != Part::Config
            && name.starts_with("config-")
            && unencrypted != part.file_name(backup, false).0;
        if is_plain(&name) && unencrypted.ends_with(part.suffix()) && !is_another {
            Ok(Self(name))
        } else {
            Err(format!(
                "\"{}\" cannot be the file of its {part}",
                name.escape_debug()
            ))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its name says that the file is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.ends_with(".enc")
    }

    /// The name that the same part has when it is encrypted, or when it is not: the other of the two.
    pub(super) fn twin(&self) -> Self {
        Self(match self.0.strip_suffix(".enc") {
            Some(unencrypted) => unencrypted.to_owned(),
            None => format!("{}.enc", self.0),
        })
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The file of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredPart {
    /// Its name in the backup folder.
    pub file: PartName,
    /// Its hash. See [`Entry::is_ours`] for what of.
    pub sha256: Option<Sha256Hash>,
    /// Its length in bytes, when the list says.
    pub size: Option<u64>,
}

/// What a proof of a backup came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// When it was made, in seconds since 1970 (Unix time).
    pub at: i64,
    /// Whether every part was proven.
    pub ok: bool,
    /// What is wrong, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: BackupName,
    /// When it was begun, in seconds since 1970 (Unix time).
    pub timestamp: i64,
    /// The dump of the database.
    pub database: Option<StoredPart>,
    /// Configuration and security files.
    pub config: Option<StoredPart>,
    /// Media files.
    pub files: Option<StoredPart>,
    /// When the media files were backed up, where that was another time: a backup of only the
    /// database keeps the media files that its name had.
    pub files_timestamp: Option<i64>,
    /// Whether the backup was made with encryption.
    pub is_encrypted: bool,
    /// Whether all of it is in the file store.
    pub is_filestore_uploaded: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The program that made it; `None` is Zotonic's own module.
    pub writer: Option<String>,
    /// What its last proof came to, when somebody asked to have that kept.
    pub verified: Option<Verification>,
    /// Fields of others.
    #[serde(skip)]
    pub(super) extra: Map<String, Value>,
}

impl Entry {
    /// A backup that this module made now, of the parts database, configuration and files.
    pub(crate) fn new(
        name: BackupName,
        timestamp: i64,
        [database, config, files]: [Option<StoredPart>; 3],
        files_timestamp: Option<i64>,
        is_encrypted: bool,
        duration: Duration,
    ) -> Self {
        Self {
            name,
            timestamp,
            database,
            config,
            files,
            files_timestamp,
            is_encrypted,
            is_filestore_uploaded: false,
            duration_ms: u64::try_from(duration.as_millis()).ok(),
            writer: Some(concat!("zbackup ", env!("CARGO_PKG_VERSION")).into()),
            verified: None,
            extra: Map::new(),
        }
    }

    /// Whether this module made it. Then a hash is of the file as it is stored. Zotonic's own module
    /// hashes before it encrypts.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.writer.is_some()
    }

    /// Whether a part was made for an earlier backup of the name: a backup of only the database keeps the
    /// media files that were there, whoever made them.
    #[must_use]
    pub fn is_kept(&self, part: Part) -> bool {
        part == Part::Files && self.files_timestamp.is_some()
    }

    /// When a part was made: media files can be older than the rest.
    #[must_use]
    pub fn made_at(&self, part: Part) -> i64 {
        match part {
            Part::Files => self.files_timestamp.unwrap_or(self.timestamp),
            Part::Database | Part::Config => self.timestamp,
        }
    }

    /// When the oldest of its parts was made: everything in it is from then or later.
    #[must_use]
    pub fn whole_since(&self) -> i64 {
        match &self.files {
            Some(_) => self.timestamp.min(self.made_at(Part::Files)),
            None => self.timestamp,
        }
    }

    /// The file of a part.
    #[must_use]
    pub fn part(&self, part: Part) -> Option<&StoredPart> {
        match part {
            Part::Database => self.database.as_ref(),
            Part::Config => self.config.as_ref(),
            Part::Files => self.files.as_ref(),
        }
    }

    /// The parts that it has.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &StoredPart)> {
        Part::ALL
            .into_iter()
            .filter_map(|part| Some((part, self.part(part)?)))
    }
}

/// An entry as `backup.json` has it: the fields of Zotonic's own module, then ours.
#[derive(Serialize, Deserialize)]
pub(super) struct EntryJson {
    timestamp: i64,
    #[serde(default)]
    database: Option<String>,
    #[serde(default)]
    database_hash: Option<Sha256Hash>,
    #[serde(default)]
    config_files: Option<String>,
    #[serde(default)]
    config_files_hash: Option<Sha256Hash>,
    #[serde(default)]
    files: Option<String>,
    #[serde(default)]
    files_hash: Option<Sha256Hash>,
    #[serde(default)]
    is_filestore_uploaded: bool,
    #[serde(default)]
    is_encrypted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_files_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files_timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verified: Option<Verification>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl EntryJson {
    pub(super) fn into_entry(self, name: BackupName) -> Result<Entry, String> {
        // Years that a calendar can show; a number beyond that is no time.
        let is_time = |seconds: &i64| (0..=253_402_300_799).contains(seconds);
        if !is_time(&self.timestamp) || !self.files_timestamp.iter().all(is_time) {
            return Err("its timestamp is not a time".into());
        }
        let part = |part, file: Option<String>, sha256, size| {
            file.filter(|file| !file.is_empty())
                .map(|file| {
                    Ok::<_, String>(StoredPart {
                        file: PartName::new(part, file, &name)?,
                        sha256,
                        size,
                    })
                })
                .transpose()
        };
        Ok(Entry {
            name: name.clone(),
            timestamp: self.timestamp,
            database: part(
                Part::Database,
                self.database,
                self.database_hash,
                self.database_size,
            )?,
            config: part(
                Part::Config,
                self.config_files,
                self.config_files_hash,
                self.config_files_size,
            )?,
            files: part(Part::Files, self.files, self.files_hash, self.files_size)?,
            files_timestamp: self.files_timestamp,
            is_encrypted: self.is_encrypted,
            is_filestore_uploaded: self.is_filestore_uploaded,
            duration_ms: self.duration_ms,
            writer: self.writer,
            verified: self.verified,
            extra: self.extra,
        })
    }
}

impl From<Entry> for EntryJson {
    fn from(entry: Entry) -> Self {
        let fields = |part: Option<StoredPart>| match part {
            Some(part) => (Some(part.file.0), part.sha256, part.size),
            None => (None, None, None),
        };
        let (database, database_hash, database_size) = fields(entry.database);
        let (config_files, config_files_hash, config_files_size) = fields(entry.config);
        let (files, files_hash, files_size) = fields(entry.files);
        Self {
            timestamp: entry.timestamp,
            database,
            database_hash,
            config_files,
            config_files_hash,
            files,
            files_hash,
            is_filestore_uploaded: entry.is_filestore_uploaded,
            is_encrypted: entry.is_encrypted,
            database_size,
            config_files_size,
            files_size,
            files_timestamp: entry.files_timestamp,
            duration_ms: entry.duration_ms,
            writer: entry.writer,
            verified: entry.verified,
            extra: entry.extra,
        }
    }
}
