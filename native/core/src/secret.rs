//! Secrets that are wiped from memory and never printed.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::fmt;
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
        let bytes = std::fs::read(path).map_err(Error::io(Self::READING, path))?;
        let mut secret = Zeroizing::new(bytes);
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
