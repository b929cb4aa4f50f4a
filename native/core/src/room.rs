//! Whether there is room, before the long work begins.

use crate::error::{Error, Result};
use std::os::fd::AsFd;
use std::path::Path;

/// Kept free beside what is needed, for the lists and journals, in bytes.
const SLACK: u64 = 1 << 20;

/// Whether `needed` bytes fit on the file system of `folder`, which may not be there yet.
///
/// # Errors
/// `NoRoom` when they do not. Where the file system does not tell, it is tried.
pub(crate) fn check(folder: &Path, needed: u64) -> Result<()> {
    let there = folder
        .ancestors()
        .find(|above| above.is_dir())
        .unwrap_or(Path::new("."));
    match rustix::fs::statvfs(there) {
        Ok(system) => fits(&system, folder, needed),
        Err(_) => Ok(()),
    }
}

/// The same of a folder that is open, and called `path` in messages.
pub(crate) fn check_in(folder: impl AsFd, path: &Path, needed: u64) -> Result<()> {
    match rustix::fs::fstatvfs(folder) {
        Ok(system) => fits(&system, path, needed),
        Err(_) => Ok(()),
    }
}

fn fits(system: &rustix::fs::StatVfs, folder: &Path, needed: u64) -> Result<()> {
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    // A file system without blocks of its own, as FUSE can have, says that nothing is free.
    if system.f_blocks > 0 && free < needed.saturating_add(SLACK) {
        return Err(Error::NoRoom {
            folder: folder.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_fits_passes_and_what_does_not_is_told() {
        let folder = tempfile::tempdir().unwrap();
        check(&folder.path().join("not/there/yet"), 1).unwrap();
        let error = check(folder.path(), u64::MAX / 2).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::NoSpace);
        assert!(error.to_string().contains("free"), "{error}");
    }
}
