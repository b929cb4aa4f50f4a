//! The parts of a file: how they are read, sent, and proven to have arrived.

use super::super::journal::Begun;
use super::super::store::{Store, is_unknown_upload};
use super::super::transport::Fault;
use super::{MOST_BREAKS, is_broken};
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use crate::priority;
use crate::progress::Monitor;
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use md5::Md5;
use object_store::multipart::PartId;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How often a part that arrived otherwise than it was sent is sent again.
const MOST_DAMAGES: u32 = 4;

/// A part of a file that is to be sent.
pub(super) struct Piece {
    pub(super) number: usize,
    pub(super) bytes: Bytes,
    /// In hexadecimal.
    pub(super) md5: String,
}

pub(super) type Pieces = mpsc::Receiver<Result<Piece>>;

/// Reads a file in pieces, on a thread of its own; and the hash of it, after the last. Pieces that are in the
/// store as they are here are left out.
pub(super) fn read(
    mut file: File,
    path: &Path,
    begun: &Begun,
    monitor: &Monitor,
) -> Result<(Pieces, oneshot::Receiver<Sha256Hash>)> {
    let (send, receive) = mpsc::channel(1);
    let (tell, told) = oneshot::channel();
    let path = path.to_owned();
    let part_size = begun.part_size;
    let size = begun.size;
    let there: HashMap<usize, String> = begun
        .parts
        .iter()
        .map(|part| (part.number, part.md5.clone()))
        .collect();
    let monitor = monitor.clone();
    priority::spawn("upload", move || {
        let mut hasher = Sha256::new();
        let mut work = || {
            // One byte more shows that it has grown: its hash is another then.
            let mut left = size.saturating_add(1);
            for number in 0.. {
                let mut bytes =
                    Vec::with_capacity(usize::try_from(part_size.min(left)).unwrap_or(0));
                let count = (&mut file)
                    .take(part_size.min(left))
                    .read_to_end(&mut bytes)
                    .map_err(Error::io("cannot read", &path))? as u64;
                left -= count;
                if count == 0 {
                    break;
                }
                hasher.update(&bytes);
                let md5 = hex::encode(Md5::digest(&bytes));
                if there.get(&number) == Some(&md5) {
                    monitor.add(count)?;
                    continue;
                }
                let piece = Piece {
                    number,
                    md5,
                    bytes: bytes.into(),
                };
                if send.blocking_send(Ok(piece)).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        };
        match work() {
            Ok(()) => drop(tell.send(Sha256Hash::of(hasher))),
            Err(error) => drop(send.blocking_send(Err(error))),
        }
    })?;
    Ok((receive, told))
}

/// Uploads a part: what the store calls it, and whether it has proven that it has the right bytes. `None`
/// when it does not know the upload. A store that twice says the same, and not what the part is, says that of
/// each of them: the next are sent once.
pub(super) async fn part(
    store: &Store,
    begun: &Begun,
    piece: &Piece,
    proves_nothing: &Cell<bool>,
) -> Result<Option<(PartId, bool)>> {
    let doing = format!("cannot upload {} to", begun.name);
    let mut damages = 0;
    let mut breaks = 0;
    let mut said = None;
    let began = Instant::now();
    loop {
        let sent = store
            .part(&begun.name, &begun.id, piece.number, piece.bytes.clone())
            .await;
        match sent {
            Ok(id) if is_of(&id, piece) => return Ok(Some((id, true))),
            // Either a damage on the way, or the ETags of this store are not MD5.
            Ok(id) => {
                let is_again = said.as_ref() == Some(&id.content_id);
                proves_nothing.set(proves_nothing.get() || is_again);
                if proves_nothing.get() || damages == MOST_DAMAGES / 2 {
                    return Ok(Some((id, false)));
                }
                damages += 1;
                said = Some(id.content_id);
            }
            Err(error) if is_unknown_upload(&error) => return Ok(None),
            Err(error) if is_damage(&error) && damages < MOST_DAMAGES => damages += 1,
            // A connection that broke in the middle is not always taken for one; and on a slow line the
            // patience of a request can end with its first try.
            Err(error)
                if is_broken(&error)
                    && (breaks < MOST_BREAKS || began.elapsed() < store.patience) =>
            {
                breaks += 1;
            }
            Err(error) => return Err(store.fail(&doing, &error)),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether the store says no because something else arrived than was signed.
fn is_damage(error: &object_store::Error) -> bool {
    const CODES: [&str; 6] = [
        "BadDigest",
        "InvalidDigest",
        "IncompleteBody",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "SignatureDoesNotMatch",
    ];
    match Fault::of(error) {
        Some(Fault::Refused { status, code, .. }) => {
            CODES.contains(&code.as_str()) || *status == 400
        }
        _ => false,
    }
}

/// Whether what the store says of a part proves that it has the bytes of this piece: a checksum that it
/// made, or the MD5 that the ETag mostly is.
fn is_of(id: &PartId, piece: &Piece) -> bool {
    // `object_store` makes an element of it when there is a checksum, else it is the ETag.
    let told = |name: &str| {
        let (_, rest) = id.content_id.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    if let Some(checksum) = told("checksum_sha256") {
        return checksum == BASE64_STANDARD.encode(Sha256::digest(&piece.bytes));
    }
    let e_tag = told("e_tag").unwrap_or(&id.content_id);
    let e_tag = e_tag.replace("&quot;", "").replace('"', "");
    e_tag.eq_ignore_ascii_case(&piece.md5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_or_an_etag_proves_a_part() {
        let id = |text: &str| PartId {
            content_id: text.into(),
        };
        let piece = |bytes: &'static [u8]| Piece {
            number: 0,
            md5: hex::encode(Md5::digest(bytes)),
            bytes: Bytes::from_static(bytes),
        };
        // MD5 and SHA-256 of "abc", from RFC 1321 and FIPS 180-2.
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        let sha256 = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        assert!(is_of(&id(md5), &piece(b"abc")));
        assert!(is_of(&id(&format!("\"{md5}\"")), &piece(b"abc")));
        assert!(!is_of(&id(md5), &piece(b"abd")));
        let both = |e_tag: &str, sha256: &str| {
            id(&format!(
                "<PartMetadata><e_tag>\"{e_tag}\"</e_tag><checksum_sha256>{sha256}</checksum_sha256>\
                 </PartMetadata>"
            ))
        };
        assert!(is_of(&both("of-kms", sha256), &piece(b"abc")));
        assert!(!is_of(&both(md5, "wrong"), &piece(b"abc")));
        let only = format!("<PartMetadata><e_tag>\"{md5}\"</e_tag></PartMetadata>");
        assert!(is_of(&id(&only), &piece(b"abc")));
    }
}
