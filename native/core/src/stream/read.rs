//! The way back: file, SHA-256, open. What comes out is the gzip stream that was sealed.

use super::flushed::FlushedFile;
use super::pool::{self, Results, Spare, Submit};
use super::z2::{self, ChunkKey, Context};
use super::{BLOCK, z1};
use crate::durable::open_file;
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use crate::priority;
use crate::progress::Monitor;
use crate::secret::Password;
use crate::stream::Stored;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// How a stored file is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Not at all.
    None,
    /// By Zotonic's own module. Secret, but changes to it go unnoticed.
    Z1,
    /// By this module.
    Z2,
}

/// Reads what is inside a stored file. Every byte that it gives has authenticated (not so in a Z1
/// file, which cannot); the whole is proven once it has given its last.
pub struct StoredReader {
    encryption: Encryption,
    context: Option<Context>,
    results: Option<Results<Vec<u8>>>,
    producer: Option<JoinHandle<Result<Option<Stored>>>>,
    stored: Option<Stored>,
    /// Who reads on after an error gets it again: it was not the end.
    failed: Option<Error>,
    spare: Spare,
    current: io::Cursor<Vec<u8>>,
}

impl StoredReader {
    /// Opens the file at `path`. The bytes that are read count as progress of the phase that
    /// `monitor` is in.
    ///
    /// # Errors
    /// `Io`; and for an encrypted file `PasswordRequired`, `WrongPassword` and `Damaged`.
    pub fn open(path: &Path, password: Option<&Password>, monitor: &Monitor) -> Result<Self> {
        Self::start(path, password, monitor, Some(Sha256::new()))
    }

    /// The same for who wants what is inside and no hash of the file, which takes most of the time.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn open_unhashed(
        path: &Path,
        password: Option<&Password>,
        monitor: &Monitor,
    ) -> Result<Self> {
        Self::start(path, password, monitor, None)
    }

    fn start(
        path: &Path,
        password: Option<&Password>,
        monitor: &Monitor,
        hasher: Option<Sha256>,
    ) -> Result<Self> {
        let file = open_file(path).map_err(Error::io("cannot read", path))?;
        let spare = Spare::default();
        let mut source = Source {
            spare: spare.clone(),
            file: Arc::new(file),
            path: path.to_owned(),
            hasher,
            size: 0,
            monitor: monitor.clone(),
        };
        let mut magic = [0; 2];
        let start = source.read(&mut magic)?;
        let mut context = None;
        let body = match &magic[..start] {
            magic if magic == z1::MAGIC => {
                let header = source.header(magic)?;
                Body::Z1(z1::Body::open(&header, needed(password, path)?, path)?)
            }
            magic if magic == z2::MAGIC => {
                let header = source.header(magic)?;
                let (key, sealed_as) = z2::open(&header, needed(password, path)?, path)?;
                context = Some(sealed_as);
                Body::Z2(Arc::new(Sealed {
                    key,
                    file: Arc::clone(&source.file),
                    path: path.to_owned(),
                }))
            }
            other => Body::Plain(other.to_vec()),
        };
        let encryption = match &body {
            Body::Plain(_) => Encryption::None,
            Body::Z1(_) => Encryption::Z1,
            Body::Z2(_) => Encryption::Z2,
        };
        let (submit, results) = pool::start(|| Job::run)?;
        let producer = priority::spawn("source", move || source.run(body, &submit))?;
        Ok(Self {
            encryption,
            context,
            results: Some(results),
            producer: Some(producer),
            stored: None,
            failed: None,
            spare,
            current: io::Cursor::default(),
        })
    }

    /// How the file is encrypted.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// What the file was sealed as, by this module.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.context
    }

    /// Writes what is left to `out`, block by block. All of it has authenticated when this returns.
    ///
    /// # Errors
    /// As reading does, and those of `out`.
    pub(super) fn write_to(&mut self, out: &mut FlushedFile) -> Result<()> {
        loop {
            let at = self.current.position() as usize; // in memory
            out.append(&self.current.get_ref()[at..])?;
            if !self.advance()? {
                return Ok(());
            }
        }
    }

    /// Reads what is left and gives length and hash of the file as it is stored.
    ///
    /// # Errors
    /// As reading does; `Internal` when it was opened without a hash.
    pub fn finish(mut self) -> Result<Stored> {
        while self.advance()? {}
        self.stored
            .ok_or_else(|| Error::Internal("a file that was read has no hash".into()))
    }

    /// Goes to the next block. False when there is none.
    fn advance(&mut self) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.again());
        }
        let result = self.next();
        if let Err(error) = &result {
            self.failed = Some(error.again());
            self.current = io::Cursor::default();
        }
        result
    }

    fn next(&mut self) -> Result<bool> {
        match self.results.as_ref().and_then(Results::next) {
            Some(block) => {
                let done = std::mem::replace(&mut self.current, io::Cursor::new(block?));
                self.spare.give(done.into_inner());
                Ok(true)
            }
            None => {
                self.current = io::Cursor::default();
                self.results = None;
                if let Some(producer) = self.producer.take() {
                    let stored = producer
                        .join()
                        .map_err(|_| Error::Internal("the reading thread stopped".into()))??;
                    self.stored = stored;
                }
                Ok(false)
            }
        }
    }
}

impl Read for StoredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(count);
            }
        }
    }
}

impl Drop for StoredReader {
    fn drop(&mut self) {
        // Without a taker the producer stops at its next block.
        self.results = None;
        if let Some(producer) = self.producer.take() {
            let _ = producer.join();
        }
    }
}

/// Whether a file begins as an encrypted one.
pub(super) fn is_sealed(path: &Path) -> Result<bool> {
    Ok(seems(path)? != Encryption::None)
}

/// How a file is encrypted, by its first bytes.
pub(crate) fn seems(path: &Path) -> Result<Encryption> {
    let mut magic = Vec::new();
    open_file(path)
        .and_then(|file| file.take(2).read_to_end(&mut magic))
        .map_err(Error::io("cannot read", path))?;
    Ok(if magic == z1::MAGIC {
        Encryption::Z1
    } else if magic == z2::MAGIC {
        Encryption::Z2
    } else {
        Encryption::None
    })
}

fn needed<'a>(password: Option<&'a Password>, path: &Path) -> Result<&'a Password> {
    password.ok_or_else(|| Error::PasswordRequired(path.to_owned()))
}

/// What follows the header, and what it takes to open it.
enum Body {
    /// With the bytes that were read to see that there is no header.
    Plain(Vec<u8>),
    Z1(z1::Body),
    Z2(Arc<Sealed>),
}

/// What the chunks of a file are opened with.
struct Sealed {
    key: ChunkKey,
    /// What they are read from, for what is said of those that do not open.
    file: Arc<File>,
    path: PathBuf,
}

impl Sealed {
    /// Why the chunk that was read from `at` is refused. What was read of it is gone.
    fn refusal(&self, index: u64, last: bool, at: u64, length: usize) -> Error {
        let mut chunk = vec![0; length];
        let reason = match self.file.read_exact_at(&mut chunk, at) {
            Ok(()) => self.key.refusal(index, last, &chunk),
            Err(error) => {
                format!("chunk {index} does not authenticate, and cannot be read again ({error})")
            }
        };
        Error::damaged(&self.path, reason)
    }
}

/// A block of the file to be opened.
enum Job {
    Plain(Vec<u8>),
    Z1(z1::Stretch),
    Z2 {
        sealed: Arc<Sealed>,
        index: u64,
        last: bool,
        /// Where it begins in the file.
        at: u64,
        chunk: Vec<u8>,
    },
}

impl Job {
    fn run(self) -> Result<Vec<u8>> {
        match self {
            Self::Plain(block) => Ok(block),
            Self::Z1(stretch) => stretch.decrypt(),
            Self::Z2 {
                sealed,
                index,
                last,
                at,
                mut chunk,
            } => {
                let length = chunk.len();
                if sealed.key.open(index, last, &mut chunk) {
                    Ok(chunk)
                } else {
                    Err(sealed.refusal(index, last, at, length))
                }
            }
        }
    }
}

/// The stored file, hashed as it is read, when somebody wants the hash.
struct Source {
    spare: Spare,
    file: Arc<File>,
    path: PathBuf,
    hasher: Option<Sha256>,
    size: u64,
    monitor: Monitor,
}

impl Source {
    fn run(mut self, body: Body, submit: &Submit<Job, Vec<u8>>) -> Result<Option<Stored>> {
        match body {
            Body::Plain(start) => {
                submit.submit(Job::Plain(start))?;
                while let Some(block) = self.block(BLOCK)? {
                    submit.submit(Job::Plain(block))?;
                }
            }
            Body::Z1(mut body) => {
                while let Some(block) = self.block(BLOCK)? {
                    submit.submit(Job::Z1(body.next(block)))?;
                }
            }
            Body::Z2(sealed) => self.chunks(&sealed, submit)?,
        }
        let size = self.size;
        Ok(self.hasher.map(|hasher| Stored {
            size,
            sha256: Sha256Hash::of(hasher),
        }))
    }

    fn chunks(&mut self, sealed: &Arc<Sealed>, submit: &Submit<Job, Vec<u8>>) -> Result<()> {
        let mut next = self.chunk_length()?;
        if next.is_none() {
            return Err(self.truncated());
        }
        let mut index = 0;
        while let Some(length) = next {
            let at = self.size;
            let chunk = self.block(length)?.unwrap_or_default();
            if chunk.len() < length {
                return Err(self.truncated());
            }
            next = self.chunk_length()?;
            submit.submit(Job::Z2 {
                sealed: Arc::clone(sealed),
                index,
                last: next.is_none(),
                at,
                chunk,
            })?;
            index += 1;
        }
        Ok(())
    }

    /// The length of the chunk that follows, when one does.
    fn chunk_length(&mut self) -> Result<Option<usize>> {
        let mut field = [0; z2::LENGTH];
        match self.read(&mut field)? {
            0 => Ok(None),
            z2::LENGTH => {
                let length = u32::from_le_bytes(field) as usize;
                if (z2::TAG..=z2::LONGEST_CHUNK).contains(&length) {
                    Ok(Some(length))
                } else {
                    Err(Error::damaged(
                        &self.path,
                        format!("a chunk before byte {} has no possible length", self.size),
                    ))
                }
            }
            _ => Err(self.truncated()),
        }
    }

    fn truncated(&self) -> Error {
        Error::damaged(
            &self.path,
            format!("it is truncated: it ends after {} bytes", self.size),
        )
    }

    /// The header that begins with `magic`, which is read already.
    fn header<const N: usize>(&mut self, magic: &[u8]) -> Result<[u8; N]> {
        let mut header = [0; N];
        header[..magic.len()].copy_from_slice(magic);
        if self.read(&mut header[magic.len()..])? < N - magic.len() {
            return Err(self.truncated());
        }
        Ok(header)
    }

    /// The next `most` bytes, or what there is; `None` at the end.
    fn block(&mut self, most: usize) -> Result<Option<Vec<u8>>> {
        let mut block = self.spare.take_full(most);
        let count = self.read(&mut block)?;
        block.truncate(count);
        Ok((count > 0).then_some(block))
    }

    /// Fills `buffer` as far as the file goes.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            match (&*self.file).read(&mut buffer[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read", &self.path)(error)),
            }
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.size += count as u64;
        self.monitor.add(count as u64)?;
        Ok(count)
    }
}
