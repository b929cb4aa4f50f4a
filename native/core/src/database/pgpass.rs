//! The password of a database: the site's setting, else the password file that PostgreSQL's own programs read.
//!
//! Format: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::site::Database;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Maximum length of a password file, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// Returns the password of the site's settings, else that of `PGPASSFILE` or `~/.pgpass`.
///
/// # Errors
/// `Usage` for a password that no password file can hold; `Io` for a file that `PGPASSFILE` names and that cannot be
/// read.
pub(super) fn password(database: &Database) -> Result<Option<Secret>> {
    // An empty one is none, as in libpq.
    if let Some(password) = &database.password
        && !password.expose().is_empty()
    {
        let is_line = |byte: &u8| b"\n\r\0".contains(byte);
        if password.expose().iter().any(is_line) {
            return Err(Error::Usage(
                "the password of the database holds a line break, which PostgreSQL's password files cannot"
                    .into(),
            ));
        }
        return Ok(Some(password.clone()));
    }
    let Some((path, is_named)) = path() else {
        return Ok(None);
    };
    match read(&path) {
        Ok(Some(text)) => Ok(find(&text, database)),
        Ok(None) => Ok(None),
        Err(error) if is_named => Err(Error::io("cannot read", &path)(error)),
        Err(_) => Ok(None),
    }
}

/// Returns the file, and whether somebody asked for it by name.
fn path() -> Option<(PathBuf, bool)> {
    if let Some(path) = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty()) {
        return Some((path.into(), true));
    }
    std::env::home_dir().map(|home| (home.join(".pgpass"), false))
}

/// Reads the file; `None` for one that is not a file, or that others may read, as libpq has it.
fn read(path: &Path) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let metadata = path.metadata()?;
    let is_private = metadata.is_file() && metadata.mode() & 0o077 == 0;
    if !is_private || metadata.len() > MAX_LEN {
        return Ok(None);
    }
    std::fs::read(path).map(|text| Some(Zeroizing::new(text)))
}

/// Returns the password of the first line that fits.
fn find(text: &[u8], database: &Database) -> Option<Secret> {
    let port = database.port.to_string();
    // A socket in the usual directory counts as localhost.
    let host = match database.host.starts_with('/') {
        true => "localhost",
        false => &database.host,
    };
    let wanted = [host, &port, &database.dbname, &database.user];
    text.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.starts_with(b"#"))
        .find_map(|line| {
            let mut fields = fields(line);
            let password = fields.split_off(wanted.len().min(fields.len()));
            let fits = fields.len() == wanted.len()
                && fields
                    .iter()
                    .zip(wanted)
                    .all(|(field, wanted)| field == b"*" || field == wanted.as_bytes());
            let password = password.into_iter().next().filter(|_| fits)?;
            Some(Secret::new(password))
        })
}

/// Splits a line at its colons, of which a backslash makes one that is part of a field.
fn fields(line: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = vec![Vec::new()];
    let mut bytes = line.iter();
    while let Some(&byte) = bytes.next() {
        let byte = match byte {
            b':' => {
                fields.push(Vec::new());
                continue;
            }
            b'\\' => bytes.next().copied().unwrap_or(byte),
            byte => byte,
        };
        if let Some(field) = fields.last_mut() {
            field.push(byte);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(text: &str, host: &str) -> Option<String> {
        let database: Database =
            toml::from_str(&format!("host = {host:?}\nuser = \"u:1\"\ndbname = \"d\"")).unwrap();
        find(text.as_bytes(), &database)
            .map(|password| String::from_utf8(password.expose().to_vec()).unwrap())
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let file = "# h:5432:d:u\\:1:no\nh:1:d:u\\:1:port\nh:5432:d:u\\:1:p\\:w\\\\d\r\nh:*:*:*:later\n\
                    localhost:5432:d:u\\:1:local";
        for (host, password) in [
            ("h", Some(r"p:w\d")),
            ("other", None),
            ("localhost", Some("local")),
            ("/run/postgresql", Some("local")),
        ] {
            assert_eq!(found(file, host).as_deref(), password, "{host}");
        }
        assert_eq!(found("*:*:*:*:any", "x").as_deref(), Some("any"));
        assert_eq!(found("h:5432:d", "h"), None);
        assert_eq!(found("", "h"), None);
    }
}
