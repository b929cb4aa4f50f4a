//! Jobs: a thread that works, and the messages that it sends to the process that started it.

use crate::guard::guarded;
use crate::reply::{Done, Reply, atom, failed};
use rustler::{
    Encoder, Env, LocalPid, Monitor as ProcessMonitor, OwnedEnv, Resource, ResourceArc, Term,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use zbackup_core::error::{Error, Result};
use zbackup_core::priority;
use zbackup_core::progress::{Cancel, Monitor, Progress, Snapshot};

/// What Erlang holds of a job, and the job of itself.
pub(crate) struct Job {
    owner: LocalPid,
    cancel: Cancel,
    ended: AtomicBool,
}

#[rustler::resource_impl]
impl Resource for Job {
    /// The owner died: nobody waits for the job any more.
    fn down<'a>(&'a self, _: Env<'a>, _: LocalPid, _: ProcessMonitor) {
        self.cancel.cancel();
    }
}

impl Job {
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(crate) fn belongs_to(&self, process: LocalPid) -> bool {
        self.owner == process
    }

    /// Whether its last message was sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// Starts a job of the calling process. Its last message, of which there is exactly one, tells what
/// became of `work`.
///
/// # Errors
/// `Internal` when there is no thread to be had. No message comes then.
pub(crate) fn start(
    env: Env<'_>,
    work: impl FnOnce(&Monitor) -> Result<Done> + Send + 'static,
) -> Result<ResourceArc<Job>> {
    let job = ResourceArc::new(Job {
        owner: env.pid(),
        cancel: Cancel::default(),
        ended: AtomicBool::new(false),
    });
    if env.monitor(&job, &job.owner).is_none() {
        // It was killed while it was here.
        job.cancel();
    }
    // The thread keeps the job: it goes on when Erlang has forgotten it but its owner lives.
    let kept = job.clone();
    thread::Builder::new()
        .name("zbackup".into())
        .spawn(move || run(&kept, work))
        .map_err(|error| Error::Internal(format!("no thread can be started: {error}")))?;
    Ok(job)
}

fn run(job: &ResourceArc<Job>, work: impl FnOnce(&Monitor) -> Result<Done>) {
    let result = guarded(|| {
        priority::lower();
        work(&Monitor::new(
            Arc::new(Messages(job.clone())),
            job.cancel.clone(),
        ))
    });
    let sent = guarded(|| {
        send(job, |env| match &result {
            Ok(done) => (atom(env, "done"), done.reply(env)).encode(env),
            Err(error) => failed(env, error),
        });
        Ok(())
    });
    if let Err(error) = sent {
        send(job, |env| failed(env, &error));
    }
    job.ended.store(true, Ordering::Release);
}

/// Progress as messages.
struct Messages(ResourceArc<Job>);

impl Progress for Messages {
    fn update(&self, snapshot: Snapshot) {
        send(&self.0, |env| {
            (atom(env, "progress"), snapshot.reply(env)).encode(env)
        });
    }
}

/// Sends `{zbackup, Job, What}` to the owner. Where it is dead, nobody is there to be told.
fn send(job: &ResourceArc<Job>, what: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
    let _ = OwnedEnv::new().send_and_clear(&job.owner, |env| {
        (atom(env, "zbackup"), job, what(env)).encode(env)
    });
}
