//! Requests, from terms. Files that a request names are read later, by the job.

use crate::fields::{Fields, Value, Wrong};
use rustler::Term;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use zbackup_core::backup::Options;
use zbackup_core::catalog::Status;
use zbackup_core::error::{Error, Result};
use zbackup_core::offsite::Offsite;
use zbackup_core::restore::Piece;
use zbackup_core::revisions::{self, Retention};
use zbackup_core::secret::Password;
use zbackup_core::site::{Database, Encryption, Site};

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
    Given(Box<Store>),
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

/// A request to prune the revisions of a site.
pub(crate) struct PruneRequest {
    from: Revisions,
    dry_run: bool,
    now: Option<i64>,
}

/// Where the revisions are, and how long they are kept.
enum Revisions {
    Given(Database, Retention),
    File(PathBuf),
}

/// What a request to prune says beside of that.
#[derive(Deserialize)]
struct PruneChoices {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    now: Option<i64>,
}

/// Enough of a site to prune its revisions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevisionFields {
    database: Database,
    #[serde(default)]
    revisions: Retention,
}

/// What a request says beside of what a site is.
#[derive(Deserialize)]
struct Choices {
    #[serde(default)]
    database_only: bool,
    #[serde(default)]
    day: Option<jiff::civil::Date>,
    #[serde(default)]
    prove: bool,
}

/// What is said of a restore beside of what a site is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreOptions {
    #[serde(default)]
    pub(crate) only: Vec<Piece>,
    /// When the backup was made that is meant.
    #[serde(default)]
    pub(crate) timestamp: Option<i64>,
    /// Load a dump of which nothing proves who made it.
    #[serde(default)]
    pub(crate) trust_dump: bool,
}

/// What is said of a proof.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyOptions {
    #[serde(default)]
    pub(crate) drill: bool,
    /// Load dumps of which nothing proves who made them, too.
    #[serde(default)]
    pub(crate) trust_dump: bool,
    /// Whether to keep in the list what it came to.
    #[serde(default)]
    pub(crate) record: bool,
}

/// When nightly backups of a folder are due.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DueRequest {
    pub(crate) backup_dir: PathBuf,
    /// As `03:00`.
    #[serde(default)]
    pub(crate) at: Option<String>,
    #[serde(default)]
    pub(crate) timezone: Option<String>,
    /// Whether a backup without media files is no good.
    #[serde(default)]
    pub(crate) with_files: bool,
}

#[derive(Deserialize)]
struct Config {
    config: PathBuf,
}

/// Enough of a site to look at its backups.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    backup_dir: PathBuf,
    #[serde(default)]
    encryption: Option<Encryption>,
    /// What other requests need of the same map.
    #[serde(default, rename = "offsite")]
    _offsite: Option<Offsite>,
    #[serde(skip)]
    database: Option<Database>,
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
            prove: choices.prove,
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
        let store = if fields.has("site") {
            fields.read::<Site>().map_err(wrong)?.into()
        } else {
            fields.read().map_err(wrong)?
        };
        Ok(Self::Given(Box::new(store)))
    }

    /// The backup folder, the password and the database. Reads files.
    pub(crate) fn open(self) -> Result<(PathBuf, Option<Password>, Option<Database>)> {
        let store = self.store()?;
        let password = match store.encryption {
            None => None,
            Some(Encryption::Password(password)) => Some(password),
            Some(Encryption::PasswordFile(path)) => Some(Password::from_file(&path)?),
        };
        Ok((store.backup_dir, password, store.database))
    }

    /// The backup folder. Reads a file.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        Ok(self.store()?.backup_dir)
    }

    fn store(self) -> Result<Store> {
        match self {
            Self::File(path) => Ok(Site::from_file(&path)?.into()),
            Self::Given(store) => Ok(*store),
        }
    }
}

impl PruneRequest {
    pub(crate) fn decode(term: Term<'_>) -> Result<Self> {
        let (choices, site) = fields(term)?.partition(&["dry_run", "now"]);
        let PruneChoices { dry_run, now } = choices.read().map_err(wrong)?;
        let from = if let Some(path) = config(&site)? {
            Revisions::File(path)
        } else if site.has("site") {
            let site: Site = site.read().map_err(wrong)?;
            let database = site.database.ok_or_else(revisions::no_database)?;
            Revisions::Given(database, site.revisions)
        } else {
            let given: RevisionFields = site.read().map_err(wrong)?;
            Revisions::Given(given.database, given.revisions)
        };
        Ok(Self { from, dry_run, now })
    }

    /// Reads a file.
    pub(crate) fn open(self) -> Result<(Database, Retention, revisions::Options)> {
        let (database, retention) = match self.from {
            Revisions::Given(database, retention) => (database, retention),
            Revisions::File(path) => {
                let site = Site::from_file(&path)?;
                let database = site.database.ok_or_else(revisions::no_database)?;
                (database, site.revisions)
            }
        };
        let now = self.now.map(jiff::Timestamp::from_second).transpose();
        let now =
            now.map_err(|error| Error::Usage(format!("the request is not right: now: {error}")))?;
        let options = revisions::Options {
            dry_run: self.dry_run,
            now,
        };
        Ok((database, retention, options))
    }
}

impl From<Site> for Store {
    fn from(site: Site) -> Self {
        Self {
            backup_dir: site.backup_dir,
            encryption: site.encryption,
            _offsite: None,
            database: site.database,
        }
    }
}

/// The options that go with a request.
pub(crate) fn options<T: DeserializeOwned>(term: Term<'_>) -> Result<T> {
    fields(term)?.read().map_err(wrong)
}

/// How it goes with backups, to be kept.
pub(crate) fn status(term: Term<'_>) -> Result<Status> {
    Status::deserialize(Value::new(term)).map_err(|error| wrong(error.within("status")))
}

/// The name of a backup.
pub(crate) fn name(term: Term<'_>) -> Result<String> {
    String::deserialize(Value::new(term)).map_err(|error| wrong(error.within("name")))
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
    let (choices, site) = fields(term)?.partition(&["database_only", "day", "prove"]);
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
