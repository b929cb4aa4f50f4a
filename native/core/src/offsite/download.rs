//! One file, from the store to a staged file: in ranges, some of them at the same time.

use super::store::{Head, Store};
use super::upload::{MOST_BREAKS, PART, is_broken};
use crate::error::{Error, Result};
use crate::hash::Sha256Hash;
use crate::priority;
use crate::progress::Monitor;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How many ranges are on their way at the same time.
const AT_ONCE: usize = 4;

/// Downloads a file of the store that looked so into a new one. Its hash is the answer; `None` when it was
/// replaced meanwhile.
///
/// # Errors
/// `Offsite`, `Io`, `Cancelled`.
pub(super) async fn receive(
    store: &Store,
    name: &str,
    head: &Head,
    (file, to): (File, &Path),
    monitor: &Monitor,
) -> Result<Option<Sha256Hash>> {
    let (send, written) = write(file, to)?;
    let mut ranges = std::pin::pin!(ranges(store, name, head.e_tag.as_ref(), head.size));
    while let Some(range) = ranges.next().await {
        let bytes = match range {
            Ok(bytes) => bytes,
            Err(
                object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. },
            ) => {
                return Ok(None);
            }
            Err(error) => return Err(store.fail(&format!("cannot download {name} from"), &error)),
        };
        monitor.add(bytes.len() as u64)?;
        if send.send(bytes).await.is_err() {
            break;
        }
    }
    drop(send);
    let written = written.await;
    written
        .unwrap_or_else(|_| Err(Error::Internal("the writing thread is gone".into())))
        .map(Some)
}

/// The hash of a file of the store, which is read for it.
///
/// # Errors
/// `Offsite`.
pub(super) async fn hash(
    store: &Store,
    name: &str,
    e_tag: Option<&String>,
    size: u64,
) -> Result<Sha256Hash> {
    let hasher = ranges(store, name, e_tag, size)
        .try_fold(Sha256::new(), |mut hasher, bytes| async move {
            hasher.update(&bytes);
            Ok(hasher)
        })
        .await;
    hasher
        .map(Sha256Hash::of)
        .map_err(|error| store.fail(&format!("cannot read back {name} from"), &error))
}

/// All of a file, in order.
fn ranges<'a>(
    store: &'a Store,
    name: &'a str,
    e_tag: Option<&'a String>,
    size: u64,
) -> impl Stream<Item = object_store::Result<Bytes>> + 'a {
    let starts = (0..size.div_ceil(PART)).map(|number| number * PART);
    stream::iter(starts)
        .map(move |from| range(store, name, e_tag, from, size.min(from + PART)))
        .buffered(AT_ONCE)
}

async fn range(
    store: &Store,
    name: &str,
    e_tag: Option<&String>,
    from: u64,
    to: u64,
) -> object_store::Result<Bytes> {
    let began = Instant::now();
    let mut breaks = 0;
    loop {
        let answer = store.in_time(to - from, store.range(name, e_tag, from..to));
        match answer.await {
            // A body that breaks off is not always asked for again below.
            Err(error)
                if is_broken(&error)
                    && (breaks < MOST_BREAKS || began.elapsed() < store.patience) =>
            {
                breaks += 1;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            done => return done,
        }
    }
}

/// Writes and hashes what is sent to it, on a thread of its own.
#[allow(clippy::type_complexity)]
fn write(
    mut file: File,
    to: &Path,
) -> Result<(mpsc::Sender<Bytes>, oneshot::Receiver<Result<Sha256Hash>>)> {
    let (send, mut receive) = mpsc::channel::<Bytes>(1);
    let (tell, told) = oneshot::channel();
    let to = to.to_owned();
    priority::spawn("download", move || {
        let mut work = || {
            let mut hasher = Sha256::new();
            while let Some(bytes) = receive.blocking_recv() {
                hasher.update(&bytes);
                file.write_all(&bytes)?;
            }
            file.sync_all()?;
            Ok(Sha256Hash::of(hasher))
        };
        // Nobody listens when it was cancelled.
        let _ = tell.send(work().map_err(Error::io("cannot write", &to)));
    })?;
    Ok((send, told))
}
