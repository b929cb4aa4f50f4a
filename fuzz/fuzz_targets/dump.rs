//! The SQL of a dump: what of it is loaded does not depend on how the bytes come, and nothing that is
//! loaded is for `psql` itself to do.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zbackup_core::database::{check_dump, check_script, loaded_of};

const SCHEMA: &str = "public";
/// What stands around the statements, so that only these are to be found.
const HEAD: &[u8] = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n";
const FOOT: &[u8] = b"\nCOMMENT ON SCHEMA public IS NULL;\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";

fuzz_target!(|data: &[u8]| {
    let Some((&length, dump)) = data.split_first() else {
        return;
    };
    let (length, is_middle) = (usize::from(length % 64) + 1, length >= 128);
    let dump = &match is_middle {
        true => [HEAD, dump, FOOT].concat(),
        false => dump.to_vec(),
    }[..];
    let whole = loaded_of([dump], SCHEMA);
    let cut = loaded_of(dump.chunks(length), SCHEMA);
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => {
            assert!(
                whole == cut,
                "in pieces of {length}, other bytes are loaded"
            );
            assert!(check_script(dump, SCHEMA).is_ok());
            assert!(check_dump(dump).is_ok());
            lines_are_kept(dump, whole);
        }
        (Err(_), Err(_)) => assert!(check_script(dump, SCHEMA).is_err()),
        (whole, cut) => panic!(
            "as a whole: {:?}, in pieces of {length}: {:?}",
            whole.as_ref().err(),
            cut.as_ref().err()
        ),
    }
});

/// A line of what is loaded is the same line of the dump: errors of the server are told by it. What does
/// not come from pg_dump may have a line break more after the rows of a table.
fn lines_are_kept(dump: &[u8], loaded: &[u8]) {
    let count = |text: &[u8]| text.iter().filter(|&&byte| byte == b'\n').count();
    let data_ends = dump
        .windows(4)
        .filter(|part| part.starts_with(b"\n\\."))
        .count()
        + 1;
    let (dump, loaded) = (count(dump), count(loaded));
    assert!(
        (dump..=dump + data_ends).contains(&loaded),
        "{dump} lines became {loaded}"
    );
}
