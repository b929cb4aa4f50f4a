//! Folders into tar archives, and the proof that an archive is whole.

mod check;
mod pack;
mod tree;

pub use check::{Contents, Incomplete, check_tar};
pub(crate) use pack::Packer;
pub(crate) use tree::measure;

use serde::Serialize;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Something that is not in the archive as it is in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its path in the archive, for reading: bytes that are not text are replaced.
    pub path: String,
    /// What happened to it.
    pub reason: String,
}

impl Skipped {
    fn new(path: &[u8], reason: impl Into<String>) -> Self {
        Self {
            path: OsStr::from_bytes(path).to_string_lossy().into_owned(),
            reason: reason.into(),
        }
    }
}
