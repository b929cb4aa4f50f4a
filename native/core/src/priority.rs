//! Backups give way to the web site on the same machine.

/// How much nicer than its parent a thread of a backup is: enough to lose every contest for a core,
/// not so much that a busy machine never finishes its backup.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lowers the priority of the calling thread, and of what it starts (threads, `pg_dump`).
///
/// Only on Linux, where a thread has a priority of its own: elsewhere this would slow down the whole
/// Erlang node. Where it is refused the work is done at normal priority.
pub fn lower() {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    }
}
