//! Progress of a job, and the wish that it stop.

use crate::error::{Error, Result};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a job is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Dumping the database.
    Database,
    /// Packing configuration and security files.
    Config,
    /// Packing media files.
    Files,
    /// Proving stored files.
    Verify,
    /// Unpacking files beside their place.
    Unpack,
    /// Loading a dump into the database.
    Load,
    /// Moving unpacked files into their place.
    Place,
    /// Uploading to the offsite store.
    Upload,
    /// Downloading from it.
    Download,
    /// Encrypting a single file.
    Encrypt,
    /// Decrypting a single file.
    Decrypt,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// What it is busy with.
    pub phase: Phase,
    /// Bytes done in this phase, of what is read.
    pub done: u64,
    /// Bytes that there are in this phase, when that is known.
    pub total: Option<u64>,
    /// Bytes a second in this phase.
    pub rate: u64,
}

/// Implemented by a front end: shows the progress of a job. Called from the threads of the job, not
/// often (see [`Monitor`]); it should return soon.
pub trait Progress: Send + Sync {
    /// The job is here now.
    fn update(&self, snapshot: Snapshot);
}

/// A front end that shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn update(&self, _: Snapshot) {}
}

/// A switch that stops a job at its next step. Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the job to stop. It answers with `Cancelled` and leaves nothing behind.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the job was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Between a job and whoever watches it. Clones watch the same job.
#[derive(Clone)]
pub struct Monitor {
    progress: Arc<dyn Progress>,
    cancel: Cancel,
    state: Arc<Mutex<State>>,
}

struct State {
    phase: Phase,
    done: u64,
    total: Option<u64>,
    began: Instant,
    quiet_until: Instant,
}

/// A front end hears of a job at most four times a second. The start of a phase is told at once, and
/// makes up for that by a longer silence after it.
const PERIOD: Duration = Duration::from_millis(250);

impl Monitor {
    /// A monitor that reports to `progress` and stops when `cancel` says so.
    #[must_use]
    pub fn new(progress: Arc<dyn Progress>, cancel: Cancel) -> Self {
        let now = Instant::now();
        let state = State {
            phase: Phase::Verify,
            done: 0,
            total: None,
            began: now,
            quiet_until: now,
        };
        Self {
            progress,
            cancel,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A monitor that shows nothing and never cancels.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(Arc::new(NoProgress), Cancel::default())
    }

    /// The same job, which cannot be cancelled any more.
    pub(crate) fn without_cancel(&self) -> Self {
        Self {
            cancel: Cancel::default(),
            ..self.clone()
        }
    }

    /// The same job, of which nothing more is shown: for what reads again what was counted.
    pub(crate) fn quiet(&self) -> Self {
        Self::new(Arc::new(NoProgress), self.cancel.clone())
    }

    /// A phase begins, of `total` bytes where that is known.
    pub(crate) fn begin(&self, phase: Phase, total: Option<u64>) -> Result<()> {
        self.check()?;
        let now = Instant::now();
        let snapshot = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.phase = phase;
            state.done = 0;
            state.total = total;
            state.began = now;
            state.quiet_until = state.quiet_until.max(now) + PERIOD;
            state.snapshot(now)
        };
        self.progress.update(snapshot);
        Ok(())
    }

    /// `bytes` more are done.
    pub(crate) fn add(&self, bytes: u64) -> Result<()> {
        self.check()?;
        let now = Instant::now();
        let snapshot = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.done = state.done.saturating_add(bytes);
            if now < state.quiet_until {
                return Ok(());
            }
            state.quiet_until = now + PERIOD;
            state.snapshot(now)
        };
        self.progress.update(snapshot);
        Ok(())
    }

    /// `Cancelled` when the job should stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

impl State {
    fn snapshot(&self, now: Instant) -> Snapshot {
        let seconds = now.duration_since(self.began).as_secs_f64();
        let rate = if seconds > 0.0 {
            // A float that is too large for the integer saturates.
            (self.done as f64 / seconds) as u64
        } else {
            0
        };
        Snapshot {
            phase: self.phase,
            done: self.done,
            total: self.total,
            rate,
        }
    }
}
