//! One file, on its way to the store: in parts, some of them at the same time.
//!
//! It appears there when all of it has arrived, and not before [`finish`]: until then an older file of the
//! same name is untouched.

mod part;

use super::journal::{Begun, BegunPart, Journal};
use super::store::{Head, Store};
use super::transport::{Fault, Network};
use crate::durable::open_file;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::Sha256Hash;
use crate::progress::Monitor;
use futures_util::{StreamExt, stream};
use object_store::multipart::PartId;
use part::{part, read};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The usual size of a part, in bytes.
pub(super) const PART: u64 = 8 << 20;
/// S3 takes 10 000 parts. Some are left, in case that a store counts otherwise.
const MOST_PARTS: u64 = 9_000;
/// What may be on its way at the same time, in bytes; one part always may.
const WINDOW: u64 = 4 * PART;
/// How often a store may not know an upload (any more) that it has begun.
const MOST_UNKNOWN: u32 = 3;
/// How often a connection may break, however long that takes.
pub(super) const MOST_BREAKS: u32 = 3;

/// What is to be uploaded.
pub(super) struct Source<'a> {
    pub(super) path: PathBuf,
    pub(super) name: &'a str,
    /// What its content must be.
    pub(super) sha256: Sha256Hash,
}

/// All of it is in the store, but does not show yet.
pub(super) struct Arrived {
    name: String,
    id: String,
    parts: Vec<PartId>,
    sha256: Sha256Hash,
    size: u64,
    /// Whether the store has proven that it has what was sent.
    is_proven: bool,
}

/// The size of the parts of a file: the usual, or what makes few enough of them.
pub(super) fn part_size(size: u64) -> u64 {
    const STEP: u64 = 1 << 20;
    PART.max(size.div_ceil(MOST_PARTS).next_multiple_of(STEP))
}

/// Uploads a file, or what is not in the store yet of one that was begun before. `None` when its content is
/// not (any more) what it should be.
///
/// # Errors
/// `Io`, `Offsite`, `Cancelled`. What was uploaded is in the journal then.
pub(super) async fn send(
    store: &Store,
    journal: &RefCell<Journal>,
    source: &Source<'_>,
    monitor: &Monitor,
) -> Result<Option<Arrived>> {
    for _ in 0..MOST_UNKNOWN {
        // Each time anew: the thread that read for the last upload may still be at it, and files that are
        // cloned share their position.
        let file = open_file(&source.path).map_err(Error::io("cannot read", &source.path))?;
        let size = file
            .metadata()
            .map_err(Error::io("cannot read", &source.path))?
            .len();
        let begun = begin(store, journal, source, size).await?;
        match parts(store, journal, source, &begun, file, monitor).await? {
            Parts::All(parts, is_proven) => {
                return Ok(Some(Arrived {
                    name: begun.name,
                    id: begun.id,
                    parts,
                    sha256: source.sha256,
                    size,
                    is_proven,
                }));
            }
            Parts::OfOther => {
                forget(store, journal, &begun).await?;
                return Ok(None);
            }
            // It was too old for the store. The next is a new one, and has no parts yet.
            Parts::Unknown => forget(store, journal, &begun).await?,
        }
    }
    Err(Error::Offsite {
        kind: ErrorKind::Store,
        message: format!(
            "cannot upload {} to {}: the store begins an upload, and then says that it does not know it",
            source.name, store.location
        ),
    })
}

/// Takes up the upload of the same content that was begun before, or begins one.
async fn begin(
    store: &Store,
    journal: &RefCell<Journal>,
    source: &Source<'_>,
    size: u64,
) -> Result<Begun> {
    let part_size = part_size(size);
    let known = journal.borrow().begun().to_vec();
    for begun in known.into_iter().filter(|begun| begun.name == source.name) {
        if begun.sha256 == source.sha256 && begun.size == size && begun.part_size == part_size {
            return Ok(begun);
        }
        forget(store, journal, &begun).await?;
    }
    let id = begin_new(store, journal, source).await?;
    let begun = Begun {
        name: source.name.to_owned(),
        id,
        sha256: source.sha256,
        size,
        part_size,
        parts: Vec::new(),
    };
    journal.borrow_mut().begin(begun.clone())?;
    Ok(begun)
}

/// Tells the store. When the answer is lost there may be an upload whose name nobody knows: that is looked for
/// before it is told again.
async fn begin_new(
    store: &Store,
    journal: &RefCell<Journal>,
    source: &Source<'_>,
) -> Result<String> {
    let fail = |error| store.fail(&format!("cannot upload {} to", source.name), error);
    let began = Instant::now();
    let mut pause = Duration::from_millis(200);
    loop {
        journal.borrow_mut().beginning_of(source.name)?;
        match store.begin(source.name, source.sha256).await? {
            Ok(id) => return Ok(id),
            Err(error) if may_pass(&error) && began.elapsed() < store.patience => {
                tokio::time::sleep(pause).await;
                pause = (pause * 3).min(Duration::from_secs(15));
                if forget_unknown(store, journal).await.is_err() {
                    return Err(fail(&error));
                }
            }
            Err(error) => return Err(fail(&error)),
        }
    }
}

/// Has the store forget what was begun when it was not known yet what the upload is called. Only what was begun at
/// that time: another machine may just be uploading a file of that name.
pub(super) async fn forget_unknown(store: &Store, journal: &RefCell<Journal>) -> Result<()> {
    let beginning = journal.borrow().beginning().to_vec();
    for name in beginning.iter().map(|beginning| &beginning.name) {
        let known = journal.borrow().begun().to_vec();
        for upload in store.uploads(name).await? {
            let may_be_ours = beginning.iter().any(|beginning| {
                beginning.name == *name && is_of_the_time(beginning.at, upload.begun)
            });
            if may_be_ours && !known.iter().any(|begun| begun.id == upload.id) {
                store.abort(name, &upload.id).await?;
            }
        }
        journal.borrow_mut().searched(name)?;
    }
    Ok(())
}

/// Whether an upload that the store began then may be the one that was asked for at that time. The clocks may
/// differ, as far as a store takes a request at all. Not each store says when it was.
fn is_of_the_time(asked: Option<i64>, begun: Option<i64>) -> bool {
    const LONGEST: u64 = 20 * 60;
    match (asked, begun) {
        (Some(asked), Some(begun)) => asked.abs_diff(begun) <= LONGEST,
        _ => true,
    }
}

/// Has the store forget an upload.
pub(super) async fn forget(store: &Store, journal: &RefCell<Journal>, begun: &Begun) -> Result<()> {
    store.abort(&begun.name, &begun.id).await?;
    journal.borrow_mut().end(&begun.id)
}

enum Parts {
    /// All are there; and whether that is proven.
    All(Vec<PartId>, bool),
    /// The file is not what it should be.
    OfOther,
    /// The store does not know the upload.
    Unknown,
}

async fn parts(
    store: &Store,
    journal: &RefCell<Journal>,
    source: &Source<'_>,
    begun: &Begun,
    file: File,
    monitor: &Monitor,
) -> Result<Parts> {
    let mut there: BTreeMap<usize, PartId> = begun
        .parts
        .iter()
        .map(|part| {
            let content_id = part.id.clone();
            (part.number, PartId { content_id })
        })
        .collect();
    let (mut pieces, hash) = read(file, &source.path, begun, monitor)?;
    let is_proven = Cell::new(begun.parts.iter().all(|part| part.is_proven));
    let proves_nothing = Cell::new(false);
    let at_once = usize::try_from(WINDOW / begun.part_size)
        .unwrap_or(1)
        .max(1);
    let pieces = stream::poll_fn(|context| pieces.poll_recv(context));
    let mut sent = std::pin::pin!(
        pieces
            .map(|piece| async {
                let piece = piece?;
                let length = piece.bytes.len() as u64;
                let (id, is_part_proven) = match part(store, begun, &piece, &proves_nothing).await?
                {
                    Some(part) => part,
                    None => return Ok(None),
                };
                if !is_part_proven {
                    is_proven.set(false);
                }
                journal.borrow_mut().part(
                    &begun.id,
                    BegunPart {
                        number: piece.number,
                        id: id.content_id.clone(),
                        md5: piece.md5,
                        is_proven: is_part_proven,
                    },
                )?;
                monitor.add(length)?;
                Ok::<_, Error>(Some((piece.number, id)))
            })
            .buffer_unordered(at_once)
    );
    while let Some(part) = sent.next().await {
        match part? {
            Some((number, id)) => drop(there.insert(number, id)),
            None => return Ok(Parts::Unknown),
        }
    }
    if hash.await.ok() != Some(source.sha256) {
        return Ok(Parts::OfOther);
    }
    Ok(Parts::All(there.into_values().collect(), is_proven.get()))
}

/// Whether a connection broke.
pub(super) fn is_broken(error: &object_store::Error) -> bool {
    matches!(
        Fault::of(error),
        Some(Fault::Network(Network::Broken, _) | Fault::Stalled(_))
    )
}

/// Whether what failed may work when it is tried again.
pub(super) fn may_pass(error: &object_store::Error) -> bool {
    match Fault::of(error) {
        Some(Fault::Refused { status, .. }) => *status >= 500 || [408, 429].contains(status),
        Some(Fault::Network(Network::Broken | Network::Connect, _) | Fault::Stalled(_)) => true,
        _ => false,
    }
}

/// Makes the file appear, in the place of an older one of its name, and looks whether it is there. `false` when
/// the store has lost what was sent: it must be sent again.
///
/// # Errors
/// `Offsite`, also when what is there then is something else.
pub(super) async fn finish(
    store: &Store,
    journal: &RefCell<Journal>,
    arrived: Arrived,
) -> Result<bool> {
    let name = arrived.name.as_str();
    let done = store.complete(name, &arrived.id, arrived.parts).await?;
    // The answer may have been lost on its way: what is there is what counts.
    let found = store.head(name).await?;
    let is_there = found
        .as_ref()
        .is_some_and(|head| is_file(head, arrived.size, arrived.sha256));
    if !is_there {
        if let Err(error) = done {
            if is_lost(&error) {
                match store.abort(name, &arrived.id).await {
                    // A key that may not do that. It would be taken up again each night.
                    Err(error) if error.kind() != ErrorKind::Permission => return Err(error),
                    _ => journal.borrow_mut().end(&arrived.id)?,
                }
                return Ok(false);
            }
            return Err(store.fail(&format!("cannot upload {name} to"), &error));
        }
        return Err(not_there(store, name, "does not look like what was sent"));
    }
    journal.borrow_mut().end(&arrived.id)?;
    if !arrived.is_proven {
        let e_tag = found.and_then(|head| head.e_tag);
        let hash = super::download::hash(store, name, e_tag.as_ref(), arrived.size).await?;
        if hash != arrived.sha256 {
            return Err(not_there(store, name, "is not what was sent"));
        }
    }
    Ok(true)
}

/// Whether the store does not have (any more) what it said that it has of an upload.
fn is_lost(error: &object_store::Error) -> bool {
    const CODES: [&str; 3] = ["NoSuchUpload", "InvalidPart", "InvalidPartOrder"];
    matches!(Fault::of(error), Some(Fault::Refused { code, .. }) if CODES.contains(&code.as_str()))
}

fn not_there(store: &Store, name: &str, what: &str) -> Error {
    Error::Offsite {
        kind: ErrorKind::Damaged,
        message: format!(
            "{name} in {} {what}: something on the way or in the store damages files; the list there does \
             not name it, and the local backups are untouched",
            store.location
        ),
    }
}

/// Whether a file of a store is this one, as far as it says so.
pub(super) fn is_file(head: &Head, size: u64, sha256: Sha256Hash) -> bool {
    head.size == size && head.sha256 == Some(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_of_another_time_is_of_another() {
        assert!(is_of_the_time(Some(10_000), Some(10_500)));
        assert!(is_of_the_time(Some(10_500), Some(10_000)));
        assert!(!is_of_the_time(Some(10_000), Some(20_000)));
        assert!(!is_of_the_time(Some(20_000), Some(10_000)));
        assert!(is_of_the_time(None, Some(1)));
        assert!(is_of_the_time(Some(1), None));
    }

    #[test]
    fn parts_are_few_enough() {
        assert_eq!(part_size(0), PART);
        assert_eq!(part_size(5 << 30), PART);
        for size in [50_u64 << 30, 100 << 30, 1 << 40, 5 << 40] {
            let part = part_size(size);
            assert!(size.div_ceil(part) <= MOST_PARTS, "{size}");
            assert!(part <= 5 << 30, "S3 takes no larger parts");
        }
    }
}
