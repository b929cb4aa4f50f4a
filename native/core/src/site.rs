//! What to back up: the request, as the CLI reads it from `site.toml` and Erlang sends it as a map.

use crate::error::{Error, Result};
use crate::offsite::Offsite;
use crate::revisions::Retention;
use crate::secret::{Password, Secret};
pub use jiff::tz::TimeZone;
use serde::Deserialize;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use zeroize::Zeroizing;

/// A site and where its things are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The name of the site: the first part of every backup's name.
    pub site: SiteName,
    /// Where backups are stored. Made when it is not there.
    pub backup_dir: PathBuf,
    /// The folder with the media files. A site without one has no `.tar.gz`.
    #[serde(default)]
    pub media_dir: Option<PathBuf>,
    /// Configuration files. Those in a folder `config.d` are stored below `config.d/`, the others
    /// below `priv/`.
    #[serde(default)]
    pub config_files: Vec<PathBuf>,
    /// The folder with certificates and secrets.
    #[serde(default)]
    pub security_dir: Option<PathBuf>,
    /// IANA name of the time zone that decides which day it is. Else that of the machine.
    #[serde(default)]
    pub timezone: Option<String>,
    /// A site without a database has no `.sql.gz`.
    #[serde(default)]
    pub database: Option<Database>,
    /// Without it, backups are stored in the clear.
    #[serde(default)]
    pub encryption: Option<Encryption>,
    /// How long revisions of pages are kept. Else as long as the manual says.
    #[serde(default)]
    pub revisions: Retention,
    /// Where copies of the backups go.
    #[serde(default)]
    pub offsite: Option<Offsite>,
}

/// How to reach the database of a site.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Host name, address, or the folder of a Unix socket.
    #[serde(default = "default_host")]
    pub host: String,
    /// Port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Its password, where the server asks for one.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Name of the database.
    pub dbname: String,
    /// The schema that holds the site.
    #[serde(default = "default_schema")]
    pub schema: String,
    /// The command that dumps a database, when it is not `pg_dump` in the `PATH`.
    #[serde(default = "default_pg_dump")]
    pub pg_dump: PathBuf,
    /// Ignored: the command that loaded a dump before it was loaded by the protocol.
    #[serde(default)]
    pub psql: Option<PathBuf>,
}

/// A bare name is looked for in the `PATH`.
fn is_path(command: &Path) -> bool {
    command.components().count() > 1
}

fn default_host() -> String {
    "localhost".into()
}

fn default_port() -> u16 {
    5432
}

fn default_schema() -> String {
    "public".into()
}

fn default_pg_dump() -> PathBuf {
    "pg_dump".into()
}

/// The password that backups are encrypted with, or the file that it is in.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "EncryptionFields")]
pub enum Encryption {
    /// The password itself.
    Password(Password),
    /// A file of one line.
    PasswordFile(PathBuf),
}

/// What a request has of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncryptionFields {
    #[serde(default)]
    password: Option<Password>,
    #[serde(default)]
    password_file: Option<PathBuf>,
}

impl TryFrom<EncryptionFields> for Encryption {
    type Error = &'static str;

    fn try_from(fields: EncryptionFields) -> std::result::Result<Self, Self::Error> {
        match (fields.password, fields.password_file) {
            (Some(password), None) => Ok(Self::Password(password)),
            (None, Some(file)) => Ok(Self::PasswordFile(file)),
            (None, None) => Err("encryption needs a password_file"),
            (Some(_), Some(_)) => Err("encryption has a password and a password_file: give one"),
        }
    }
}

impl Site {
    /// Reads `site.toml`. Relative paths in it start at its own folder.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Usage` with line and reason when it is not a site.
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("cannot read", path))?;
        // It may have passwords in it.
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::Usage(format!("{} is not text in UTF-8", path.display())))?;
        let mut site: Self =
            toml::from_str(text).map_err(|error| Error::Usage(mistake(path, text, &error)))?;
        let base = path.parent().unwrap_or(Path::new(""));
        for relative in site.paths() {
            if relative.as_os_str().is_empty() {
                let path = path.display();
                return Err(Error::Usage(format!("{path}: a path in it is empty")));
            }
            *relative = base.join(&*relative);
        }
        Ok(site)
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let password_file = match &mut self.encryption {
            Some(Encryption::PasswordFile(path)) => Some(path),
            _ => None,
        };
        let commands = self
            .database
            .iter_mut()
            .map(|database| &mut database.pg_dump);
        let commands = commands.filter(|command| is_path(command));
        std::iter::once(&mut self.backup_dir)
            .chain(&mut self.media_dir)
            .chain(&mut self.config_files)
            .chain(&mut self.security_dir)
            .chain(password_file)
            .chain(commands)
    }

    /// The password to encrypt with, when backups of this site are to be encrypted.
    ///
    /// # Errors
    /// When the password file cannot be read or holds no password.
    pub fn password(&self) -> Result<Option<Password>> {
        match &self.encryption {
            None => Ok(None),
            Some(Encryption::Password(password)) => Ok(Some(password.clone())),
            Some(Encryption::PasswordFile(path)) => Password::from_file(path).map(Some),
        }
    }

    /// Whether the request itself holds a password, and not only where one is.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        let database = self.database.as_ref();
        database.is_some_and(|database| database.password.is_some())
            || matches!(self.encryption, Some(Encryption::Password(_)))
            || self.offsite.is_some()
    }

    /// The time zone that decides which day it is.
    ///
    /// # Errors
    /// `Usage` when there is no time zone of that name.
    pub fn time_zone(&self) -> Result<TimeZone> {
        time_zone(self.timezone.as_deref())
    }
}

/// The time zone of that name, else that of the machine.
///
/// # Errors
/// `Usage` when there is no time zone of that name.
pub fn time_zone(name: Option<&str>) -> Result<TimeZone> {
    match name {
        None => Ok(TimeZone::system()),
        Some(name) => TimeZone::get(name).map_err(|_| {
            Error::Usage(format!(
                "there is no time zone \"{name}\": use a name like Europe/Amsterdam"
            ))
        }),
    }
}

/// Where a configuration file is in an archive: below `config.d/` when that is where it is from, else in
/// `priv/`.
pub(crate) fn config_name(path: &Path) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(names.pop()),
            Component::Normal(name) => names.push(name.to_str()?),
            _ => {}
        }
    }
    let (file, folders) = names.split_last()?;
    Some(match folders.iter().rposition(|name| *name == "config.d") {
        Some(at) => names[at..].join("/"),
        None => format!("priv/{file}"),
    })
}

/// Whether this is a key of TOML: what stands before another `=` may be a password.
fn is_bare(key: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !key.is_empty() && key.bytes().all(is_part)
}

/// What is wrong in a `site.toml`, and where; but not what stands there: it may be a password.
fn mistake(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let number = before.map(|before| before.matches('\n').count());
    let line = number.and_then(|number| text.lines().nth(number));
    let key = line
        .and_then(|line| line.split_once('='))
        .map(|(key, _)| key.trim())
        .filter(|key| is_bare(key));
    // serde tells the value before what it expected in its place.
    let words = error.message();
    let words = match words.split_once(", expected ") {
        Some((found, expected)) if !found.starts_with("unknown field") => {
            format!("expected {expected}")
        }
        _ => words.to_owned(),
    };
    let place = number.map_or_else(String::new, |number| format!(", line {}", number + 1));
    let key = key.map_or_else(String::new, |key| format!(" {key}:"));
    format!("{}{place}:{key} {words}", path.display())
}

/// The name of a site: safe as the start of a file name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SiteName(String);

impl SiteName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SiteName {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        let fits = (1..=100).contains(&name.len());
        let plain = name
            .chars()
            .all(|c| c != '/' && c != '\\' && !c.is_control());
        if fits && plain && !name.starts_with(['.', '-']) {
            Ok(Self(name))
        } else {
            Err(format!(
                "\"{}\" cannot be the name of a site: it starts the names of files",
                name.escape_debug()
            ))
        }
    }
}
