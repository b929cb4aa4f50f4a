//! Backups give way to the web site on the same machine.

use crate::error::{Error, Result};
use std::thread::JoinHandle;

/// How nice a thread of a backup is: several of them together take less than a tenth of a core that is
/// wanted by others, and a machine that is always busy still finishes its backup.
#[cfg(target_os = "linux")]
const NICE: i32 = 15;

/// How nice a thread is that others of the same job should not have to wait for.
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;

/// Lowers the priority of the calling thread, and of what it starts (threads, `pg_dump`).
///
/// Only on Linux, where a thread has a priority of its own: elsewhere this would slow down the whole
/// Erlang node. Where it is refused the work is done at normal priority.
pub fn lower() {
    #[cfg(target_os = "linux")]
    be_nice(NICE);
}

/// The same, below all other threads of the job.
pub(crate) fn lowest() {
    #[cfg(target_os = "linux")]
    be_nice(NICEST);
}

#[cfg(target_os = "linux")]
fn be_nice(enough: i32) {
    use rustix::process::{getpriority_process, setpriority_process};
    let thread = Some(rustix::thread::gettid());
    // Never less nice than it was asked to be.
    if getpriority_process(thread).is_ok_and(|nice| nice < enough) {
        let _ = setpriority_process(thread, enough);
    }
}

/// Starts a named thread of low priority.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(format!("zbackup-{name}"))
        .spawn(|| {
            lower();
            work()
        })
        .map_err(|error| no_thread(&error))
}

/// The error of a machine, or a limit, that has no more threads.
pub(crate) fn no_thread(error: &std::io::Error) -> Error {
    Error::Internal(format!("cannot start a thread: {error}"))
}
