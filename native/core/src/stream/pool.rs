//! Works on many jobs at once and hands out the results in the order of the jobs.
//!
//! The number of jobs in flight is bounded, and with it the memory, whoever is slower: the side that
//! submits or the side that takes results.

use super::BLOCK;
use crate::error::{Error, Result};
use crate::priority;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// More threads than this would only wait for the disk, and each holds blocks of memory.
const MOST_WORKERS: usize = 8;

/// The side that submits jobs. Dropping it lets the workers finish and waits for them.
pub(super) struct Submit<J, O> {
    jobs: Option<Sender<(J, Sender<Result<O>>)>>,
    order: Option<Sender<Receiver<Result<O>>>>,
    workers: Vec<JoinHandle<()>>,
}

/// The side that takes results. Dropping it makes the next `submit` fail.
pub(super) struct Results<O> {
    order: Receiver<Receiver<Result<O>>>,
}

/// Starts the workers. Each calls `make_worker` once, for what it keeps between jobs.
pub(super) fn start<J, O, W, F>(make_worker: F) -> Result<(Submit<J, O>, Results<O>)>
where
    J: Send + 'static,
    O: Send + 'static,
    W: FnMut(J) -> Result<O>,
    F: Fn() -> W + Clone + Send + 'static,
{
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = cores.min(MOST_WORKERS);
    let (job_sender, job_receiver) = bounded::<(J, Sender<Result<O>>)>(1);
    let (order_sender, order_receiver) = bounded(count + 2);
    let mut submit = Submit {
        jobs: Some(job_sender),
        order: Some(order_sender),
        workers: Vec::with_capacity(count),
    };
    for _ in 0..count {
        let jobs = job_receiver.clone();
        let make_worker = make_worker.clone();
        submit.workers.push(priority::spawn("worker", move || {
            let mut work = make_worker();
            for (job, answer) in jobs {
                // Nobody waits for the answer when the whole was given up: then there is no harm.
                let _ = answer.send(work(job));
            }
        })?);
    }
    let results = Results {
        order: order_receiver,
    };
    Ok((submit, results))
}

impl<J, O> Submit<J, O> {
    /// Hands in a job; waits while too many are in flight.
    ///
    /// # Errors
    /// `Cancelled` when nobody takes results any more: the cause is on that side.
    pub(super) fn submit(&self, job: J) -> Result<()> {
        let (answer, result) = bounded(1);
        let (Some(jobs), Some(order)) = (&self.jobs, &self.order) else {
            return Err(Error::Cancelled);
        };
        order.send(result).map_err(|_| Error::Cancelled)?;
        jobs.send((job, answer)).map_err(|_| Error::Cancelled)
    }
}

impl<J, O> Drop for Submit<J, O> {
    fn drop(&mut self) {
        self.jobs = None;
        self.order = None;
        for worker in self.workers.drain(..) {
            // A worker that panicked has left its answer unsent, which the other side reports.
            let _ = worker.join();
        }
    }
}

impl<O> Results<O> {
    /// The next result in the order of submission; `None` after the last.
    pub(super) fn next(&self) -> Option<Result<O>> {
        let result = self.order.recv().ok()?;
        Some(result.recv().unwrap_or_else(|_| {
            Err(Error::Internal(
                "a worker thread stopped in its work".into(),
            ))
        }))
    }
}

/// Blocks to be used again: a new one has to be fetched from the operating system page by page.
#[derive(Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// An empty block with room for the largest that is written: one of data with what gzip and the
    /// seal add.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut block = self.any();
        block.clear();
        block
    }

    /// A block of this length to read into. What is in it is of no use; it is there so that it need not
    /// be zeroed each time.
    pub(super) fn take_full(&self, length: usize) -> Vec<u8> {
        let mut block = self.any();
        block.resize(length, 0);
        block
    }

    pub(super) fn give(&self, block: Vec<u8>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(block);
    }

    fn any(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BLOCK + BLOCK / 64))
    }
}
