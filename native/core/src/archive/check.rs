//! Whether an unpacked stream is a whole tar archive, or a whole database dump.

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

/// Reads a dump in the plain format of `pg_dump` to its end, and checks that it has one: `pg_dump`
/// writes a last comment when all is written.
///
/// # Errors
/// `Structure` when it is not a whole dump; `Read`.
pub fn check_dump(stream: impl Read) -> Result<Contents, Incomplete> {
    let mut watch = DumpWatch::default();
    let mut stream = stream;
    let mut block = vec![0; 64 << 10];
    loop {
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(count) => watch.see(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    watch.finish().map_err(Incomplete::Structure)
}

/// Watches a dump go by, and knows in the end whether it was whole.
#[derive(Default)]
pub(crate) struct DumpWatch {
    start: Vec<u8>,
    line: Line,
    /// Between a `COPY … FROM stdin;` and its `\.` lines are data, whatever they look like.
    in_data: bool,
    /// The token of a `\restrict` line, which a whole dump takes back in its last line.
    restricted: Option<Vec<u8>>,
    /// How many lines of [`Self::END`] have been seen; all of them: this was the end.
    end: usize,
    goes_on: bool,
    lines: u64,
    bytes: u64,
}

/// The ends of a line, which may be longer than memory.
#[derive(Default)]
struct Line {
    start: Vec<u8>,
    last: Vec<u8>,
}

impl Line {
    const KEPT: usize = 256;
    const LAST: usize = 13;

    fn push(&mut self, part: &[u8]) {
        let room = Self::KEPT - self.start.len();
        self.start.extend(part.iter().take(room));
        let kept = part.len().min(Self::LAST);
        self.last.extend_from_slice(&part[part.len() - kept..]);
        let surplus = self.last.len().saturating_sub(Self::LAST);
        self.last.drain(..surplus);
    }

    fn clear(&mut self) {
        self.start.clear();
        self.last.clear();
    }
}

impl DumpWatch {
    const START: &'static [u8] = b"--\n-- PostgreSQL database dump\n--\n";
    const END: [&'static [u8]; 3] = [b"--", b"-- PostgreSQL database dump complete", b"--"];

    pub(crate) fn see(&mut self, data: &[u8]) {
        let room = Self::START.len().saturating_sub(self.start.len());
        self.start.extend(data.iter().take(room));
        self.bytes += data.len() as u64;
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(part) => {
                    self.line.push(part);
                    self.lines += 1;
                    self.end_line();
                    self.line.clear();
                }
                None => self.line.push(piece),
            }
        }
    }

    fn end_line(&mut self) {
        let line = self.line.start.as_slice();
        if self.in_data {
            self.in_data = line != b"\\.";
            return;
        }
        if self.end == Self::END.len() {
            let token = line.strip_prefix(b"\\unrestrict ");
            if line.is_empty() {
                return;
            } else if token.is_some() && token == self.restricted.as_deref() {
                self.restricted = None;
                return;
            }
            // It was somebody's text that looked like the end.
            self.end = 0;
            self.goes_on = true;
        }
        if line == Self::END[self.end] {
            self.end += 1;
        } else {
            // The first line of the end may be the second of something else.
            self.end = usize::from(line == Self::END[0]);
        }
        self.in_data = line.starts_with(b"COPY ") && self.line.last == b") FROM stdin;";
        // Right after its first lines; further down it would be somebody's text.
        if let Some(token) = line.strip_prefix(b"\\restrict ")
            && self.lines < 8
        {
            self.restricted = Some(token.to_vec());
        }
    }

    pub(crate) fn finish(mut self) -> Result<Contents, String> {
        if self.start != Self::START {
            return Err("it is not a dump of PostgreSQL: its first lines are others".into());
        }
        // What is left is a line without its end, which the last comment always has.
        if !self.line.start.is_empty() {
            if self.end == Self::END.len() {
                self.end_line();
            } else {
                self.end = 0;
            }
        }
        if self.end < Self::END.len() && self.goes_on {
            return Err("the dump goes on after its end".into());
        }
        if self.end < Self::END.len() || self.restricted.is_some() {
            return Err(format!(
                "the dump is cut off after {} bytes: its last line is not that of a whole dump",
                self.bytes
            ));
        }
        Ok(Contents {
            entries: self.lines,
            bytes: self.bytes,
        })
    }
}
