//! What is unpacked and not yet in its place: the tree, with folders that anything can be put into and
//! taken out of; and beside it a list of what the folders shall be in the end.

use rustix::fs::Timespec;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// The name of the tree.
pub(crate) const TREE: &str = "tree";

/// The name of the list.
const FOLDERS: &str = "folders";

/// In the tree, a symbolic link to here stands for an entry that was left out. No other link leads to
/// an absolute path.
pub(crate) const LEFT_OUT: &CStr = c"/dev/null";

/// What a folder shall be.
#[derive(Debug)]
pub(crate) struct FolderEntry {
    pub(crate) path: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) modified: Timespec,
}

/// The list when it is written.
pub(crate) struct FolderWriter(BufWriter<File>);

impl FolderWriter {
    pub(crate) fn create(staged: &Path) -> io::Result<Self> {
        let file = File::create_new(staged.join(FOLDERS))?;
        Ok(Self(BufWriter::new(file)))
    }

    pub(crate) fn put(&mut self, folder: &FolderEntry) -> io::Result<()> {
        self.0
            .write_all(&(folder.path.len() as u64).to_le_bytes())?;
        self.0.write_all(&folder.mode.to_le_bytes())?;
        self.0.write_all(&folder.modified.tv_sec.to_le_bytes())?;
        self.0.write_all(&folder.modified.tv_nsec.to_le_bytes())?;
        self.0.write_all(&folder.path)
    }

    /// Not safe on the disk yet.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The list when it is read.
pub(crate) struct FolderReader(BufReader<File>);

impl FolderReader {
    /// `None` when there is no list (any more).
    pub(crate) fn open(staged: &Path) -> io::Result<Option<Self>> {
        match File::open(staged.join(FOLDERS)) {
            Ok(file) => Ok(Some(Self(BufReader::new(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<FolderEntry>> {
        use std::io::BufRead;
        if self.0.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let length = u64::from_le_bytes(self.bytes()?);
        let mode = u32::from_le_bytes(self.bytes()?);
        let modified = Timespec {
            tv_sec: i64::from_le_bytes(self.bytes()?),
            tv_nsec: i64::from_le_bytes(self.bytes()?),
        };
        let mut path = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut path)?;
        if path.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(FolderEntry {
            path,
            mode,
            modified,
        }))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
