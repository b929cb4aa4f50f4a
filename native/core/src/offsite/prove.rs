//! Whether a file that came from a store is the one of its backup.

use super::{Known, hash_all, known};
use crate::catalog::{Entry, Part, StoredPart};
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use crate::part_reader::PartReader;
use crate::progress::Monitor;
use crate::secret::Password;
use crate::stream::{Encryption, StoredReader, seems};
use std::path::Path;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is the file of its backup.
    Proven,
    /// It may be, and why that is not sure.
    Unproven(&'static str),
    /// It is sealed with another password than is known here.
    Sealed,
    /// It is not, because.
    Wrong(&'static str),
}

/// Looks whether the file of a part, which is in `folder` and has this hash, is the one of its backup. What
/// this module encrypted is read with the password: the list that has its hash proves nothing against
/// whoever wrote the list.
///
/// # Errors
/// `Damaged`, `Io`, `Cancelled`.
pub(super) fn prove(
    folder: &Path,
    entry: &Entry,
    part: Part,
    stored: &StoredPart,
    hash: Sha256Hash,
    password: Option<&Password>,
    monitor: &Monitor,
) -> Result<Proof> {
    let path = folder.join(stored.file.as_str());
    let monitor = monitor.quiet();
    let encryption = seems(&path)?;
    if stored.file.is_encrypted() && encryption == Encryption::None {
        return Ok(Proof::Wrong("should be encrypted, and is not"));
    }
    if encryption == Encryption::Z1 && entry.is_ours() && !entry.is_kept(part) {
        return Ok(Proof::Wrong(
            "is in Zotonic's old format, in which zbackup made no backup: it is another file",
        ));
    }
    let by_list = match known(entry, part, stored, encryption) {
        Known::Hash(expected) if expected == hash => Proof::Proven,
        Known::Hash(_) => {
            Proof::Wrong("is not the file of this backup: it is of another night, or was changed")
        }
        // A newer Zotonic may hash what is stored.
        Known::Inside(expected) if expected == hash => Proof::Proven,
        Known::Inside(expected) => match password {
            None => Proof::Unproven(
                "made by Zotonic's own module, whose list has the hash of what is in the encrypted \
                 file: without the password nothing proves it",
            ),
            Some(password) => prove_inside(&path, expected, password, &monitor)?,
        },
        Known::Nothing => Proof::Unproven("without a hash in the list: nothing proves it"),
    };
    match (by_list, encryption, password) {
        (Proof::Wrong(_), _, _) | (_, Encryption::None | Encryption::Z1, _) | (_, _, None) => {
            Ok(by_list)
        }
        (_, Encryption::Z2, Some(password)) => {
            let opened = PartReader::open(folder, entry, part, stored, Some(password), &monitor);
            match opened.and_then(PartReader::finish) {
                Ok(()) => Ok(by_list),
                Err(Error::WrongPassword(_)) => Ok(Proof::Sealed),
                Err(Error::Damaged { .. }) => Ok(Proof::Wrong(
                    "does not authenticate as the file of this backup: it was sealed for another night or \
                     backup, or was changed",
                )),
                Err(error) => Err(error),
            }
        }
    }
}

/// Compares what is in an encrypted file.
fn prove_inside(
    path: &Path,
    expected: Sha256Hash,
    password: &Password,
    monitor: &Monitor,
) -> Result<Proof> {
    let inside = StoredReader::open_unhashed(path, Some(password), monitor)
        .and_then(|reader| hash_all(reader, path, monitor));
    match inside {
        Ok(inside) if inside == expected => Ok(Proof::Proven),
        Ok(_) => Ok(Proof::Wrong(
            "is not the file of this backup: what is in it is something else",
        )),
        Err(Error::WrongPassword(_)) => Ok(Proof::Unproven(
            "made by Zotonic's own module and encrypted with another password: nothing proves it",
        )),
        Err(error) => Err(error),
    }
}
