//! Ctrl-C: stops a job so that it can clean up, and a question at once.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};
use zbackup_core::progress::Cancel;

/// What a shell reports of a command that was interrupted.
const INTERRUPTED: i32 = 130;

/// The terminal while a question is open, and how it was before that turned off its echo.
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

/// What a person types may be seen by others, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    Shown,
    /// From before the question is.
    Hidden,
}

/// Asks a person on a terminal. An interrupt ends the process meanwhile, and leaves the terminal as it was.
///
/// # Errors
/// When it is no terminal; those of `ask`.
pub(crate) fn while_asking<T>(
    terminal: File,
    echo: Echo,
    ask: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let asking = || ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = tcgetattr(&terminal)?;
    // Control-C stays an interrupt.
    let mut meanwhile = before.clone();
    if echo == Echo::Hidden {
        meanwhile.local_modes.remove(LocalModes::ECHO);
    }
    {
        let mut asking = asking();
        tcsetattr(&terminal, OptionalActions::Now, &meanwhile)?;
        *asking = Some((terminal, before));
    }
    let answer = ask();
    if let Some((terminal, before)) = asking().take() {
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
    answer
}
