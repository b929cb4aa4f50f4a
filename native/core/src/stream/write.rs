//! The way out: blocks, gzip, seal, file, and SHA-256 beside it.

use super::BLOCK;
use super::flushed::FlushedFile;
use super::gzip::{Effort, Gzip};
use super::hashing::Hashing;
use super::pool::{self, Results, Spare, Submit};
use super::z2::{self, ChunkKey, Context, FileSeal, Sealer};
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use crate::priority;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread::JoinHandle;

/// A file that was written whole and is safe on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its length in bytes.
    pub size: u64,
    /// Its hash, as it is stored.
    pub sha256: Sha256Hash,
}

/// Writes a stored file. What is written to it is compressed and sealed on all cores and is complete
/// only after [`StreamWriter::finish`].
pub struct StreamWriter {
    /// Always [`BLOCK`] long.
    block: Vec<u8>,
    /// How much of the block is filled.
    filled: usize,
    index: u64,
    source_bytes: u64,
    spare: Spare,
    submit: Option<Submit<Block, Piece>>,
    sink: Option<JoinHandle<Result<Stored>>>,
}

struct Block {
    index: u64,
    last: bool,
    data: Vec<u8>,
}

/// What a block became.
struct Piece {
    last: bool,
    bytes: Vec<u8>,
}

impl StreamWriter {
    /// Begins in `file`, which is at `path` and empty, with gzip, and sealed where there is a sealer.
    ///
    /// # Errors
    /// When there is no descriptor or no thread left.
    pub fn new(
        file: File,
        path: &Path,
        effort: Effort,
        sealer: Option<&Sealer>,
        context: &Context,
    ) -> Result<Self> {
        Self::start(file, path, Some(effort), sealer, context)
    }

    /// Writes to `file`, which is at `path`; without an effort, as it is.
    pub(super) fn start(
        file: File,
        path: &Path,
        gzip: Option<Effort>,
        sealer: Option<&Sealer>,
        context: &Context,
    ) -> Result<Self> {
        let seal = sealer.map(|sealer| sealer.file(context)).transpose()?;
        let spare = Spare::default();
        let for_workers = (seal.clone(), spare.clone());
        let (submit, results) = pool::start(move || {
            let (seal, spare) = for_workers.clone();
            worker(gzip, seal, spare)
        })?;
        let sink = Sink {
            file: FlushedFile::new(file, path)?,
            hashing: Hashing::start(spare.clone())?,
        };
        Ok(Self {
            block: spare.take_full(BLOCK),
            filled: 0,
            index: 0,
            source_bytes: 0,
            spare,
            submit: Some(submit),
            sink: Some(priority::spawn("sink", move || {
                sink.run(seal.as_ref(), &results)
            })?),
        })
    }

    /// Reads until `source` ends or fails or `most` bytes came, straight into the blocks. Returns how
    /// many came, and why not more, where `source` failed: what came before that is in the stream.
    ///
    /// # Errors
    /// Of the file that is written.
    pub fn fill_from(
        &mut self,
        source: &mut impl Read,
        most: u64,
    ) -> Result<(u64, Option<io::Error>)> {
        let mut came = 0;
        while came < most {
            let start = self.filled;
            let room = (most - came).min((BLOCK - start) as u64) as usize; // at most BLOCK
            let result = source.read(&mut self.block[start..start + room]);
            let got = *result.as_ref().unwrap_or(&0);
            self.filled += got;
            came += got as u64;
            if self.filled == BLOCK {
                self.submit(false)?;
            }
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok((came, Some(error))),
                Ok(0) => break,
                Ok(_) => {}
            }
        }
        Ok((came, None))
    }

    /// How much was written to it.
    #[must_use]
    pub fn source_bytes(&self) -> u64 {
        self.source_bytes + self.filled as u64
    }

    /// Ends the stream, and waits until the file is safe on the disk.
    ///
    /// # Errors
    /// When the file could not be written whole.
    pub fn finish(mut self) -> Result<Stored> {
        self.submit(true)?;
        self.close()
    }

    fn submit(&mut self, last: bool) -> Result<()> {
        let next = if last {
            Vec::new()
        } else {
            self.spare.take_full(BLOCK)
        };
        let mut data = std::mem::replace(&mut self.block, next);
        data.truncate(std::mem::take(&mut self.filled));
        let index = self.index;
        self.index += 1;
        self.source_bytes += data.len() as u64;
        let block = Block { index, last, data };
        match &self.submit {
            Some(submit) if submit.submit(block).is_ok() => Ok(()),
            // The sink has stopped, and knows why.
            _ => Err(self.close().err().unwrap_or(Error::Cancelled)),
        }
    }

    fn close(&mut self) -> Result<Stored> {
        self.submit = None;
        match self.sink.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Internal("the writing thread stopped".into())),
            None => Err(Error::Cancelled),
        }
    }
}

impl Write for StreamWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let start = self.filled;
        let now = data.len().min(BLOCK - start);
        self.block[start..start + now].copy_from_slice(&data[..now]);
        self.filled += now;
        if self.filled == BLOCK {
            self.submit(false)?;
        }
        Ok(now)
    }

    /// Nothing is on the disk for certain before [`StreamWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

fn worker(
    effort: Option<Effort>,
    seal: Option<FileSeal>,
    spare: Spare,
) -> impl FnMut(Block) -> Result<Piece> {
    let mut gzip = effort.map(Gzip::new);
    let mut key: Option<ChunkKey> = None;
    move |block| {
        let mut out = spare.take();
        // A sealed chunk begins with its length.
        out.resize(seal.as_ref().map_or(0, |_| z2::LENGTH), 0);
        match &mut gzip {
            // An empty last block adds nothing, unless it is all there is.
            Some(_) if block.data.is_empty() && block.index > 0 => {}
            Some(Ok(gzip)) => gzip.append(block.index, &block.data, &mut out)?,
            Some(Err(error)) => return Err(Error::Internal(error.to_string())),
            None => out.extend_from_slice(&block.data),
        }
        if let Some(seal) = &seal {
            let key = match &mut key {
                Some(key) => key,
                none => none.insert(seal.key()?),
            };
            key.seal(block.index, block.last, &mut out)?;
        }
        spare.give(block.data);
        Ok(Piece {
            last: block.last,
            bytes: out,
        })
    }
}

struct Sink {
    file: FlushedFile,
    hashing: Hashing,
}

impl Sink {
    fn run(mut self, seal: Option<&FileSeal>, results: &Results<Piece>) -> Result<Stored> {
        if let Some(seal) = seal {
            self.put(seal.header()?.to_vec())?;
        }
        let mut is_whole = false;
        while let Some(piece) = results.next() {
            let Piece { last, bytes } = piece?;
            self.put(bytes)?;
            is_whole = last;
        }
        if !is_whole {
            return Err(Error::Cancelled); // nobody waits for the rest
        }
        Ok(Stored {
            size: self.file.finish()?,
            sha256: self.hashing.finish()?,
        })
    }

    fn put(&mut self, piece: Vec<u8>) -> Result<()> {
        self.file.append(&piece)?;
        self.hashing.take(piece)
    }
}
