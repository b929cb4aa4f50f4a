//! Secrets that are never printed, and wiped from memory where we hold them.
//!
//! Not wiped: what the reader of `site.toml` held of its text, what Erlang and the programs of PostgreSQL hold,
//! the keys of the chunks of a file, and the blocks that Argon2 worked in, which go back to the system.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Bytes that must not be seen: `Debug` hides them and dropping wipes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes; the caller's copy is gone.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to be handed to what needs them and kept nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self::new(text.into_bytes()))
    }
}

/// A key that a password becomes.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// The password that backups are encrypted with. Never empty.
#[derive(Debug, Clone)]
pub struct Password {
    secret: Secret,
    /// The key that was last derived from it, with the salt and costs of that: it takes a while, and the
    /// files of one backup have the same.
    derived: Arc<Mutex<Option<Derived>>>,
}

struct Derived {
    how: Vec<u8>,
    key: Key,
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived(…)")
    }
}

impl Password {
    /// What an `Io` error says that was doing, when a password file could not be read.
    pub const READING: &str = "cannot read the password file";

    /// # Errors
    /// `Usage` when the secret is empty: encrypting with it would protect nothing.
    pub fn new(secret: Secret) -> Result<Self> {
        if secret.expose().is_empty() {
            return Err(Error::Usage(
                "the encryption password is empty: set one".into(),
            ));
        }
        Ok(Self {
            secret,
            derived: Arc::default(),
        })
    }

    /// Reads the first and only line of a password file; the line break at its end is not part of it.
    ///
    /// # Errors
    /// `Io` when the file cannot be read, `Usage` when it is empty or far too long.
    pub fn from_file(path: &Path) -> Result<Self> {
        const LONGEST: usize = 4096;
        // With the end of the line, and a byte that shows that it is too long. It does not grow: a copy would
        // stay behind.
        let mut secret = Zeroizing::new(Vec::with_capacity(LONGEST + 3));
        let most = secret.capacity() as u64;
        File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut secret))
            .map_err(Error::io(Self::READING, path))?;
        if secret.last() == Some(&b'\n') {
            secret.pop();
            if secret.last() == Some(&b'\r') {
                secret.pop();
            }
        }
        if secret.len() > LONGEST || secret.contains(&b'\n') {
            return Err(Error::Usage(format!(
                "{} is not a password file: it should hold one line",
                path.display()
            )));
        }
        if secret.is_empty() {
            return Err(Error::Usage(format!(
                "the password file {} is empty: put the encryption password in it",
                path.display()
            )));
        }
        Self::new(Secret(secret))
    }

    /// The key that `derive` makes of it with the salt and the costs `how`.
    ///
    /// # Errors
    /// Of `derive`.
    pub(crate) fn key(&self, how: &[u8], derive: impl FnOnce() -> Result<Key>) -> Result<Key> {
        let mut last = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref() {
            Some(derived) if derived.how == how => Ok(derived.key.clone()),
            _ => {
                let key = derive()?;
                *last = Some(Derived {
                    how: how.to_vec(),
                    key: key.clone(),
                });
                Ok(key)
            }
        }
    }

    /// The bytes of the password.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.secret.expose()
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Self::new(Secret::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;

    fn read(text: &[u8]) -> Result<Vec<u8>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        Password::from_file(file.path()).map(|password| password.expose().to_vec())
    }

    #[test]
    fn a_password_file_holds_one_line() {
        for end in ["", "\n", "\r\n"] {
            for password in ["p\u{e4}ss word".to_owned(), "x".repeat(4096)] {
                assert_eq!(
                    read(format!("{password}{end}").as_bytes()).unwrap(),
                    password.as_bytes()
                );
            }
            let long = read(format!("{}{end}", "x".repeat(4097)).as_bytes()).unwrap_err();
            assert!(long.to_string().contains("one line"), "{long}");
            read(end.as_bytes()).unwrap_err();
        }
        read(b"two\nlines").unwrap_err();
    }

    #[test]
    fn a_password_without_end_is_not_read_to_its_end() {
        let error = Password::from_file(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("one line"), "{error}");
    }

    /// As the shell makes one: `--password-file <(secret-tool lookup …)`.
    #[test]
    fn a_password_comes_through_a_pipe_in_pieces() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let slowly = std::thread::spawn(move || {
            for piece in ["pass", "word", "\n"] {
                writer.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
        let password = Password::from_file(Path::new(&path)).unwrap();
        assert_eq!(password.expose(), b"password");
        slowly.join().unwrap();
    }
}
