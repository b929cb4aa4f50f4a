//! Whether an unpacked stream is a whole tar archive.

use serde::Serialize;
use std::io::{self, Read};

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

const BLOCK: u64 = 512;

/// Reads a tar archive to its end: every header with its checksum, all of every file, the two zero
/// blocks that end it, and nothing but zeros after them.
///
/// # Errors
/// `Structure` with the place where it is not an archive; `Read`.
pub fn check_tar(stream: impl Read) -> Result<Contents, Incomplete> {
    let mut stream = Counted { stream, count: 0 };
    let mut entries = 0;
    // Where the header after the last entry should be.
    let mut end = 0;
    let mut archive = tar::Archive::new(&mut stream);
    // Raw entries are read as they are: a long name is not held in memory.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry.map_err(|error| not_tar(error, end))?;
        let declared = entry.size();
        let start = entry.raw_file_position();
        let came = io::copy(&mut entry, &mut io::sink()).map_err(|error| not_tar(error, end))?;
        end = start
            .checked_add(declared)
            .and_then(|end| end.checked_next_multiple_of(BLOCK))
            .ok_or_else(|| Incomplete::Structure(format!("the entry at byte {end} is too long")))?;
        if came < declared {
            return Err(Incomplete::Structure(format!(
                "the archive is cut off in the entry whose data starts at byte {start}"
            )));
        }
        entries += 1;
    }
    let mut rest = [0; 8192];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => break,
            Ok(count) if rest[..count].iter().all(|&byte| byte == 0) => {}
            Ok(_) => {
                return Err(Incomplete::Structure(format!(
                    "there is data after the end of the archive, before byte {}",
                    stream.count
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if stream.count < end + 2 * BLOCK {
        return Err(Incomplete::Structure(format!(
            "the archive is cut off after {entries} entries: its end is missing"
        )));
    }
    Ok(Contents {
        entries,
        bytes: stream.count,
    })
}

fn not_tar(error: io::Error, at: u64) -> Incomplete {
    // Errors of the stream below are not about the archive.
    if error
        .get_ref()
        .is_some_and(|inner| inner.is::<crate::error::Error>())
    {
        return Incomplete::Read(error);
    }
    Incomplete::Structure(format!("not a tar archive at byte {at}: {error}"))
}

struct Counted<R> {
    stream: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}
