//! An archive or a dump that is not whole is not taken for one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::*;
use common::{Scratch, stdout, tool};
use proptest::prelude::*;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use zbackup_core::archive::{Contents, Incomplete, check_tar};
use zbackup_core::database::check_dump;
use zbackup_core::error::{Error, ErrorKind};

// The proof that an archive is whole.

/// A small archive: folders, files, a file of zeros, a long name, a link.
fn small() -> Vec<u8> {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let at = |name: &str| scratch.join("media").join(name);
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("folder/zeros"), [0; 3 * 512]).unwrap();
    std::fs::write(at("n".repeat(150).as_str()), "long").unwrap();
    std::fs::write(at("text"), "the quick brown fox ".repeat(50)).unwrap();
    symlink("text", at("zlink")).unwrap();
    std::fs::write(at("zzeros"), [0; 4 * 512]).unwrap();
    let (_, archive) = backup(&site);
    let mut bytes = Vec::new();
    unpacked(&archive).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Where the headers are.
fn headers(archive: &[u8]) -> Vec<usize> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().raw(true);
    entries
        .map(|entry| usize::try_from(entry.unwrap().raw_header_position()).unwrap())
        .collect()
}

fn structure(result: Result<Contents, Incomplete>, what: impl std::fmt::Display) -> String {
    match result {
        Err(Incomplete::Structure(reason)) => reason,
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_whole_archive_is_whole() {
    let archive = small();
    let contents = check_tar(&archive[..]).unwrap();
    // With the entry that holds the long name.
    assert_eq!(contents.entries, 7);
    assert_eq!(contents.bytes, archive.len() as u64);
    // Other programs end an archive with more zeros.
    for zeros in [512, 10 << 10, 100_000] {
        let padded = [&archive[..], &vec![0; zeros]].concat();
        assert_eq!(check_tar(&padded[..]).unwrap().bytes, padded.len() as u64);
    }
    let nothing = check_tar(&[0; 1024][..]).unwrap();
    assert_eq!((nothing.entries, nothing.bytes), (0, 1024));
}

#[test]
fn archives_of_other_programs_are_whole() {
    let scratch = Scratch::new();
    let media = scratch.join("media");
    std::fs::create_dir(&media).unwrap();
    odd_tree(&media);
    // What these programs themselves find too much.
    std::fs::remove_dir_all(media.join("times")).unwrap();
    stdout(tool("rm").arg("-rf").arg(media.join("deep")));
    let formats = [
        ("tar", "gnu"),
        ("tar", "posix"),
        ("bsdtar", "pax"),
        ("bsdtar", "gnutar"),
    ];
    for (program, format) in formats {
        let archive = scratch.join("other.tar");
        let mut command = tool(program);
        command
            .arg(format!("--format={format}"))
            .arg("-cf")
            .arg(&archive);
        // pax headers hold text: names are that in this locale, or they are taken as bytes.
        command
            .env("LC_ALL", "C.UTF-8")
            .arg("-C")
            .arg(&media)
            .arg(".");
        let output = command.output().unwrap();
        let listed = stdout(tool("tar").arg("-tf").arg(&archive));
        let names = listed.split(|&byte| byte == b'\n').count() - 1;
        assert!(names > 150, "{program} {format}: {output:?}");
        let contents = check_tar(File::open(&archive).unwrap())
            .unwrap_or_else(|error| panic!("{program} {format}: {error}"));
        assert!(
            contents.entries >= names as u64,
            "{program} {format}: {contents:?}"
        );
    }
}

#[test]
fn every_truncation_of_an_archive_is_seen() {
    let archive = small();
    for length in 0..archive.len() {
        let near = length % 512;
        if (2..510).contains(&near) {
            continue;
        }
        structure(
            check_tar(&archive[..length]),
            format_args!("{length} bytes"),
        );
    }
}

#[test]
fn data_after_the_end_of_an_archive_is_seen() {
    let archive = small();
    for more in [
        &b"x"[..],
        &[1; 512],
        &[&[0; 4096][..], b"x"].concat(),
        &small(),
    ] {
        let more = [&archive[..], more].concat();
        let said = structure(check_tar(&more[..]), more.len());
        assert!(said.contains("after the end"), "{said}");
    }
}

/// All of a header is under its checksum; not all of the checksum's own field is significant.
#[test]
fn every_flipped_bit_of_a_header_is_seen() {
    let archive = small();
    let whole = check_tar(&archive[..]).unwrap();
    for header in headers(&archive) {
        for bit in 0..512 * 8 {
            let mut changed = archive.clone();
            changed[header + bit / 8] ^= 1 << (bit % 8);
            let result = check_tar(&changed[..]);
            if (148..156).contains(&(bit / 8)) {
                assert!(result.map_or(true, |contents| contents == whole));
            } else {
                structure(result, format_args!("bit {bit} of the header at {header}"));
            }
        }
    }
}

/// An error of the stream below is not one of the archive.
#[test]
fn an_unreadable_archive_is_not_called_a_wrong_one() {
    struct Broken<'a>(&'a [u8]);
    impl Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(Error::Cancelled.into());
            }
            self.0.read(buffer)
        }
    }
    let archive = small();
    for length in (0..=archive.len()).step_by(256) {
        let result = check_tar(Broken(&archive[..length]));
        let Err(Incomplete::Read(error)) = result else {
            panic!("{length} bytes: {result:?}");
        };
        let own = error.downcast::<Error>().unwrap();
        assert_eq!(own.kind(), ErrorKind::Cancelled, "{length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Headers of somebody who can compute a checksum.
    #[test]
    fn no_header_is_too_much(
        at: prop::sample::Index,
        edits in prop::collection::vec((0..512_usize, any::<u8>()), 1..20),
        size: Option<[u8; 12]>,
        fixed: bool,
    ) {
        thread_local!(static SMALL: Vec<u8> = small());
        let mut archive = SMALL.with(Clone::clone);
        let headers = headers(&archive);
        let header = headers[at.index(headers.len())];
        let bytes = &mut archive[header..header + 512];
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        if let Some(size) = size {
            bytes[124..136].copy_from_slice(&size);
        }
        if fixed {
            let mut fixed = tar::Header::from_byte_slice(bytes).clone();
            fixed.set_cksum();
            bytes.copy_from_slice(fixed.as_bytes());
        }
        if let Ok(contents) = check_tar(&archive[..]) {
            prop_assert_eq!(contents.bytes, archive.len() as u64);
        }
    }

    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = check_tar(&bytes[..]);
        let _ = check_dump(&bytes[..]);
    }
}

// The proof that a dump is whole.

const DUMP_START: &str = "--\n-- PostgreSQL database dump\n--\n\n";
const DUMP_END: &str = "--\n-- PostgreSQL database dump complete\n--\n\n";
const DUMP_MIDDLE: &str = "-- Dumped from database version 15.5
-- Dumped by pg_dump version 15.5

SET statement_timeout = 0;
SET client_encoding = 'UTF8';

--
-- Name: t; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE \"public\".\"t\" (
    \"line\" \"text\"
);

COPY \"public\".\"t\" (\"line\") FROM stdin;
first\\nrow
second row
\\.

CREATE INDEX \"t_line\" ON \"public\".\"t\" USING \"btree\" (\"line\");

";

fn dump() -> String {
    [DUMP_START, DUMP_MIDDLE, DUMP_END].concat()
}

/// As newer versions of `pg_dump` write it.
fn restricted_dump() -> String {
    let token = "Oy3hV0bPzYbTQvZ1tqk8bYqmn7YcGqRcvXkWq1VhT0sZ9c6rB3Jf5Ld2Ng4Hs7a";
    format!("{DUMP_START}\\restrict {token}\n\n{DUMP_MIDDLE}{DUMP_END}\\unrestrict {token}\n\n")
}

/// Gives a few bytes at a time.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(self.1);
        self.0.read(&mut buffer[..room])
    }
}

#[test]
fn a_whole_dump_is_whole() {
    for dump in [dump(), restricted_dump()] {
        for step in [1, 2, 7, 100, 1000, 100_000] {
            let contents = check_dump(Dripping(dump.as_bytes(), step)).unwrap();
            assert_eq!(contents.bytes, dump.len() as u64);
            assert_eq!(contents.entries, dump.lines().count() as u64);
        }
    }
    // As small as can be.
    check_dump([DUMP_START, DUMP_END].concat().as_bytes()).unwrap();
}

#[test]
fn every_truncation_of_a_dump_is_seen() {
    let dump = dump();
    // Without its last, empty line it is still all there.
    for length in 0..dump.len() - 1 {
        structure(check_dump(&dump.as_bytes()[..length]), &dump[..length]);
    }
}

/// It says at its start how it ends.
#[test]
fn every_truncation_of_a_restricted_dump_is_seen() {
    let dump = restricted_dump();
    for length in 0..dump.trim_end().len() {
        structure(check_dump(&dump.as_bytes()[..length]), &dump[..length]);
    }
}

#[test]
fn what_is_no_dump_is_seen() {
    let whole = dump();
    let cases = [
        String::new(),
        "x".repeat(1000),
        format!("{DUMP_MIDDLE}{DUMP_END}"),
        format!(" {whole}"),
        whole.replacen("database dump", "database cluster dump", 1),
        format!("{whole}DROP TABLE \"public\".\"t\";\n"),
        format!("{whole}{whole}x"),
        whole.replace("dump complete", "dump completed"),
    ];
    for case in cases {
        structure(check_dump(case.as_bytes()), &case);
    }
}

/// The last lines may be in the data too; a dump that stops after them has not come to its end.
#[test]
fn data_that_looks_like_the_end_is_not_the_end() {
    let row = "--\n-- PostgreSQL database dump complete\n--\n";
    let unrestrict = "\\\\unrestrict x\n"; // a row has two backslashes for one
    for rows in [row, &format!("{row}\n"), &format!("{row}\n{unrestrict}")] {
        let middle = DUMP_MIDDLE.replace("second row\n", rows);
        assert!(middle.len() > DUMP_MIDDLE.len());
        for dump in [dump(), restricted_dump()] {
            let dump = dump.replace(DUMP_MIDDLE, &middle);
            check_dump(dump.as_bytes()).unwrap();
            let end = dump.rfind("--\n-- PostgreSQL").unwrap();
            for length in 0..end {
                structure(check_dump(&dump.as_bytes()[..length]), &dump[..length]);
            }
        }
    }
}

/// Nor are they the end in a function or a comment, where nothing marks them as data.
#[test]
fn a_dump_that_holds_the_words_of_its_end_is_whole() {
    let text = "COMMENT ON TABLE \"public\".\"t\" IS 'it ends in\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n';\n\n";
    for dump in [dump(), restricted_dump()] {
        for before in ["COPY ", "CREATE INDEX "] {
            let dump = dump.replacen(before, &format!("{text}{before}"), 1);
            let contents = check_dump(dump.as_bytes()).unwrap();
            assert_eq!(contents.entries, dump.lines().count() as u64);
        }
    }
}

#[test]
fn a_dump_is_followed_through_long_lines() {
    // Longer than what is kept of the end, and than a block that is read at once.
    let row = format!("{}\n", "x".repeat(200_000));
    let middle = DUMP_MIDDLE.replace("second row\n", &row);
    let dump = dump().replace(DUMP_MIDDLE, &middle);
    assert_eq!(
        check_dump(dump.as_bytes()).unwrap().bytes,
        dump.len() as u64
    );
    let end = dump.rfind("--\n-- PostgreSQL").unwrap();
    for length in (1..end).step_by(4999) {
        structure(check_dump(&dump.as_bytes()[..length]), length);
    }
}
