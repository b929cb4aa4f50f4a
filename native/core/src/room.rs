//! Whether there is room, before the long work begins.

use crate::error::{Error, Result};
use std::os::fd::AsFd;
use std::path::Path;

/// Kept free beside what is needed, for the lists and journals, in bytes.
const SLACK: u64 = 1 << 20;

/// Kept free of what somebody else sends, in bytes: others, the database mostly, write to the same disk.
const MOST_RESERVE: u64 = 1 << 30;
/// The same on a small disk: one in so many bytes.
const RESERVE_PART: u64 = 20;

/// Whether `needed` bytes fit on the file system of `folder`, which may not be there yet.
///
/// # Errors
/// `NoRoom` when they do not. Where the file system does not tell, it is tried.
pub(crate) fn check(folder: &Path, needed: u64) -> Result<()> {
    check_with(folder, needed, |_| SLACK)
}

/// The same, with something left for others after it.
///
/// # Errors
/// As of [`check`].
pub(crate) fn check_with_reserve(folder: &Path, needed: u64) -> Result<()> {
    check_with(folder, needed, reserve)
}

/// How much fits on the file system of `folder`, with something left for others after it; where it tells.
pub(crate) fn left(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let all = system.f_blocks.saturating_mul(system.f_frsize);
    (system.f_blocks > 0).then(|| free.saturating_sub(reserve(all)))
}

/// What is to be left of a file system of so many bytes.
fn reserve(all: u64) -> u64 {
    (all / RESERVE_PART).clamp(SLACK, MOST_RESERVE)
}

fn check_with(folder: &Path, needed: u64, slack: impl Fn(u64) -> u64) -> Result<()> {
    let there = folder
        .ancestors()
        .find(|above| above.is_dir())
        .unwrap_or(Path::new("."));
    match rustix::fs::statvfs(there) {
        Ok(system) => fits(&system, folder, needed, slack),
        Err(_) => Ok(()),
    }
}

/// The same of a folder that is open, and called `path` in messages.
pub(crate) fn check_in(folder: impl AsFd, path: &Path, needed: u64) -> Result<()> {
    match rustix::fs::fstatvfs(folder) {
        Ok(system) => fits(&system, path, needed, |_| SLACK),
        Err(_) => Ok(()),
    }
}

fn fits(
    system: &rustix::fs::StatVfs,
    folder: &Path,
    needed: u64,
    slack: impl Fn(u64) -> u64,
) -> Result<()> {
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    // A file system without blocks of its own, as FUSE can have, says that nothing is free.
    let all = system.f_blocks.saturating_mul(system.f_frsize);
    let needed = needed.saturating_add(slack(all));
    if system.f_blocks > 0 && free < needed {
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
        let left = left(folder.path()).unwrap();
        assert!(left > 0 && left < u64::MAX / 2, "{left}");
        let error = check(folder.path(), u64::MAX / 2).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::NoSpace);
        assert!(error.to_string().contains("free"), "{error}");
    }

    #[test]
    fn what_others_send_leaves_some() {
        assert_eq!(reserve(40 << 30), 1 << 30);
        assert_eq!(reserve(1 << 30), (1 << 30) / 20);
        assert_eq!(reserve(0), SLACK);
        let folder = tempfile::tempdir().unwrap();
        let system = rustix::fs::statvfs(folder.path()).unwrap();
        let free = system.f_bavail * system.f_frsize;
        let most = free - reserve(system.f_blocks * system.f_frsize) / 2;
        check(folder.path(), most).unwrap();
        check_with_reserve(folder.path(), most).unwrap_err();
    }
}
