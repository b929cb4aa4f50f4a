//! Folders into tar archives, the proof that an archive is whole, and the way back.

mod below;
mod check;
mod entries;
mod fields;
mod pack;
mod pax;
mod staged;
mod tree;
mod unpack;

pub(crate) use below::{Below, empty, open_folder, remove, split};
pub use check::{Contents, Incomplete, check_tar};
pub(crate) use pack::Packer;
pub(crate) use staged::{FolderReader, LEFT_OUT, STAGED, Staged, check_made};
pub(crate) use tree::{length, measure, measure_in, walk_in};
pub use unpack::{Unpacked, unpack};

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
    pub(crate) fn new(path: &[u8], reason: impl Into<String>) -> Self {
        Self {
            path: OsStr::from_bytes(path).to_string_lossy().into_owned(),
            reason: reason.into(),
        }
    }
}

/// Collects what is reported, with a bound: a hostile archive has a million things to report.
#[derive(Debug, Default)]
pub(crate) struct Report {
    skipped: Vec<Skipped>,
    more: u64,
}

impl Report {
    const MOST: usize = 1000;

    pub(crate) fn add(&mut self, path: &[u8], reason: impl Into<String>) {
        if self.skipped.len() < Self::MOST {
            self.skipped.push(Skipped::new(path, reason));
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Skipped> {
        if self.more > 0 {
            let reason = format!("{} more, which are not listed", self.more);
            self.skipped.push(Skipped::new("…".as_bytes(), reason));
        }
        self.skipped
    }
}
