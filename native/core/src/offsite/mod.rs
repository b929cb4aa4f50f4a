//! Copies of backups in an object store that speaks S3.
//!
//! The store holds what the backup folder holds, under the same names: the files, and a `backup.json` that
//! names them. [`push`] uploads what is not there yet, the newest backup first: all files of a backup, which
//! appear together at the end, and then the list. So the list only names what is complete, but for the
//! moment in which a file has replaced an older one of its name and the list does not say so yet. Its hash
//! shows that to a reader; the next push makes the list right.
//!
//! [`pull`] trusts nothing that it reads: a file is staged, and becomes part of the local folder when it
//! is the one that the list names.
//!
//! Below, `object_store` speaks to the store, which is asynchronous: the runtime for that lives as long as
//! one call and on its thread.

mod download;
mod entries;
mod explain;
mod journal;
mod location;
mod prove;
mod pull;
mod push;
pub mod relay;
mod source;
mod store;
mod transport;
mod upload;
mod uploads;

#[doc(hidden)]
pub use journal::uploads_under_way;
pub use location::Offsite;
pub use pull::{Newest, PullOptions, Pulled, PulledBackup, pull};
pub use push::{PushOptions, Pushed, PushedBackup, push};

use crate::catalog::{Entry, Part, StoredPart};
use crate::durable::open_file;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use crate::list::{Listing, listed};
use crate::progress::Monitor;
use crate::stream::Encryption;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use source::Source;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use store::Store;

/// How far the clocks of two machines may differ, in seconds.
const CLOCKS_DIFFER: i64 = 60 * 60;

/// A backup that could not be copied, while others were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The backup, as the list names it.
    pub name: String,
    /// What kind of problem.
    pub kind: ErrorKind,
    /// What is wrong.
    pub reason: String,
}

/// Lists the backups in the store, without downloading them.
///
/// # Errors
/// `Usage`, `Offsite`, `Cancelled`.
pub fn list(offsite: &Offsite, monitor: &Monitor) -> Result<Listing> {
    let store = Store::new(offsite)?;
    let runtime = Runtime::new()?;
    runtime.run(monitor, async {
        let list = store.first_list().await?;
        if list.damaged.is_some() {
            return Err(damaged_list(&store.location.to_string()));
        }
        let (entries, refused) = list.catalog.entries();
        let mut sizes = HashMap::new();
        for (_, part) in entries.iter().flat_map(Entry::parts) {
            match store.head(part.file.as_str()).await {
                Ok(Some(head)) => drop(sizes.insert(part.file.to_string(), head.size)),
                // So a store speaks also of what is not there, to a key that may not list. It is not there for us.
                Err(error) if error.kind() != ErrorKind::Permission => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
        let backups = entries
            .into_iter()
            .map(|entry| listed(entry, |part| sizes.get(part.file.as_str()).copied()))
            .collect();
        Ok(Listing { backups, refused })
    })
}

/// Where the futures of one call run: on its thread.
struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    fn new() -> Result<Self> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map(Self)
            .map_err(|error| Error::Internal(format!("no runtime for the network: {error}")))
    }

    /// Does the work, until it is cancelled.
    fn run<T>(&self, monitor: &Monitor, work: impl Future<Output = Result<T>>) -> Result<T> {
        const OFTEN: Duration = Duration::from_millis(100);
        let cancelled = async {
            loop {
                tokio::time::sleep(OFTEN).await;
                if let Err(error) = monitor.check() {
                    return error;
                }
            }
        };
        self.0.block_on(async {
            tokio::select! {
                done = work => done,
                error = cancelled => Err(error),
            }
        })
    }

    /// Does what must be done also after a cancel, but not for long.
    fn clean_up(&self, work: impl Future<Output = ()>) {
        const PATIENCE: Duration = Duration::from_secs(20);
        self.0.block_on(async {
            let _ = tokio::time::timeout(PATIENCE, work).await;
        });
    }

    /// Does not wait for the name of a host that nobody wants any more.
    fn end(self) {
        self.0.shutdown_background();
    }
}

fn damaged_list(place: &str) -> Error {
    Error::Offsite {
        kind: ErrorKind::Damaged,
        message: format!(
            "backup.json in {place} is not a list of backups; the next push keeps it aside and writes a new one"
        ),
    }
}

/// Whether an entry has a time that has not come yet. That of a machine whose clock is wrong, or of somebody
/// who wants theirs to be the newest for ever.
fn is_of_the_future(entry: &Entry) -> bool {
    let latest = Timestamp::now().as_second().saturating_add(CLOCKS_DIFFER);
    entry.timestamp > latest || entry.files_timestamp.is_some_and(|at| at > latest)
}

/// Whether two entries are the same backup.
fn is_same(one: &Entry, other: &Entry) -> bool {
    one.timestamp == other.timestamp
        && one.made_at(Part::Files) == other.made_at(Part::Files)
        && Part::ALL
            .into_iter()
            .all(|part| match (one.part(part), other.part(part)) {
                (Some(one), Some(other)) => one.file == other.file && one.sha256 == other.sha256,
                (None, None) => true,
                _ => false,
            })
}

/// What is known of a file before it is read.
enum Known {
    /// Its hash, as it is stored.
    Hash(Sha256Hash),
    /// The hash of what is in it when it is decrypted: Zotonic's own module hashes before it encrypts.
    Inside(Sha256Hash),
    /// Nothing: the list has no hash of it.
    Nothing,
}

/// What the list says about the content of a file that is encrypted so.
fn known(entry: &Entry, part: Part, stored: &StoredPart, encryption: Encryption) -> Known {
    match stored.sha256 {
        Some(hash) if encryption == Encryption::Z1 && (entry.is_kept(part) || !entry.is_ours()) => {
            Known::Inside(hash)
        }
        Some(hash) => Known::Hash(hash),
        None => Known::Nothing,
    }
}

/// The hash of a file, as it is stored.
fn hash_of(path: &Path, monitor: &Monitor) -> Result<Sha256Hash> {
    let file = open_file(path).map_err(Error::io("cannot read", path))?;
    hash_all(file, path, monitor)
}

fn hash_all(mut reader: impl Read, path: &Path, monitor: &Monitor) -> Result<Sha256Hash> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        monitor.check()?;
        match reader
            .read(&mut buffer)
            .map_err(Error::io("cannot read", path))?
        {
            0 => return Ok(Sha256Hash::of(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}
