//! SHA-256 on a thread of its own: it takes as long as all else that is done to a file in order.

use super::pool::Spare;
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use crate::priority;
use crossbeam_channel::{Sender, bounded};
use sha2::{Digest, Sha256};
use std::thread::JoinHandle;

/// Pieces that may wait to be hashed.
const WAITING: usize = 2;

/// Hashes the pieces of a file.
pub(super) struct Hashing {
    pieces: Option<Sender<Vec<u8>>>,
    thread: Option<JoinHandle<Sha256Hash>>,
}

impl Hashing {
    /// Begins. Pieces that are done with are given to `spare`.
    ///
    /// # Errors
    /// When there is no thread left.
    pub(super) fn start(spare: Spare) -> Result<Self> {
        let (pieces, waiting) = bounded::<Vec<u8>>(WAITING);
        let thread = priority::spawn("hash", move || {
            let mut hasher = Sha256::new();
            for piece in waiting {
                hasher.update(&piece);
                spare.give(piece);
            }
            Sha256Hash::of(hasher)
        })?;
        Ok(Self {
            pieces: Some(pieces),
            thread: Some(thread),
        })
    }

    /// Takes the next piece; waits while too many wait.
    ///
    /// # Errors
    /// `Internal` when the thread has stopped.
    pub(super) fn take(&self, piece: Vec<u8>) -> Result<()> {
        let taken = self.pieces.as_ref().map(|pieces| pieces.send(piece));
        taken.and_then(|taken| taken.ok()).ok_or_else(stopped)
    }

    /// The hash of all pieces.
    ///
    /// # Errors
    /// `Internal` when the thread has stopped.
    pub(super) fn finish(mut self) -> Result<Sha256Hash> {
        self.stop().ok_or_else(stopped)
    }

    fn stop(&mut self) -> Option<Sha256Hash> {
        self.pieces = None;
        self.thread.take()?.join().ok()
    }
}

impl Drop for Hashing {
    /// No thread outlives its job: the code that it runs may be unloaded.
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn stopped() -> Error {
    Error::Internal("the hashing thread stopped".into())
}
