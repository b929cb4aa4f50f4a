//! Files with holes, and files of lengths that cannot be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::room::*;
use common::tar::Tar;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use zbackup_core::archive::{Incomplete, unpack};
use zbackup_core::progress::Monitor;

#[test]
fn maps_of_holes_that_are_not_right_are_refused() {
    let piece = |offset: u64, length: u64| format!("{offset:011o}\0{length:011o}\0");
    for (pieces, size, length) in [
        (piece(0, 10), 5, 100),
        (piece(0, 5), 10, 100),
        (piece(50, 10) + &piece(0, 10), 20, 100),
        (piece(0, 10) + &piece(5, 10), 20, 100),
        (piece(95, 10), 10, 100),
        (piece(0o77_777_777_777, 10), 10, 100),
        ("x".repeat(24), 10, 100),
    ] {
        let mut archive = Tar::new()
            .raw(b'S', "holes", "", size, &[7; 32][..size as usize])
            .end();
        archive[386..386 + pieces.len()].copy_from_slice(pieces.as_bytes());
        archive[483..495].copy_from_slice(format!("{length:011o}\0").as_bytes());
        Tar::checksum(&mut archive[..512]);
        is_refused_bytes(&archive, "map of its holes");
    }
    let mapped = |map: &[u8]| {
        let mut data = map.to_vec();
        data.resize(512, 0);
        data.extend_from_slice(b"12345");
        Tar::new()
            .pax(&[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.name", "holes"),
                ("GNU.sparse.realsize", "100"),
            ])
            .file("GNUSparseFile.1/holes", &data)
    };
    let (room, _) = restored(mapped(b"2\n3\n5\n100\n0\n"));
    let expected = [&[0; 3][..], b"12345", &[0; 92]].concat();
    assert_eq!(content(&room, "holes").as_bytes(), expected);
    for map in [
        &b"1\n3\n4\n"[..],
        b"1\n98\n5\n",
        b"99999999\n",
        b"x\n",
        b"\n",
        b"99999999999999999999999\n",
        b"1\n3\n",
    ] {
        is_refused(mapped(map), "map of its holes");
    }
}

/// Zeros without an end, or bytes before that.
struct Zeros(Vec<u8>, u64);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.0.is_empty() {
            let count = buffer.len().min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            return Ok(count);
        }
        let count = buffer
            .len()
            .min(usize::try_from(self.1).unwrap_or(usize::MAX));
        buffer[..count].fill(0);
        self.1 -= count as u64;
        Ok(count)
    }
}

#[test]
fn zeros_take_no_room() {
    let length = 10_000_000_000_u64;
    let header = Tar::new().raw(b'0', "zeros", "", length, b"").0;
    let room = Room::new();
    let rest = length.next_multiple_of(512) + 1024;
    let unpacked = room.unpack(Zeros(header, rest)).unwrap();
    assert_eq!(unpacked.bytes, length);
    room.place();
    let metadata = room.at("zeros").metadata().unwrap();
    assert_eq!(metadata.len(), length);
    assert!(metadata.blocks() < 2048, "{} blocks", metadata.blocks());
}

/// Lengths at the end of what a number can hold, and beyond what a file can have.
#[test]
fn lengths_that_no_file_can_have_are_refused() {
    let end = |number: i128| (i128::from(i64::MAX) + number).to_string();
    let sized = |size: &str| {
        Tar::new()
            .pax(&[("size", size)])
            .raw(b'0', "the-huge-one", "", 5, b"12345")
    };
    for size in [1, 2, 512, 1 << 62, i128::from(i64::MAX)].map(end) {
        is_refused(sized(&size), "the-huge-one");
    }
    is_refused(sized(&u64::MAX.to_string()), "the-huge-one");
    for size in [i64::MAX - 1, i64::MAX].map(|size| size.to_string()) {
        is_refused(sized(&size), "the-huge-one");
    }
    let sparse = |name: &str, length: &str, map: &str| {
        let mut data = map.as_bytes().to_vec();
        data.resize(512, 0);
        Tar::new()
            .pax(&[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.name", name),
                ("GNU.sparse.realsize", length),
            ])
            .file("GNUSparseFile.1/x", &data)
    };
    for length in [1, 512, 1 << 62].map(end) {
        is_refused(sparse("the-huge-one", &length, "0\n"), "the-huge-one");
        is_refused(
            sparse("the-huge-one", &length, &format!("1\n{}\n0\n", end(1))),
            "the-huge-one",
        );
    }
    // Zeros before a number go on as long as they like.
    is_refused(
        sparse("the-huge-one", "0", &format!("{}0\n", "0".repeat(400))),
        "the-huge-one",
    );
    let map = format!("2\n{}\n{}\n0\n0\n", u64::MAX, u64::MAX);
    is_refused(sparse("the-huge-one", &end(0), &map), "the-huge-one");
}

/// Each of them can be, on a file system that takes it: their sum cannot.
#[test]
fn lengths_that_are_too_much_together_are_refused() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let into = folder.path().join("into");
    let mut archive = Tar::new();
    let mut data = b"0\n".to_vec();
    data.resize(512, 0);
    for name in ["one", "two", "three", "the-last-one"] {
        archive = archive
            .pax(&[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.name", name),
                ("GNU.sparse.realsize", &i64::MAX.to_string()),
            ])
            .file("GNUSparseFile.1/x", &data);
    }
    std::fs::create_dir(&into).unwrap();
    let all = |path: &[u8]| Some(path.to_vec());
    match unpack(&archive.end()[..], &into, &all, &Monitor::silent()) {
        Err(Incomplete::Structure(reason)) => {
            assert!(
                reason.contains("three") && reason.contains("together"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}
