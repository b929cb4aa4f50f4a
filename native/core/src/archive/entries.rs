//! Reads a tar archive entry by entry, in any format that is about: old, POSIX (ustar, PAX) and GNU.
//!
//! Nothing in an archive decides how much memory is taken: what is held of it has a bound.

use super::Incomplete;
use super::fields::{Block, number, short_name, size, text};
use super::pax::{Pax, Sparse};
use rustix::fs::Timespec;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

/// The length of everything in an archive is a multiple of this.
pub(super) const BLOCK: u64 = 512;

/// The longest name, and the longest target of a link.
pub(super) const LONGEST_NAME: usize = 256 << 10;

/// Of the other properties that PAX knows, a program may write as much as this.
const LONGEST_PAX: u64 = 4 << 20;

/// Pieces of a file with holes.
const MOST_PIECES: usize = 1 << 20;

/// No number in a map is longer.
const MOST_DIGITS: u32 = 20;

/// What is wrong with an entry of 2⁶³ bytes: no file system takes that.
const NO_LENGTH: &str = "has a length that no file can have";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Folder,
    Device,
    Fifo,
    /// A letter that only some program knows.
    Other(u8),
}

/// An entry, and the properties of it that we keep.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Its path: names with single slashes between them, none of them `.` or `..`. Empty for the folder
    /// that was packed.
    pub(super) name: Vec<u8>,
    /// Where a link leads.
    pub(super) target: Vec<u8>,
    pub(super) mode: u32,
    pub(super) modified: Timespec,
    /// The length of the file.
    pub(super) length: u64,
    /// Where in the file the data of the archive belongs: offset and length of each piece. Between
    /// them are holes.
    pub(super) pieces: Vec<(u64, u64)>,
}

/// The entries of an archive.
pub(super) struct Entries<R> {
    stream: R,
    /// Bytes that were read.
    position: u64,
    /// Headers that were read; some entries have several.
    headers: u64,
    /// Of the data of this entry.
    left: u64,
    /// What fills its last block.
    padding: u64,
    /// The entry that this data is of.
    name: Vec<u8>,
}

impl<R: Read> Entries<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream,
            position: 0,
            headers: 0,
            left: 0,
            padding: 0,
            name: Vec::new(),
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn headers(&self) -> u64 {
        self.headers
    }

    /// The next entry; `None` at the end of the archive, which it has read then and found whole.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Incomplete> {
        let mut name = None;
        let mut target = None;
        let mut pax = None;
        loop {
            self.skip()?;
            let at = self.position;
            let Some(header) = self.header()? else {
                if name.is_some() || target.is_some() || pax.is_some() {
                    return Err(damage("the archive is cut off after a long name"));
                }
                return Ok(None);
            };
            let twice = || damage(format!("two names for one entry, at byte {at}"));
            match header[156] {
                b'L' => {
                    if name.replace(self.long_name(&header, at)?).is_some() {
                        return Err(twice());
                    }
                }
                b'K' => {
                    if target.replace(self.long_name(&header, at)?).is_some() {
                        return Err(twice());
                    }
                }
                b'x' | b'X' => {
                    self.begin(size(&header, at)?, at)?;
                    let data = self.all(LONGEST_PAX, at)?;
                    if pax.replace(Pax::parse(&data, at)?).is_some() {
                        return Err(twice());
                    }
                }
                b'g' => {
                    self.begin(size(&header, at)?, at)?;
                    let data = self.all(LONGEST_PAX, at)?;
                    if Pax::parse(&data, at)?.names_something() {
                        return Err(damage(format!("one name for all entries, at byte {at}")));
                    }
                }
                _ => {
                    let pax = pax.unwrap_or_default();
                    return self.entry(&header, name, target, pax, at).map(Some);
                }
            }
        }
    }

    /// Reads data of this entry, as much as there is of it and fits. There is some while pieces of the
    /// entry are not read.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Incomplete> {
        if self.left < buffer.len() as u64 {
            return Err(damage("an entry is shorter than it says"));
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let count = self.read(&mut buffer[filled..])?;
            if count == 0 {
                let name = shown(&self.name);
                return Err(damage(format!(
                    "the archive is cut off in the entry {name}"
                )));
            }
            filled += count;
        }
        self.left -= buffer.len() as u64;
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Block,
        name: Option<Vec<u8>>,
        target: Option<Vec<u8>>,
        pax: Pax,
        at: u64,
    ) -> Result<Entry, Incomplete> {
        let name = (pax.sparse_name.or(pax.path).or(name)).unwrap_or_else(|| short_name(header));
        let target = (pax.target.or(target)).unwrap_or_else(|| text(&header[157..257]).to_vec());
        self.name.clone_from(&name);
        if name.len() > LONGEST_NAME || target.len() > LONGEST_NAME {
            return Err(refused(&name, "has a name that is too long"));
        }
        let bad = |what: &str| refused(&name, &format!("has no {what} that could be read"));
        let mode = number(&header[100..108])
            .ok_or_else(|| bad("mode"))?
            .unwrap_or(0o600);
        let modified = match pax.modified {
            Some(time) => time,
            None => Timespec {
                tv_sec: number(&header[136..148])
                    .ok_or_else(|| bad("time"))?
                    .unwrap_or(0),
                tv_nsec: 0,
            },
        };
        let stored = match pax.size {
            Some(size) => size,
            None => size(header, at)?,
        };
        let is_no_length = |length: u64| i64::try_from(length).is_err();
        if is_no_length(stored) {
            return Err(refused(&name, NO_LENGTH));
        }
        let is_old_sparse = header[156] == b'S';
        let is_folder = name.last() == Some(&b'/');
        let kind = match header[156] {
            0 | b'0' | b'7' if is_folder && stored > 0 => {
                return Err(refused(&name, "is a file with the name of a folder"));
            }
            0 | b'0' | b'7' if is_folder => Kind::Folder,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' | b'D' => Kind::Folder,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        };
        let bad_map = |name: &[u8]| refused(name, "has a map of its holes that is not right");
        let (length, pieces) = if is_old_sparse {
            let length = number(&header[483..495]).flatten();
            let length = length.and_then(|length| u64::try_from(length).ok());
            let pieces = self.old_map(header, &name)?;
            self.begin(stored, at)?;
            (length.ok_or_else(|| bad_map(&name))?, pieces)
        } else if pax.sparse == Sparse::Mapped && kind == Kind::File {
            self.begin(stored, at)?;
            let pieces = self.map(&name)?;
            (pax.sparse_length.ok_or_else(|| bad_map(&name))?, pieces)
        } else if pax.sparse == Sparse::No {
            self.begin(stored, at)?;
            (stored, vec![(0, stored)])
        } else {
            return Err(refused(
                &name,
                "has holes in a format that only old versions of GNU tar write: unpack it with that, \
                 and pack it again",
            ));
        };
        if is_no_length(length) {
            return Err(refused(&name, NO_LENGTH));
        }
        let mut end = 0;
        let mut data = 0;
        for &(offset, piece) in &pieces {
            let next = offset.checked_add(piece).filter(|&end| end <= length);
            end = next
                .filter(|_| offset >= end)
                .ok_or_else(|| bad_map(&name))?;
            data += piece;
        }
        if data != self.left {
            return Err(bad_map(&name));
        }
        let name = match kind {
            // Not of a file: some programs store the title of the archive.
            Kind::Other(_) => name,
            _ => cleaned(&name).map_err(|why| refused(&name, why))?,
        };
        if target.contains(&0) {
            return Err(refused(&name, "has a NUL in the name that it links to"));
        }
        Ok(Entry {
            kind,
            target,
            mode: (mode & 0o7777) as u32,
            modified,
            length,
            pieces,
            name,
        })
    }

    /// GNU's old way of a file with holes: some pieces in the header, more in the blocks after it.
    fn old_map(&mut self, header: &Block, name: &[u8]) -> Result<Vec<(u64, u64)>, Incomplete> {
        let mut pieces = Vec::new();
        let mut push = |field: &[u8]| {
            let [offset, length] =
                [&field[..12], &field[12..24]].map(|field| -> Option<Option<u64>> {
                    number(field)?.map(u64::try_from).transpose().ok()
                });
            match (offset, length) {
                (Some(Some(offset)), Some(Some(length))) if pieces.len() < MOST_PIECES => {
                    pieces.push((offset, length));
                    Ok(())
                }
                (Some(None), _) | (_, Some(None)) => Ok(()),
                _ => Err(refused(name, "has a map of its holes that is not right")),
            }
        };
        for field in header[386..482].chunks(24) {
            push(field)?;
        }
        let mut goes_on = header[482] != 0;
        while goes_on {
            let mut block = [0; BLOCK as usize];
            if !self.block(&mut block)? {
                let name = shown(name);
                return Err(damage(format!(
                    "the archive is cut off in the entry {name}"
                )));
            }
            for field in block[..504].chunks(24) {
                push(field)?;
            }
            goes_on = block[504] != 0;
        }
        Ok(pieces)
    }

    /// The way of PAX: numbers in decimal, each on its line, before the data.
    fn map(&mut self, name: &[u8]) -> Result<Vec<(u64, u64)>, Incomplete> {
        let bad = || refused(name, "has a map of its holes that is not right");
        let mut numbers: Vec<u64> = Vec::new();
        let mut count = None;
        let mut digits = 0;
        let mut value: u64 = 0;
        loop {
            let mut block = [0; BLOCK as usize];
            self.fill(&mut block)?;
            for byte in block {
                match byte {
                    b'0'..=b'9' if digits == MOST_DIGITS => return Err(bad()),
                    b'0'..=b'9' => {
                        digits += 1;
                        value = value
                            .checked_mul(10)
                            .and_then(|value| value.checked_add(u64::from(byte - b'0')))
                            .ok_or_else(bad)?;
                        continue;
                    }
                    b'\n' if digits > 0 => {}
                    _ => return Err(bad()),
                }
                match count {
                    None if value > MOST_PIECES as u64 => return Err(bad()),
                    None => count = Some(2 * value as usize),
                    Some(_) => numbers.push(value),
                }
                (digits, value) = (0, 0);
                if count == Some(numbers.len()) {
                    // The rest of the block is filled up.
                    return Ok(numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect());
                }
            }
        }
    }

    fn long_name(&mut self, header: &Block, at: u64) -> Result<Vec<u8>, Incomplete> {
        self.begin(size(header, at)?, at)?;
        // With the NUL that ends it.
        let mut name = self.all(LONGEST_NAME as u64 + 1, at)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn all(&mut self, most: u64, at: u64) -> Result<Vec<u8>, Incomplete> {
        if self.left > most {
            return Err(damage(format!(
                "the entry at byte {at} has a name of {} bytes: that is too long",
                self.left
            )));
        }
        let mut data = vec![0; self.left as usize];
        self.fill(&mut data)?;
        Ok(data)
    }

    fn begin(&mut self, size: u64, at: u64) -> Result<(), Incomplete> {
        let end = size.checked_next_multiple_of(BLOCK);
        let end = end.filter(|end| self.position.checked_add(*end).is_some());
        let end = end.ok_or_else(|| damage(format!("the entry at byte {at} is too long")))?;
        self.left = size;
        self.padding = end - size;
        Ok(())
    }

    /// Passes over what is left of this entry.
    fn skip(&mut self) -> Result<(), Incomplete> {
        let mut left = self.left + self.padding;
        if left == 0 {
            return Ok(());
        }
        let mut rest = [0; 8192];
        while left > 0 {
            let most = left.min(rest.len() as u64);
            let count = self.read(&mut rest[..most as usize])?;
            if count == 0 {
                let name = shown(&self.name);
                return Err(damage(format!(
                    "the archive is cut off in the entry {name}"
                )));
            }
            left -= count as u64;
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Block>, Incomplete> {
        let at = self.position;
        let cut_off = |headers| {
            damage(format!(
                "the archive is cut off after {headers} entries: its end is missing"
            ))
        };
        let mut block = [0; BLOCK as usize];
        if !self.block(&mut block)? {
            return Err(cut_off(self.headers));
        }
        if block == [0; BLOCK as usize] {
            if !self.block(&mut block)? {
                return Err(cut_off(self.headers));
            }
            self.only_zeros(&block)?;
            return Ok(None);
        }
        let sum: i64 = block.iter().map(|&byte| i64::from(byte)).sum();
        let own: i64 = block[148..156].iter().map(|&byte| i64::from(byte)).sum();
        if number(&block[148..156]).flatten() != Some(sum - own + 8 * i64::from(b' ')) {
            return Err(damage(format!(
                "not a tar archive at byte {at}: the checksum of a header is wrong"
            )));
        }
        self.headers += 1;
        Ok(Some(block))
    }

    /// After its end an archive may be filled up.
    fn only_zeros(&mut self, first: &[u8]) -> Result<(), Incomplete> {
        let mut rest = [0; 8192];
        let mut is_zero = first.iter().all(|&byte| byte == 0);
        loop {
            if !is_zero {
                return Err(damage(format!(
                    "there is data after the end of the archive, before byte {}",
                    self.position
                )));
            }
            match self.read(&mut rest)? {
                0 => return Ok(()),
                count => is_zero = rest[..count].iter().all(|&byte| byte == 0),
            }
        }
    }

    /// `false` where the stream ends.
    fn block(&mut self, block: &mut Block) -> Result<bool, Incomplete> {
        let mut filled = 0;
        while filled < block.len() {
            match self.read(&mut block[filled..])? {
                0 => return Ok(false),
                count => filled += count,
            }
        }
        Ok(true)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Incomplete> {
        loop {
            match self.stream.read(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A name as a path below a folder.
///
/// # Errors
/// Why it is not one: half a sentence.
pub(super) fn cleaned(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.contains(&0) {
        return Err("has a NUL in its name");
    } else if name.is_empty() {
        return Err("has no name");
    } else if name[0] == b'/' {
        return Err("has an absolute path as its name");
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("has \"..\" in its name"),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// The entry of this name is not one that an honest program writes.
pub(super) fn refused(name: &[u8], why: &str) -> Incomplete {
    damage(format!("the entry {} {why}", shown(name)))
}

pub(super) fn damage(reason: impl Into<String>) -> Incomplete {
    Incomplete::Structure(reason.into())
}

/// A name in a message: on one line, and not all of it where it is long.
fn shown(name: &[u8]) -> String {
    const MOST: usize = 200;
    let text = OsStr::from_bytes(&name[..name.len().min(MOST)]).to_string_lossy();
    let more = if name.len() > MOST { " …" } else { "" };
    format!("{text:?}{more}")
}
