//! A part of a backup, read back: opened, unpacked, and proven to be the file that the list names.

use crate::catalog::{Entry, Part, StoredPart};
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use crate::progress::Monitor;
use crate::secret::Password;
use crate::stream::{Encryption, StoredReader};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What is inside of a part: an archive or a dump. What it gives is the part's only once
/// [`PartReader::finish`] says so.
pub(crate) struct PartReader {
    path: PathBuf,
    encryption: Encryption,
    /// The hash that the list has.
    listed: Option<Sha256Hash>,
    /// Whether a file without a hash in the list is one that should have it.
    needs_hash: bool,
    decoder: MultiGzDecoder<BufReader<Hashed>>,
}

impl PartReader {
    /// Opens the part `stored` of `entry`, whose file is in `folder`.
    ///
    /// # Errors
    /// As [`StoredReader::open`]; `Damaged` when the file is of another backup or is not encrypted as
    /// the list says.
    pub(crate) fn open(
        folder: &Path,
        entry: &Entry,
        part: Part,
        stored: &StoredPart,
        password: Option<&Password>,
        monitor: &Monitor,
    ) -> Result<Self> {
        let path = folder.join(stored.file.as_str());
        let reader = StoredReader::open(&path, password, monitor)?;
        let encryption = reader.encryption();
        let is_kept = entry.is_kept(part);
        let wrong = if (encryption == Encryption::None) == stored.file.is_encrypted() {
            Some(if stored.file.is_encrypted() {
                "it should be encrypted, and is not".into()
            } else {
                "it should not be encrypted, and is".into()
            })
        } else if encryption == Encryption::Z1 && entry.is_ours() && !is_kept {
            // Z1 knows no name and no time: any old file would do.
            Some(format!(
                "it is in Zotonic's old format, in which zbackup made no backup: not the {part} of this one"
            ))
        } else if encryption == Encryption::None && entry.is_encrypted && !is_kept {
            Some("the backup is listed as encrypted, and this file is not".into())
        } else if reader
            .context()
            .is_some_and(|context| context != part.context(&entry.name, entry.made_at(part)))
        {
            Some(format!(
                "it is another backup's file, or of another time: not the {part} of this one"
            ))
        } else {
            None
        };
        if let Some(reason) = wrong {
            return Err(Error::damaged(&path, reason));
        }
        Ok(Self {
            path,
            encryption,
            listed: stored.sha256,
            needs_hash: entry.is_ours() && !is_kept,
            decoder: MultiGzDecoder::new(BufReader::with_capacity(
                256 << 10,
                Hashed {
                    reader,
                    hasher: Sha256::new(),
                    // Only then is the inside another file than the outside.
                    wanted: encryption == Encryption::Z1,
                },
            )),
        })
    }

    /// How the file is encrypted.
    pub(crate) fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// What cannot be proven about the part, though nothing is wrong.
    pub(crate) fn note(&self) -> Option<&'static str> {
        match self.encryption {
            Encryption::Z1 => Some(
                "encrypted in Zotonic's old format, which has no integrity: only the hash in \
                 backup.json and gzip's own check speak for it",
            ),
            _ if self.listed.is_none() => Some("the list has no hash of it"),
            _ => None,
        }
    }

    /// The stored file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is left of the file, and proves that it is the one that the list names.
    ///
    /// # Errors
    /// `Damaged` when its hash is another one; as reading.
    pub(crate) fn finish(self) -> Result<()> {
        let Self {
            path,
            encryption,
            listed,
            needs_hash,
            decoder,
        } = self;
        let mut rest = decoder.into_inner();
        loop {
            let count = rest
                .fill_buf()
                .map_err(Error::io("cannot read", &path))?
                .len();
            if count == 0 {
                break;
            }
            rest.consume(count);
        }
        let Hashed { reader, hasher, .. } = rest.into_inner();
        let outside = reader.finish()?.sha256;
        let fits = match listed {
            None => !needs_hash,
            // Zotonic's own module hashes before it encrypts.
            Some(listed) => {
                listed == outside
                    || (encryption == Encryption::Z1 && listed == Sha256Hash::of(hasher))
            }
        };
        if fits {
            Ok(())
        } else {
            Err(Error::damaged(
                &path,
                "its hash is not that of the backup: it was changed or replaced",
            ))
        }
    }
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}

/// A stored file, and the hash of it as it was before it was encrypted.
struct Hashed {
    reader: StoredReader,
    hasher: Sha256,
    wanted: bool,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if self.wanted {
            self.hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}
