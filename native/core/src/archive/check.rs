//! Whether an unpacked stream is a whole tar archive.

use super::entries::Entries;
use crate::error::Error;
use serde::Serialize;
use std::io::{self, Read};
use std::path::Path;

/// What a whole stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Entries of an archive; lines of a dump.
    pub entries: u64,
    /// Length when unpacked.
    pub bytes: u64,
}

/// Why a stream is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    /// The stream is complete in itself, but not what it should be.
    #[error("{0}")]
    Structure(String),
    /// The stream cannot be read to its end.
    #[error(transparent)]
    Read(#[from] io::Error),
}

impl Incomplete {
    /// The error for the stored file that the stream is from.
    pub(crate) fn of(self, path: &Path) -> Error {
        match self {
            Self::Structure(reason) => Error::damaged(path, reason),
            Self::Read(error) => match error.downcast::<Error>() {
                Ok(own) => own,
                Err(error) => Error::damaged(path, format!("its gzip data is not right: {error}")),
            },
        }
    }
}

/// Reads a tar archive to its end: every header with its checksum, all of every file, the two zero
/// blocks that end it, and nothing but zeros after them.
///
/// # Errors
/// `Structure` with the place where it is not an archive, or the entry that no honest program writes;
/// `Read`.
pub fn check_tar(stream: impl Read) -> Result<Contents, Incomplete> {
    let mut entries = Entries::new(stream);
    while entries.next()?.is_some() {}
    Ok(Contents {
        entries: entries.headers(),
        bytes: entries.position(),
    })
}
