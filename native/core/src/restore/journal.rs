//! What a restore has come to, on the disk: whoever starts next finishes it or takes it back.

use super::place::mount;
use super::plan::Piece;
use crate::archive::STAGED;
use crate::database::TransactionId;
use crate::durable::{open_file, sync_folder, write_synced};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// In the backup folder.
pub(crate) const FILE_NAME: &str = ".restore.json";
const UNFINISHED: &str = ".restore.json.new";
/// The longest journal that is read, in bytes: some paths.
const LONGEST: u64 = 1 << 20;

/// A restore that is under way, or was when its process ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// Tells the folders of this restore from those of others.
    id: String,
    /// The backup's name, for messages.
    pub(super) backup: String,
    pub(super) state: State,
    /// What of the backup is restored.
    #[serde(default = "all_pieces")]
    pub(super) pieces: Vec<Piece>,
    /// What is staged, and where it belongs.
    pub(super) placements: Vec<Placement>,
    /// The restore that this one takes the place of when it is decided: nobody can tell what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) superseded: Option<Box<Journal>>,
}

fn all_pieces() -> Vec<Piece> {
    Piece::ALL.to_vec()
}

/// How far it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Nothing of the site has been touched.
    Staging,
    /// The database is being replaced in this transaction: its end decides about the rest.
    Loading(TransactionId),
    /// What is staged belongs to the site.
    Decided,
}

/// A staged folder, and the folder that its content is moved into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Placement {
    pub(super) staged: PathBuf,
    pub(super) target: PathBuf,
    /// All of it was moved.
    #[serde(default)]
    pub(super) is_placed: bool,
}

impl Journal {
    pub(super) fn new(backup: &str, pieces: &[Piece]) -> Result<Self> {
        let mut id = [0; 8];
        getrandom::fill(&mut id)
            .map_err(|error| Error::Internal(format!("no random numbers: {error}")))?;
        Ok(Self {
            id: hex::encode(id),
            backup: backup.to_owned(),
            state: State::Staging,
            pieces: pieces.to_vec(),
            placements: Vec::new(),
            superseded: None,
        })
    }

    /// Plans to stage what belongs into `target`, and says where. Beside the target, as far as that is in
    /// the same mount and may be written to; else inside of it.
    pub(super) fn stage(&mut self, target: &Path) -> PathBuf {
        let name = format!("{STAGED}{}-{}", self.id, self.placements.len());
        let beside = target.parent().filter(|parent| {
            let is_same = match (mount(parent), mount(target)) {
                (Some(parent), Some(target)) => parent == target,
                // It is made there.
                (Some(_), None) => true,
                _ => false,
            };
            is_same && may_write(parent)
        });
        let staged = beside.unwrap_or(target).join(name);
        self.placements.push(Placement {
            staged: staged.clone(),
            target: target.to_owned(),
            is_placed: false,
        });
        staged
    }

    /// The journal of a backup folder, when there is one.
    ///
    /// # Errors
    /// `Io`; `Damaged` when it is none, or names other folders than those of a restore into `targets`.
    pub(super) fn read(folder: &Path, targets: &[PathBuf]) -> Result<Option<Self>> {
        let path = folder.join(FILE_NAME);
        let mut text = Vec::new();
        match open_file(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("cannot read", &path)(error)),
        }
        let wrong = |reason: String| {
            Error::damaged(
                &path,
                format!("{reason}. It tells how far a restore was; remove it to give that up"),
            )
        };
        let journal: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let mut all = Vec::new();
        let mut next = Some(&journal);
        while let Some(journal) = next {
            all.extend(&journal.placements);
            next = journal.superseded.as_deref();
        }
        for placement in all {
            if !targets.contains(&placement.target) {
                return Err(wrong(format!(
                    "{} is no folder of this site",
                    placement.target.display()
                )));
            }
            let name = placement.staged.file_name().and_then(|name| name.to_str());
            let folder = placement.staged.parent();
            if !name.is_some_and(|name| name.starts_with(STAGED))
                || (folder != Some(&placement.target) && folder != placement.target.parent())
            {
                return Err(wrong(format!(
                    "{} is no folder of a restore",
                    placement.staged.display()
                )));
            }
        }
        Ok(Some(journal))
    }

    /// Puts the journal on the disk, in one step.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::Internal(format!("the journal of a restore: {error}")))?;
        let new = folder.join(UNFINISHED);
        write_synced(&new, &text)?;
        std::fs::rename(&new, folder.join(FILE_NAME)).map_err(Error::io("cannot rename", &new))?;
        sync_folder(folder)
    }

    /// Whether a restore has left anything in a backup folder.
    pub(super) fn is_there(folder: &Path) -> bool {
        let is_there = |name| folder.join(name).symlink_metadata().is_ok();
        [FILE_NAME, UNFINISHED].into_iter().any(is_there)
    }

    /// Removes it: the restore is over.
    pub(super) fn remove(folder: &Path) -> Result<()> {
        for name in [FILE_NAME, UNFINISHED] {
            let path = folder.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("cannot remove", &path)(error));
                }
                _ => {}
            }
        }
        sync_folder(folder)
    }
}

fn may_write(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}
