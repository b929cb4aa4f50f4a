//! Uploads that are under way, on the disk: whoever pushes next goes on with them, or tells the store to
//! forget them. Without it a kill would leave parts in the store that nobody sees and somebody pays for.
//!
//! A file of lines in the backup folder, one for each store. It is also the lock of that store: one push at
//! a time.

use crate::catalog::FILE_NAME;
use crate::durable::{NO_LINK, sync_folder};
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What is read of a journal, in bytes. Of a file in 10 000 parts, the most that a store takes, it has some MiB.
const LONGEST: u64 = 64 << 20;

/// An upload and the parts of it that are in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The file.
    pub(super) name: String,
    /// What the store calls the upload.
    pub(super) id: String,
    pub(super) sha256: Sha256Hash,
    pub(super) size: u64,
    pub(super) part_size: u64,
    #[serde(skip)]
    pub(super) parts: Vec<BegunPart>,
}

/// A part that is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BegunPart {
    /// From 0 on.
    pub(super) number: usize,
    /// What the store calls it.
    pub(super) id: String,
    /// The MD5 of what was sent, in hexadecimal: the file here may be another one by now.
    pub(super) md5: String,
    /// Whether the store has proven that it has the right bytes.
    pub(super) is_proven: bool,
}

/// An upload of which it is not known what the store calls it, or whether it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beginning {
    /// The file.
    pub(super) name: String,
    /// When the store was told, in seconds since 1970.
    #[serde(default)]
    pub(super) at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The store is about to be told. What it calls the upload is not known yet.
    Beginning(Beginning),
    Begun(Begun),
    Part {
        id: String,
        part: BegunPart,
    },
    /// Completed or forgotten.
    Ended {
        id: String,
    },
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    left: Left,
}

/// What is under way, or was when a push was killed.
#[derive(Debug, Default)]
struct Left {
    begun: Vec<Begun>,
    /// What may be in the store.
    beginning: Vec<Beginning>,
}

impl Journal {
    /// Opens the journal of the store `id`, alone.
    pub(super) fn open(folder: &Path, id: &str) -> Result<Self> {
        // A name as the list has it: a folder with this in it is still one of backups.
        let path = folder.join(format!("{FILE_NAME}.upload-{id}"));
        let fail = |error| Error::io("cannot write", &path)(error);
        let mut file = loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(NO_LINK)
                .open(&path)
                .map_err(fail)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Error::Pushing(folder.to_owned())),
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
            // Its last holder may have removed it between our opening and our locking.
            let ours = file.metadata().map_err(fail)?.ino();
            if path.metadata().is_ok_and(|there| there.ino() == ours) {
                break file;
            }
        };
        let mut bytes = Vec::new();
        (&mut file)
            .take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(Error::io("cannot read", &path))?;
        // What is not text is no journal: nothing can be taken up from it.
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let mut journal = Self {
            left: read(text),
            path,
            file,
        };
        if (bytes.len() as u64) < LONGEST && journal.left.text()? == bytes {
            sync_folder(folder)?;
        } else {
            journal.rewrite()?;
        }
        Ok(journal)
    }

    /// The uploads that were not ended.
    pub(super) fn begun(&self) -> &[Begun] {
        &self.left.begun
    }

    /// What may be in the store and is not known here.
    pub(super) fn beginning(&self) -> &[Beginning] {
        &self.left.beginning
    }

    /// Before the store is told.
    pub(super) fn beginning_of(&mut self, name: &str) -> Result<()> {
        let beginning = Beginning {
            name: name.to_owned(),
            at: Some(Timestamp::now().as_second()),
        };
        self.left.beginning.push(beginning.clone());
        self.write(&Line::Beginning(beginning))?;
        self.sync()
    }

    /// No upload of the file is in the store that is not known here.
    pub(super) fn searched(&mut self, name: &str) -> Result<()> {
        self.left.beginning.retain(|other| other.name != name);
        self.rewrite()
    }

    pub(super) fn begin(&mut self, begun: Begun) -> Result<()> {
        self.write(&Line::Begun(begun.clone()))?;
        self.sync()?;
        self.left.beginning.retain(|other| other.name != begun.name);
        self.left.begun.push(begun);
        Ok(())
    }

    pub(super) fn part(&mut self, id: &str, part: BegunPart) -> Result<()> {
        self.write(&Line::Part {
            id: id.to_owned(),
            part,
        })
    }

    pub(super) fn end(&mut self, id: &str) -> Result<()> {
        self.left.begun.retain(|begun| begun.id != id);
        if self.left.is_empty() {
            self.rewrite()
        } else {
            self.write(&Line::Ended { id: id.to_owned() })
        }
    }

    /// Writes what is left, in the place of all: at each moment the one or the other is on the disk.
    fn rewrite(&mut self) -> Result<()> {
        let text = self.left.text()?;
        let mut path = self.path.clone().into_os_string();
        path.push(".new");
        let path = PathBuf::from(path);
        let fail = |error| Error::io("cannot write", &path)(error);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(NO_LINK)
            .open(&path)
            .map_err(fail)?;
        // Before others can find it. Nobody else has it: they hold the lock of the old one first.
        file.lock().map_err(fail)?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&path, &self.path))
            .map_err(fail)?;
        self.file = file;
        sync_folder(self.path.parent().unwrap_or(&self.path))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        self.file
            .write_all(&line.text()?)
            .map_err(Error::io("cannot write", &self.path))
    }

    fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(Error::io("cannot write", &self.path))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // While it is locked: whoever opens it now sees that it is gone, and makes a new one.
        if self.left.is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Line {
    fn text(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)
            .map_err(|error| Error::Internal(format!("the journal of uploads: {error}")))?;
        text.push(b'\n');
        Ok(text)
    }
}

impl Left {
    /// The lines that say this.
    fn text(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for beginning in self.beginning.clone() {
            text.extend(Line::Beginning(beginning).text()?);
        }
        for begun in self.begun.clone() {
            let id = begun.id.clone();
            let parts = begun.parts.clone();
            text.extend(Line::Begun(begun).text()?);
            for part in parts {
                let id = id.clone();
                text.extend(Line::Part { id, part }.text()?);
            }
        }
        Ok(text)
    }

    fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.beginning.is_empty()
    }
}

/// What the journal of the store `id` says, after it was opened as a push does; for the fuzz targets.
///
/// # Errors
/// As a push has them.
#[doc(hidden)]
pub fn uploads_under_way(folder: &Path, id: &str) -> Result<String> {
    let journal = Journal::open(folder, id)?;
    Ok(format!("{:?}", journal.left))
}

/// What the lines say. The last may be cut off.
fn read(text: &str) -> Left {
    let mut left = Left::default();
    let all = &mut left.begun;
    for line in text
        .lines()
        .map_while(|line| serde_json::from_str(line).ok())
    {
        match line {
            Line::Beginning(beginning) => left.beginning.push(beginning),
            Line::Begun(begun) => {
                left.beginning.retain(|other| other.name != begun.name);
                all.push(begun);
            }
            Line::Part { id, part } => {
                if let Some(begun) = all.iter_mut().find(|begun| begun.id == id) {
                    begun.parts.retain(|other| other.number != part.number);
                    begun.parts.push(part);
                }
            }
            Line::Ended { id } => all.retain(|begun| begun.id != id),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn begun(id: &str) -> Begun {
        Begun {
            name: "site-3.sql.gz".into(),
            id: id.into(),
            sha256: Sha256Hash::try_from("0".repeat(64)).unwrap(),
            size: 9,
            part_size: 5,
            parts: Vec::new(),
        }
    }

    fn names(journal: &Journal) -> Vec<&str> {
        let beginning = journal.beginning().iter();
        beginning.map(|beginning| beginning.name.as_str()).collect()
    }

    #[test]
    fn what_was_begun_and_not_ended_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Journal::open(folder.path(), "store");
        let mut journal = open().unwrap();
        journal.beginning_of("site-3.sql.gz").unwrap();
        journal.begin(begun("a")).unwrap();
        journal.beginning_of("other").unwrap();
        journal.begin(begun("b")).unwrap();
        let second = BegunPart {
            number: 1,
            id: "second".into(),
            md5: "0".repeat(32),
            is_proven: true,
        };
        journal.part("b", second.clone()).unwrap();
        journal.end("a").unwrap();
        assert!(matches!(open(), Err(Error::Pushing(_))));
        drop(journal);
        // A kill in the middle of a line.
        let path = folder.path().join("backup.json.upload-store");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"part\":{\"id\":\"b\",\"num");
        std::fs::write(&path, text).unwrap();
        let mut journal = open().unwrap();
        let mut expected = begun("b");
        expected.parts.push(second);
        assert_eq!(journal.begun(), [expected]);
        assert_eq!(names(&journal), ["other"]);
        journal.searched("other").unwrap();
        journal.end("b").unwrap();
        drop(journal);
        assert!(!path.exists());
    }

    #[test]
    fn a_journal_without_end_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Journal::open(folder.path(), "store");
        let mut journal = open().unwrap();
        journal.begin(begun("a")).unwrap();
        drop(journal);
        let path = folder.path().join("backup.json.upload-store");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(open().unwrap().begun(), [begun("a")]);
        assert!(path.metadata().unwrap().len() < 1000);
    }

    #[test]
    fn a_journal_that_cannot_be_written_anew_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Journal::open(folder.path(), "store");
        let mut journal = open().unwrap();
        journal.beginning_of("other").unwrap();
        journal.begin(begun("a")).unwrap();
        // As a full disk would keep it from being written.
        let new = folder.path().join("backup.json.upload-store.new");
        std::fs::create_dir(&new).unwrap();
        assert!(journal.searched("other").is_err());
        drop(journal);
        std::fs::remove_dir(&new).unwrap();
        let journal = open().unwrap();
        assert_eq!(journal.begun(), [begun("a")]);
        assert_eq!(names(&journal), ["other"]);
        // And locked, though it was written anew.
        let mut journal = journal;
        journal.searched("other").unwrap();
        assert!(matches!(open(), Err(Error::Pushing(_))));
        journal.end("a").unwrap();
        drop(journal);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
