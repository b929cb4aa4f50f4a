//! Files and folders that are still there after the power went.

use crate::error::{Error, Result};
use std::fs::File;
use std::path::Path;

/// Makes the names in a folder (new, renamed, removed) safe on the disk.
///
/// # Errors
/// `Io`.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io("cannot write the folder", folder))
}
