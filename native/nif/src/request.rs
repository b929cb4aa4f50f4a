//! Requests, from terms. Files that a request names are read later, by the job.

use crate::fields::{Fields, Value, Wrong};
use rustler::Term;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use zbackup_core::backup::Options;
use zbackup_core::error::{Error, Result};
use zbackup_core::offsite::Offsite;
use zbackup_core::secret::Password;
use zbackup_core::site::{Encryption, Site};

/// A request for a backup.
pub(crate) struct Request {
    pub(crate) source: Source,
    pub(crate) options: Options,
}

/// Where it says what a site is.
pub(crate) enum Source {
    /// In the request.
    Given(Box<Site>),
    /// In a `site.toml`.
    File(PathBuf),
}

/// A request for what is in a backup folder.
pub(crate) enum StoreRequest {
    Given {
        backup_dir: PathBuf,
        encryption: Option<Encryption>,
    },
    File(PathBuf),
}

/// A request to encrypt or decrypt one file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRequest {
    pub(crate) input: PathBuf,
    #[serde(default)]
    pub(crate) output: Option<PathBuf>,
    pub(crate) password: Password,
    #[serde(default)]
    pub(crate) force: bool,
}

/// What a request says beside of what a site is.
#[derive(Deserialize)]
struct Choices {
    #[serde(default)]
    database_only: bool,
    #[serde(default)]
    day: Option<jiff::civil::Date>,
}

#[derive(Deserialize)]
struct Config {
    config: PathBuf,
}

/// Enough of a site to look at its backups.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    backup_dir: PathBuf,
    #[serde(default)]
    encryption: Option<Encryption>,
    /// What other requests need of the same map.
    #[serde(default, rename = "offsite")]
    _offsite: Option<Offsite>,
}

impl Request {
    pub(crate) fn decode(term: Term<'_>) -> Result<Self> {
        let (choices, site) = split(term)?;
        let source = match config(&site)? {
            Some(path) => Source::File(path),
            None => Source::Given(Box::new(site.read().map_err(wrong)?)),
        };
        let options = Options {
            database_only: choices.database_only,
            day: choices.day,
        };
        Ok(Self { source, options })
    }
}

impl Source {
    pub(crate) fn site(self) -> Result<Site> {
        match self {
            Self::Given(site) => Ok(*site),
            Self::File(path) => Site::from_file(&path),
        }
    }
}

impl StoreRequest {
    pub(crate) fn decode(term: Term<'_>) -> Result<Self> {
        // The same request can be used for a backup: all of it must be right.
        let (_, fields) = split(term)?;
        if let Some(path) = config(&fields)? {
            return Ok(Self::File(path));
        }
        let Store {
            backup_dir,
            encryption,
            ..
        } = if fields.has("site") {
            let Site {
                backup_dir,
                encryption,
                ..
            } = fields.read().map_err(wrong)?;
            Store {
                backup_dir,
                encryption,
                _offsite: None,
            }
        } else {
            fields.read().map_err(wrong)?
        };
        Ok(Self::Given {
            backup_dir,
            encryption,
        })
    }

    /// The backup folder and the password. Reads files.
    pub(crate) fn open(self) -> Result<(PathBuf, Option<Password>)> {
        match self {
            Self::File(path) => {
                let site = Site::from_file(&path)?;
                let password = site.password()?;
                Ok((site.backup_dir, password))
            }
            Self::Given {
                backup_dir,
                encryption,
            } => {
                let password = match encryption {
                    None => None,
                    Some(Encryption::Password(password)) => Some(password),
                    Some(Encryption::PasswordFile(path)) => Some(Password::from_file(&path)?),
                };
                Ok((backup_dir, password))
            }
        }
    }

    /// The backup folder. Reads a file.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        match self {
            Self::File(path) => Ok(Site::from_file(&path)?.backup_dir),
            Self::Given { backup_dir, .. } => Ok(backup_dir),
        }
    }
}

/// The options that go with a request.
pub(crate) fn options<T: DeserializeOwned>(term: Term<'_>) -> Result<T> {
    fields(term)?.read().map_err(wrong)
}

impl FileRequest {
    pub(crate) fn decode(term: Term<'_>) -> Result<Self> {
        options(term)
    }
}

/// The names of backups.
pub(crate) fn names(term: Term<'_>) -> Result<Vec<String>> {
    Vec::deserialize(Value::new(term)).map_err(|error| wrong(error.within("names")))
}

/// What a request says of what a site is. The same request can be used for a backup: all of it must be
/// right.
pub(crate) fn of_site(term: Term<'_>) -> Result<Fields<'_>> {
    split(term).map(|(_, site)| site)
}

fn split(term: Term<'_>) -> Result<(Choices, Fields<'_>)> {
    let (choices, site) = fields(term)?.partition(&["database_only", "day"]);
    Ok((choices.read().map_err(wrong)?, site))
}

/// The path of a `site.toml`, when the request consists of one.
pub(crate) fn config(fields: &Fields<'_>) -> Result<Option<PathBuf>> {
    if !fields.has("config") {
        return Ok(None);
    }
    if let Some(other) = fields.names().find(|name| *name != "config") {
        return Err(Error::Usage(format!(
            "the request is not right: config names a file that says what the site is, and {other} says \
             it too: give the one or the other"
        )));
    }
    let Config { config } = fields.clone().read().map_err(wrong)?;
    Ok(Some(config))
}

fn fields(term: Term<'_>) -> Result<Fields<'_>> {
    Fields::of(term).map_err(wrong)
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
pub(crate) fn wrong(wrong: Wrong) -> Error {
    Error::Usage(format!("the request is not right: {wrong}"))
}
