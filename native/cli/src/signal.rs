//! Ctrl-C: stops a job so that it can clean up, and a question at once.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use zbackup_core::progress::Cancel;

/// What a shell reports of a command that was interrupted.
const INTERRUPTED: i32 = 130;

/// The terminal, and how it was before a question turned off its echo.
static ASKING: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Cancels the job on SIGINT, SIGTERM and SIGHUP.
pub(crate) fn cancel_on_interrupt(cancel: Cancel) {
    let handler = move || {
        let asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((terminal, before)) = &*asking {
            let _ = tcsetattr(terminal, OptionalActions::Now, before);
            crate::tell("\n");
            std::process::exit(INTERRUPTED);
        }
        cancel.cancel();
    };
    // Without a handler an interrupt just ends the process: the next one cleans up what is left.
    let _ = ctrlc::set_handler(handler);
}

/// Asks a person something: an interrupt ends the process meanwhile, and leaves the terminal as it was.
pub(crate) fn while_asking<T>(ask: impl FnOnce() -> T) -> T {
    let set = |before| *ASKING.lock().unwrap_or_else(PoisonError::into_inner) = before;
    let terminal = File::open("/dev/tty").ok();
    set(terminal.and_then(|terminal| {
        let before = tcgetattr(&terminal).ok()?;
        Some((terminal, before))
    }));
    let answer = ask();
    set(None);
    answer
}
