//! The database of a backup, loaded while a second thread verifies its dump.

use crate::archive::Incomplete;
use crate::database::{self, Pending, Purpose, Trust};
use crate::error::{Error, Result};
use crate::part_reader::PartReader;
use crate::priority;
use crate::progress::{Cancel, Monitor, NoProgress};
use crate::site::Database;
use crate::verify::Proof;
use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// Loads the dump that `open` opens while `verify` verifies it, and gives the transaction to `end` after that has
/// succeeded. Where it fails the load ends at once. It takes a fraction of the time of the load, and is what would have
/// been waited for.
pub(super) fn load_and_verify<T>(
    database: &Database,
    open: impl Fn() -> Result<(PartReader, Trust)>,
    verify: impl FnOnce(&Monitor) -> Result<Proof> + Send,
    end: impl FnOnce(Pending<'_>) -> Result<T>,
    monitor: &Monitor,
) -> (Result<T>, Option<Proof>) {
    let cancel = Cancel::default();
    let quiet = Monitor::new(Arc::new(NoProgress), cancel.clone());
    thread::scope(|scope| {
        let work = move || {
            priority::lowest();
            verify(&quiet)
        };
        let prover = thread::Builder::new()
            .name("zbackup-verify".into())
            .spawn_scoped(scope, work);
        let proving = RefCell::new(Proving {
            monitor,
            prover: match prover {
                Ok(prover) => Some(prover),
                Err(error) => return (Err(priority::no_thread(&error)), None),
            },
            proof: None,
        });
        let has_begun = Cell::new(false);
        let work = || {
            let first = open()?;
            let trust = first.1;
            let mut first = Some(first);
            let dump = || {
                let (reader, _) = first.take().map_or_else(&open, Ok)?;
                Ok(Dump {
                    reader,
                    proving: &proving,
                    has_begun: &has_begun,
                })
            };
            let (pending, dump) = database::load(database, trust, Purpose::Replace, dump, monitor)?;
            dump.reader.finish()?;
            proving.borrow_mut().check(true)?;
            end(pending)
        };
        let mut ended = work();
        // What the server says of a damaged dump may be true, and is not what a person needs to hear.
        if let Err(Error::Database(_)) = ended
            && let Err(damage) = proving.borrow_mut().check(has_begun.get())
        {
            ended = Err(damage);
        }
        cancel.cancel();
        (ended, proving.into_inner().proof)
    })
}

/// A proof that is being made.
struct Proving<'scope, 'job> {
    /// Of the job that waits for it.
    monitor: &'job Monitor,
    prover: Option<ScopedJoinHandle<'scope, Result<Proof>>>,
    proof: Option<Proof>,
}

/// Interval at which a wait for the verification checks for its end, and whether the job was cancelled.
const POLL: Duration = Duration::from_millis(10);

impl Proving<'_, '_> {
    /// Fails when it has failed by now; or, if that is waited for, when it does or the job is cancelled.
    fn check(&mut self, wait: bool) -> Result<()> {
        while wait && self.prover.as_ref().is_some_and(|it| !it.is_finished()) {
            self.monitor.check()?;
            thread::sleep(POLL);
        }
        if let Some(prover) = self.prover.take_if(|it| it.is_finished()) {
            let proof = prover
                .join()
                .map_err(|_| Error::Internal("the proving thread stopped".into()))?;
            self.proof = Some(proof?);
        }
        Ok(())
    }
}

/// A dump that is read no further when its verification has failed.
struct Dump<'p, 'scope, 'job> {
    reader: PartReader,
    proving: &'p RefCell<Proving<'scope, 'job>>,
    has_begun: &'p Cell<bool>,
}

impl Read for Dump<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_begun.set(true);
        self.proving.borrow_mut().check(false)?;
        let reader = &mut self.reader;
        reader
            .read(buffer)
            .map_err(|error| Incomplete::Read(error).of(reader.path()).into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::ErrorKind;
    use std::sync::mpsc;

    #[test]
    fn who_waits_for_a_proof_can_be_cancelled() {
        let cancel = Cancel::default();
        let monitor = Monitor::new(Arc::new(NoProgress), cancel.clone());
        let (end, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let prover = scope.spawn(move || {
                let _ = ended.recv();
                Err(Error::Usage("it has failed".into()))
            });
            let mut proving = Proving {
                monitor: &monitor,
                prover: Some(prover),
                proof: None,
            };
            proving.check(false).unwrap();
            cancel.cancel();
            let error = proving.check(true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            drop(end);
        });
    }
}
