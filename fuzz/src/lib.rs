//! What the fuzz targets have in common: a folder in memory, and what must hold around it.

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zbackup_core::error::Error;

/// A folder with a folder `here` to play in, and things beside it that must stay as they are.
pub struct Room(TempDir);

/// What lies beside, to be read and never touched.
const BESIDE: &str = "what is beside";

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Room {
    /// In memory, where the machine has that.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let room = Self(TempDir::with_prefix_in("zbackup-fuzz-", parent).unwrap());
        fs::write(room.path("outside"), BESIDE).unwrap();
        fs::create_dir(room.path("folder")).unwrap();
        fs::write(room.path("folder/outside"), BESIDE).unwrap();
        room.clear();
        room
    }

    /// A path in the room.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where to play.
    #[must_use]
    pub fn here(&self) -> PathBuf {
        self.path("here")
    }

    /// Makes it empty.
    ///
    /// # Panics
    /// When it cannot be emptied.
    pub fn clear(&self) {
        let here = self.here();
        if here.exists() {
            fs::remove_dir_all(&here).unwrap();
        }
        fs::create_dir(&here).unwrap();
    }

    /// Nothing was made, changed or removed beside it.
    ///
    /// # Panics
    /// When something was: that is a finding.
    pub fn check(&self) {
        for path in ["outside", "folder/outside"] {
            assert_eq!(
                fs::read_to_string(self.path(path)).unwrap(),
                BESIDE,
                "{path} was changed"
            );
        }
        assert_eq!(names(self.0.path()), ["folder", "here", "outside"]);
        assert_eq!(names(&self.path("folder")), ["outside"]);
    }
}

/// The names in a folder, in order.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What comes from outside is never our own fault, and what is said of it is not without end.
///
/// # Panics
/// When it is: that is a finding.
pub fn is_said_well(error: &Error) {
    assert!(!matches!(error, Error::Internal(_)), "{error}");
    assert!(
        error.to_string().len() < 100_000,
        "a message of {} bytes",
        error.to_string().len()
    );
}
