//! The filter of dumps: what is loaded of a dump does not depend on how the bytes are cut into blocks, and what is
//! loaded passes the checks too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zbackup_core::database::{check_dump, check_script, loaded_of};

const SCHEMA: &str = "public";
/// Text around the statements, so that the fuzzer has to find only these.
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
        }
        (Err(_), Err(_)) => assert!(check_script(dump, SCHEMA).is_err()),
        (whole, cut) => panic!(
            "as a whole: {:?}, in pieces of {length}: {:?}",
            whole.as_ref().err(),
            cut.as_ref().err()
        ),
    }
});
