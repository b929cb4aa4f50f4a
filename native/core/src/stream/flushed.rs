//! A file that goes to the disk while it is written.

use crate::error::{Error, Result};
use crate::priority;
use crossbeam_channel::{Sender, bounded};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// How much is written before the disk is told to begin with it. Left to itself the kernel waits for
/// seconds, and then all of a file is waited for at its end.
const FLUSH: u64 = 8 << 20;

/// Writes a file, and has the disk write it at the same time.
pub(super) struct FlushedFile {
    file: File,
    path: PathBuf,
    written: u64,
    /// How much was written when the disk was last told.
    told: u64,
    flush: Option<Sender<()>>,
    flusher: Option<JoinHandle<io::Result<()>>>,
}

impl FlushedFile {
    /// Writes to `file`, which is at `path`.
    ///
    /// # Errors
    /// When there is no descriptor or no thread left.
    pub(super) fn new(file: File, path: &Path) -> Result<Self> {
        let theirs = file.try_clone().map_err(Error::io("cannot write", path))?;
        let (flush, flushes) = bounded(1);
        let flusher = priority::spawn("flush", move || {
            // The kernel tells of a failure only once: it must not be lost here.
            flushes.iter().try_for_each(|()| theirs.sync_data())
        })?;
        Ok(Self {
            file,
            path: path.to_owned(),
            written: 0,
            told: 0,
            flush: Some(flush),
            flusher: Some(flusher),
        })
    }

    /// Appends to it.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<()> {
        self.file
            .write_all(data)
            .map_err(Error::io("cannot write", &self.path))?;
        self.written += data.len() as u64;
        let is_told = |flush: &Sender<()>| flush.try_send(()).is_ok();
        if self.written - self.told >= FLUSH && self.flush.as_ref().is_some_and(is_told) {
            self.told = self.written;
        }
        Ok(())
    }

    /// Waits until all of it is safe on the disk, and says how long it is, in bytes.
    ///
    /// # Errors
    /// When anything of it could not be written, however long ago.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.stop()
            .and_then(|()| self.file.sync_all())
            .map_err(Error::io("cannot write", &self.path))?;
        Ok(self.written)
    }

    fn stop(&mut self) -> io::Result<()> {
        self.flush = None;
        match self.flusher.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(flushed)) => flushed,
            Some(Err(_)) => Err(io::Error::other("the flushing thread stopped")),
        }
    }
}

impl Drop for FlushedFile {
    /// No thread outlives its job: the code that it runs may be unloaded.
    fn drop(&mut self) {
        // Whoever wanted to hear of a failure has called `finish`.
        let _ = self.stop();
    }
}
