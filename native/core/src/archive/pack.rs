//! Folders and files into a tar archive (the GNU format, which every `tar` reads).
//!
//! A file is what it was when it was opened: its entry keeps the length that was declared then,
//! whatever happens to the file while it is read.

use super::Skipped;
use super::entries::LONGEST_NAME;
use super::tree::{Node, length, unreadable, walk};
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::stream::StreamWriter;
use crate::way;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use tar::{EntryType, Header};

const BLOCK: u64 = 512;

/// How much of a path that is too long is reported.
const LONGEST_SHOWN: usize = 1000;

/// Writes an archive into a stream.
pub(crate) struct Packer<'a> {
    out: &'a mut StreamWriter,
    monitor: &'a Monitor,
    skipped: Vec<Skipped>,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(out: &'a mut StreamWriter, monitor: &'a Monitor) -> Self {
        Self {
            out,
            monitor,
            skipped: Vec::new(),
        }
    }

    /// Adds what is in the folder `root`, each thing under its path there with `prefix` before it; and
    /// the folder itself as `prefix`, when there is one.
    ///
    /// # Errors
    /// When the folder cannot be read or the stream not be written. What is in the folder and cannot
    /// be read does not stop the archive; it is reported by [`Packer::finish`].
    pub(crate) fn folder(&mut self, root: &Path, prefix: &[u8]) -> Result<()> {
        let top = way::open(root, way::FOLDER)?;
        let mut name = prefix.to_vec();
        if !prefix.is_empty() {
            let stat = fstat(&top)
                .map_err(|errno| Error::io("cannot read the folder", root)(errno.into()))?;
            self.header(EntryType::Directory, &stat, prefix, 0, b"")?;
        }
        let unread = walk(&top, root, &mut |node| {
            name.truncate(prefix.len());
            name.extend_from_slice(node.path);
            self.node(node, &name)
        })?;
        let start = String::from_utf8_lossy(prefix);
        let unread = unread.into_iter().map(|skipped| Skipped {
            path: format!("{start}{}", skipped.path),
            ..skipped
        });
        self.skipped.extend(unread);
        Ok(())
    }

    /// Adds the file at `path` as `name`. A symbolic link is followed: its target was asked for.
    ///
    /// # Errors
    /// When it cannot be opened: this one was asked for by its name.
    pub(crate) fn file(&mut self, path: &Path, name: &[u8]) -> Result<()> {
        let file = way::open(path, way::FILE)?;
        let stat = fstat(&file).map_err(|errno| Error::io("cannot read", path)(errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::Usage(format!("{} is not a file", path.display())));
        }
        self.contents(file.into(), &stat, name)
    }

    /// Ends the archive. What it does not have as it was is in the answer.
    ///
    /// # Errors
    /// When the stream cannot be written.
    pub(crate) fn finish(self) -> Result<Vec<Skipped>> {
        zeros(self.out, 2 * BLOCK)?;
        Ok(self.skipped)
    }

    fn node(&mut self, node: &Node<'_>, name: &[u8]) -> Result<()> {
        self.monitor.check()?;
        if name.len() > LONGEST_NAME {
            // Not in full: there may be many of them.
            let start = &name[..LONGEST_SHOWN];
            let reason = "its path is too long to be restored";
            self.skipped.push(Skipped::new(start, reason));
            return Ok(());
        }
        let odd = |kind: &str| Skipped::new(name, format!("it is a {kind}, not a file"));
        match node.file_type() {
            FileType::Directory => {
                let mut name = name.to_vec();
                name.push(b'/');
                self.header(EntryType::Directory, &node.stat, &name, 0, b"")
            }
            FileType::RegularFile => {
                // Should it have become a FIFO by now, opening it does not wait for a writer.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = openat(node.folder, node.name, flags, Mode::empty())
                    .and_then(|file| Ok((fstat(&file)?, file)));
                match opened {
                    Ok((stat, file))
                        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile =>
                    {
                        self.contents(file.into(), &stat, name)
                    }
                    Ok(_) => {
                        self.skipped
                            .push(Skipped::new(name, "it was replaced by another thing"));
                        Ok(())
                    }
                    Err(errno) => {
                        self.skipped.push(unreadable(name, errno));
                        Ok(())
                    }
                }
            }
            FileType::Symlink => match readlinkat(node.folder, node.name, Vec::new()) {
                Ok(target) => {
                    self.header(EntryType::Symlink, &node.stat, name, 0, target.to_bytes())
                }
                Err(errno) => {
                    self.skipped.push(unreadable(name, errno));
                    Ok(())
                }
            },
            FileType::Socket => {
                self.skipped.push(odd("socket"));
                Ok(())
            }
            FileType::Fifo => {
                self.skipped.push(odd("FIFO"));
                Ok(())
            }
            _ => {
                self.skipped.push(odd("device"));
                Ok(())
            }
        }
    }

    fn contents(&mut self, mut file: File, stat: &Stat, name: &[u8]) -> Result<()> {
        let declared = length(stat);
        self.header(EntryType::Regular, stat, name, declared, b"")?;
        let mut came = 0;
        let mut failure = None;
        while came < declared {
            let most = (declared - came).min(crate::stream::BLOCK as u64);
            let (count, error) = self.out.fill_from(&mut file, most)?;
            came += count;
            failure = error;
            self.monitor.add(count)?;
            if count == 0 || failure.is_some() {
                break;
            }
        }
        let missing = declared - came;
        let mut lacking = missing;
        while lacking > 0 {
            let now = lacking.min(crate::stream::BLOCK as u64);
            zeros(self.out, now)?;
            self.monitor.add(now)?;
            lacking -= now;
        }
        zeros(self.out, declared.next_multiple_of(BLOCK) - declared)?;
        let reason = match (failure, fstat(&file)) {
            (Some(error), _) => Some(format!(
                "it became unreadable ({error}): its last {missing} bytes are zeros in the backup"
            )),
            (None, _) if missing > 0 => Some(format!(
                "it shrank while it was read: its last {missing} bytes are zeros in the backup"
            )),
            (None, Ok(now)) if length(&now) > declared => Some(format!(
                "it grew while it was read: its first {declared} bytes are in the backup"
            )),
            (None, Ok(now)) if now.st_nlink == 0 => {
                Some("it was removed while it was read: it is in the backup".into())
            }
            (None, Ok(now))
                if (now.st_mtime, now.st_mtime_nsec) != (stat.st_mtime, stat.st_mtime_nsec) =>
            {
                Some("it was changed while it was read".into())
            }
            _ => None,
        };
        self.skipped
            .extend(reason.map(|reason| Skipped::new(name, reason)));
        Ok(())
    }

    fn header(
        &mut self,
        kind: EntryType,
        stat: &Stat,
        name: &[u8],
        size: u64,
        target: &[u8],
    ) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_size(size);
        set_mtime(&mut header, stat.st_mtime);
        self.long(EntryType::GNULongName, name)?;
        self.long(EntryType::GNULongLink, target)?;
        let old = header.as_old_mut();
        copy_start(&mut old.name, name);
        copy_start(&mut old.linkname, target);
        self.put_header(header)
    }

    /// GNU's way of a name that does not fit into a header: an entry before it that holds the name.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> Result<()> {
        const FITS: usize = 100;
        if name.len() <= FITS {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        copy_start(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let size = name.len() as u64 + 1;
        header.set_size(size);
        self.put_header(header)?;
        put(self.out, name)?;
        zeros(self.out, size.next_multiple_of(BLOCK) - size + 1)
    }

    fn put_header(&mut self, mut header: Header) -> Result<()> {
        header.set_cksum();
        put(self.out, header.as_bytes())
    }
}

fn copy_start(field: &mut [u8; 100], bytes: &[u8]) {
    let count = bytes.len().min(field.len());
    field[..count].copy_from_slice(&bytes[..count]);
}

/// A time before 1970 is written as GNU tar does it: base-256, two's complement.
fn set_mtime(header: &mut Header, seconds: i64) {
    match u64::try_from(seconds) {
        Ok(seconds) => header.set_mtime(seconds),
        Err(_) => {
            let field = &mut header.as_old_mut().mtime;
            field.fill(0xff);
            field[4..].copy_from_slice(&seconds.to_be_bytes());
        }
    }
}

fn zeros(out: &mut StreamWriter, mut count: u64) -> Result<()> {
    const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    while count > 0 {
        let now = count.min(ZEROS.len() as u64);
        put(out, &ZEROS[..now as usize])?;
        count -= now;
    }
    Ok(())
}

fn put(out: &mut StreamWriter, bytes: &[u8]) -> Result<()> {
    // The stream's own errors, which know the path.
    out.write_all(bytes)
        .map_err(|error: io::Error| Error::io("cannot write", Path::new("the archive"))(error))
}
