//! A panic in a job becomes an error. The file is included since a NIF library cannot be linked into a
//! program: the functions of Erlang are not there.

#![allow(clippy::panic, missing_docs, unreachable_pub)] // panics are what is tested

use std::panic::panic_any;
use zbackup_core::error::{Error, ErrorKind, Result};

#[path = "../src/guard.rs"]
mod guard;
use guard::guarded;

fn told(work: impl FnOnce() -> Result<()>) -> (ErrorKind, String) {
    let error = guarded(work).err();
    error.map_or((ErrorKind::Cancelled, String::new()), |error| {
        (error.kind(), error.to_string())
    })
}

#[test]
fn a_result_is_left_as_it_is() {
    assert!(matches!(guarded(|| Ok(7)), Ok(7)));
    let error = || Err::<(), _>(Error::Usage("no".into()));
    assert!(matches!(guarded(error), Err(Error::Usage(words)) if words == "no"));
}

#[test]
fn a_panic_becomes_an_error_with_its_words() {
    let (kind, words) = told(|| panic!("block {} is gone", 3));
    assert_eq!(kind, ErrorKind::Internal);
    assert!(words.ends_with("block 3 is gone"), "{words}");

    let (kind, words) = told(|| panic!("fixed words"));
    assert_eq!(kind, ErrorKind::Internal);
    assert!(words.ends_with("fixed words"), "{words}");
}

#[test]
fn a_panic_with_something_else_than_words_is_told_too() {
    let (kind, words) = told(|| panic_any(42_u8));
    assert_eq!(kind, ErrorKind::Internal);
    assert!(words.ends_with("a panic without words"), "{words}");
}

#[test]
fn a_panic_of_a_defect_is_told() {
    let empty: Vec<u8> = Vec::new();
    let index = empty.len();
    let (kind, words) = told(|| {
        let _ = empty[index];
        Ok(())
    });
    assert_eq!(kind, ErrorKind::Internal);
    assert!(words.contains("index out of bounds"), "{words}");
}
