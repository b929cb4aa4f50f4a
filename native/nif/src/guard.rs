//! The end of a panic. Without a word of Erlang, so that it can be tested without: `tests/guard.rs`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use zbackup_core::error::{Error, Result};

/// Does `work`, and makes an error of a panic: it must cross no border, and be told.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::Internal(words(panic.as_ref()))))
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    if let Some(words) = panic.downcast_ref::<String>() {
        words.clone()
    } else if let Some(words) = panic.downcast_ref::<&str>() {
        (*words).to_owned()
    } else {
        "a panic without words".to_owned()
    }
}
