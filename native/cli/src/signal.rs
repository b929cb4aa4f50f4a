//! Ctrl-C: stops a job so that it can clean up, and a question at once.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
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

/// Asks a person for a secret: what is typed does not show, from before the question is. An interrupt
/// ends the process meanwhile, and leaves the terminal as it was.
pub(crate) fn while_asking<T>(ask: impl FnOnce() -> T) -> T {
    let asking = || ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    *asking() = File::open("/dev/tty").ok().and_then(|terminal| {
        let before = tcgetattr(&terminal).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &hidden).ok()?;
        Some((terminal, before))
    });
    let answer = ask();
    if let Some((terminal, before)) = asking().take() {
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
    answer
}
