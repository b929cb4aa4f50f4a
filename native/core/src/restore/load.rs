//! A dump of a backup into the database.

use crate::archive::Incomplete;
use crate::database::{self, Loaded, Purpose, TransactionId, Trust};
use crate::error::{Error, Result};
use crate::part_reader::PartReader;
use crate::priority;
use crate::progress::{Cancel, Monitor, NoProgress};
use crate::site::Database;
use crate::stream::Encryption;
use crate::verify::Proof;
use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// Loads the dump that `reader` reads, which is proven again before it is final.
pub(crate) fn load(
    database: &Database,
    reader: PartReader,
    purpose: Purpose,
    began: impl FnOnce(TransactionId) -> Result<()>,
    monitor: &Monitor,
) -> Result<Loaded> {
    let dump = Dump::new(reader, |_| Ok(()));
    dump.load(database, purpose, began, monitor)
}

/// Loads a dump while `prove` proves it, and makes nothing final before that has succeeded. Where it fails
/// the load ends at once. It takes a fraction of the time of the load, and is what would have been waited for.
pub(super) fn load_and_prove(
    database: &Database,
    reader: PartReader,
    prove: impl FnOnce(&Monitor) -> Result<Proof> + Send,
    began: impl FnOnce(TransactionId) -> Result<()>,
    monitor: &Monitor,
) -> (Result<Loaded>, Option<Proof>) {
    let cancel = Cancel::default();
    let quiet = Monitor::new(Arc::new(NoProgress), cancel.clone());
    thread::scope(|scope| {
        let work = move || {
            priority::lowest();
            prove(&quiet)
        };
        let prover = thread::Builder::new()
            .name("zbackup-proof".into())
            .spawn_scoped(scope, work);
        let proving = RefCell::new(Proving {
            monitor,
            prover: match prover {
                Ok(prover) => Some(prover),
                Err(error) => return (Err(priority::no_thread(&error)), None),
            },
            proof: None,
        });
        let dump = Dump::new(reader, |wait| proving.borrow_mut().check(wait));
        let mut loaded = dump.load(database, Purpose::Replace, began, monitor);
        // What the server says of a damaged dump may be true, and is not what a person needs to hear.
        if let Err(Error::Database(_)) = loaded
            && let Err(damage) = proving.borrow_mut().check(dump.has_begun.get())
        {
            loaded = Err(damage);
        }
        cancel.cancel();
        (loaded, proving.into_inner().proof)
    })
}

/// A proof that is being made.
struct Proving<'scope, 'job> {
    /// Of the job that waits for it.
    monitor: &'job Monitor,
    prover: Option<ScopedJoinHandle<'scope, Result<Proof>>>,
    proof: Option<Proof>,
}

/// How often somebody who waits for a proof looks whether it is there, and whether the job was cancelled.
const PATIENCE: Duration = Duration::from_millis(10);

impl Proving<'_, '_> {
    /// Fails when it has failed by now; or, if that is waited for, when it does or the job is cancelled.
    fn check(&mut self, wait: bool) -> Result<()> {
        while wait && self.prover.as_ref().is_some_and(|it| !it.is_finished()) {
            self.monitor.check()?;
            thread::sleep(PATIENCE);
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

/// The reader, while it is needed for reading and for the proof after that; and what else has to be right:
/// it is asked whether that has failed, and at the end it is waited for.
struct Dump<Also> {
    reader: RefCell<Option<PartReader>>,
    also: Also,
    has_begun: Cell<bool>,
}

impl<Also: Fn(bool) -> Result<()>> Dump<Also> {
    fn new(reader: PartReader, also: Also) -> Self {
        Self {
            reader: RefCell::new(Some(reader)),
            also,
            has_begun: Cell::new(false),
        }
    }

    fn load(
        &self,
        database: &Database,
        purpose: Purpose,
        began: impl FnOnce(TransactionId) -> Result<()>,
        monitor: &Monitor,
    ) -> Result<Loaded> {
        let encryption = self.reader.borrow().as_ref().map(PartReader::encryption);
        let trust = trust(encryption.unwrap_or(Encryption::None));
        let prove = || {
            self.reader.take().map_or(Ok(()), PartReader::finish)?;
            (self.also)(true)
        };
        database::load(database, self, trust, purpose, began, prove, monitor)
    }
}

impl<Also: Fn(bool) -> Result<()>> Read for &Dump<Also> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_begun.set(true);
        (self.also)(false)?;
        match self.reader.borrow_mut().as_mut() {
            Some(reader) => reader
                .read(buffer)
                .map_err(|error| Incomplete::Read(error).of(reader.path()).into()),
            None => Ok(0),
        }
    }
}

/// What the encryption of a dump proves.
pub(super) fn trust(encryption: Encryption) -> Trust {
    match encryption {
        Encryption::Z2 => Trust::Authenticated,
        Encryption::Z1 | Encryption::None => Trust::Unproven,
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
