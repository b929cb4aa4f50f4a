//! Encrypted files: what is sealed opens, anything else is refused, and another implementation of
//! `docs/encryption-format.md` agrees.
//!
//! Opening a file pays Argon2 as its header says. The tests that open thousands of files make them
//! here, from the same page, with the least cost that it allows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::sealing::*;
use common::{Scratch, noise, password};
use hmac::KeyInit;
use proptest::prelude::*;
use sha2::Digest;
use std::io::Read;
use std::sync::LazyLock;
use zbackup_core::error::ErrorKind;
use zbackup_core::progress::Monitor;
use zbackup_core::secret::{Password, Secret};
use zbackup_core::stream::StoredReader;

/// A file of this program with five chunks, and another one of the same lengths.
static REAL: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| [1, 2].map(|seed| sealed(&noise(4 * BLOCK + 77, seed), WORD)));

#[test]
fn what_is_sealed_opens_at_the_ends_of_blocks() {
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 5] {
        let text = noise(length, length as u64);
        let file = sealed(&text, WORD);
        assert!(opened(&file, WORD) == text, "{length} bytes");
        // All of the file is what the page says, and nothing else.
        let (header, chunks) = parsed(&file);
        assert_eq!(&header[..2], b"Z2");
        assert_eq!(checksummed(header.clone()), header);
        assert_eq!(&header[62..94], [0; 32], "it belongs to no backup");
        let inside: usize = chunks.iter().map(|chunk| chunk.len() - 20).sum();
        assert_eq!(inside, length);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn what_is_sealed_opens(length in 0..5 * BLOCK, seed: u64, word in "\\PC{1,40}") {
        let text = noise(length, seed);
        prop_assert!(opened(&sealed(&text, &word), &word) == text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunks_of_any_length_open(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..40),
    ) {
        let file = Sealing::new(WORD, CHEAP, 3).file(&texts);
        prop_assert!(opened(&file, WORD) == texts.concat());
    }
}

#[test]
fn the_longest_chunk_opens_and_a_longer_one_does_not() {
    let sealing = Sealing::new(WORD, CHEAP, 4);
    let longest = noise(2 * BLOCK, 4);
    let texts = [&b""[..], &longest, b"", b"x", b""];
    assert!(opened(&sealing.file(&texts), WORD) == texts.concat());
    let longer = noise(2 * BLOCK + 1, 5);
    Refusals::new().damaged(&sealing.file(&[&longer[..], b"x"]), "a chunk over 2 MiB");
}

#[test]
fn every_flipped_bit_of_a_header_is_refused() {
    let refusals = Refusals::new();
    let file = sealed(b"what is in a backup", WORD);
    for bit in 0..HEADER * 8 {
        let mut changed = file.clone();
        flip(&mut changed, bit);
        refusals.damaged(&changed, format_args!("bit {bit}"));
    }
}

#[test]
fn every_flipped_bit_of_the_chunks_is_refused() {
    let refusals = Refusals::new();
    let sealing = Sealing::new(WORD, CHEAP, 6);
    let file = sealing.file(&[noise(40, 1), noise(1, 2), noise(0, 3), noise(17, 4)]);
    assert_eq!(opened(&file, WORD).len(), 58);
    for bit in HEADER * 8..file.len() * 8 {
        let mut changed = file.clone();
        flip(&mut changed, bit);
        refusals.damaged(&changed, format_args!("bit {bit}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn a_flipped_bit_of_a_file_of_this_program_is_refused(at: prop::sample::Index) {
        let mut changed = REAL[0].clone();
        let bit = HEADER * 8 + at.index((changed.len() - HEADER) * 8);
        flip(&mut changed, bit);
        Refusals::new().damaged(&changed, format_args!("bit {bit}"));
    }
}

#[test]
fn every_truncation_is_refused() {
    let refusals = Refusals::new();
    let sealing = Sealing::new(WORD, CHEAP, 7);
    let texts = [noise(40, 1), noise(1, 2), noise(0, 3), noise(17, 4)];
    let file = sealing.file(&texts);
    for length in 0..file.len() {
        let said = refusals.damaged(&file[..length], format_args!("{length} bytes"));
        // What has no more than its first byte does not tell what it was.
        assert!(length < 2 || said.contains("truncated"), "{length}: {said}");
    }
}

#[test]
fn a_truncated_file_of_this_program_is_refused() {
    let refusals = Refusals::new();
    let file = &REAL[0];
    let (_, chunks) = parsed(file);
    let ends: Vec<usize> = chunks
        .iter()
        .scan(HEADER, |end, chunk| {
            *end += chunk.len();
            Some(*end)
        })
        .collect();
    assert_eq!(ends.last(), Some(&file.len()));
    let lengths = [
        HEADER,
        ends[0],
        ends[1] + 3,
        ends[2] - 1,
        ends[3],
        file.len() - 1,
    ];
    for length in lengths {
        let said = refusals.damaged(&file[..length], format_args!("{length} bytes"));
        assert!(said.contains("truncated"), "{length}: {said}");
    }
}

/// Every order of up to five of the four chunks of a file, with repetition.
#[test]
fn every_other_sequence_of_chunks_is_refused() {
    let refusals = Refusals::new();
    let sealing = Sealing::new(WORD, CHEAP, 8);
    // Chunks of the same content: nothing but their place tells them apart.
    let chunks = sealing.chunks(&[b"same"; 4]);
    let whole = [0, 1, 2, 3];
    let mut sequences: Vec<Vec<usize>> = vec![vec![]];
    let mut longest = sequences.clone();
    for _ in 0..5 {
        longest = longest
            .iter()
            .flat_map(|start| (0..4).map(move |next| [&start[..], &[next]].concat()))
            .collect();
        sequences.extend_from_slice(&longest);
    }
    assert_eq!(sequences.len(), 1 + 4 + 16 + 64 + 256 + 1024);
    for sequence in sequences {
        let mut file = sealing.header.clone();
        for &chunk in &sequence {
            file.extend_from_slice(&chunks[chunk]);
        }
        if sequence == whole {
            assert_eq!(opened(&file, WORD), b"same".repeat(4));
            continue;
        }
        let said = refusals.damaged(&file, format_args!("{sequence:?}"));
        if whole.starts_with(&sequence) {
            assert!(said.contains("truncated"), "{sequence:?}: {said}");
        }
        if sequence.starts_with(&whole) {
            assert!(
                said.contains("after its last chunk"),
                "{sequence:?}: {said}"
            );
        }
    }
}

#[test]
fn moved_repeated_lost_and_foreign_chunks_of_this_program_are_refused() {
    let refusals = Refusals::new();
    let (header, chunks) = parsed(&REAL[0]);
    let (_, foreign) = parsed(&REAL[1]);
    assert_eq!(chunks.len(), 5);
    let joined = |chunks: &[Vec<u8>]| [header.clone(), chunks.concat()].concat();
    assert!(joined(&chunks) == REAL[0]);
    type Change<'a> = &'a dyn Fn(&mut Vec<Vec<u8>>);
    let changes: [(&str, Change<'_>); 11] = [
        ("first two swapped", &|chunks| chunks.swap(0, 1)),
        ("two in the middle swapped", &|chunks| chunks.swap(1, 3)),
        ("last swapped", &|chunks| chunks.swap(3, 4)),
        ("first lost", &|chunks| drop(chunks.remove(0))),
        ("one in the middle lost", &|chunks| drop(chunks.remove(2))),
        ("last lost", &|chunks| drop(chunks.pop())),
        ("one in the middle repeated", &|chunks| {
            chunks.insert(2, chunks[2].clone());
        }),
        ("last repeated", &|chunks| chunks.push(chunks[4].clone())),
        ("a chunk of another file", &|chunks| {
            chunks[1].clone_from(&foreign[1]);
        }),
        ("the last chunk of another file", &|chunks| {
            chunks[4].clone_from(&foreign[4]);
        }),
        ("zeros behind the end", &|chunks| chunks.push(vec![0; 100])),
    ];
    for (what, change) in changes {
        let mut changed = chunks.clone();
        change(&mut changed);
        refusals.damaged(&joined(&changed), what);
    }
}

#[test]
fn one_byte_behind_the_end_is_refused() {
    let refusals = Refusals::new();
    let file = Sealing::new(WORD, CHEAP, 9).file(&[b"one"]);
    for byte in 0..=255 {
        refusals.damaged(&[&file[..], &[byte]].concat(), format_args!("byte {byte}"));
    }
}

#[test]
fn a_wrong_password_is_called_that() {
    let refusals = Refusals::new();
    let file = sealed(b"secret", WORD);
    for word in [
        "correct horsf",
        "Correct horse",
        "correct horse ",
        "correct",
    ] {
        let error = refusals.of(&file, word, &word);
        assert_eq!(error.kind(), ErrorKind::WrongPassword, "{error}");
        assert!(!error.to_string().contains(word), "{error}");
    }
}

#[test]
fn an_encrypted_file_asks_for_its_password() {
    let scratch = Scratch::new();
    let input = scratch.file("in.enc", &Sealing::new(WORD, CHEAP, 10).file(&[b"x"]));
    let error = StoredReader::open(&input, None, &Monitor::silent()).err();
    assert_eq!(error.unwrap().kind(), ErrorKind::NoPassword);
    let empty = Password::new(Secret::new(Vec::new()));
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn costs_out_of_bounds_are_refused_before_they_are_paid() {
    let refusals = Refusals::new();
    let sealing = Sealing::new(WORD, CHEAP, 11);
    // Terabytes and days, most of them.
    let costs = [
        (u32::MAX, u32::MAX, 1),
        (u32::MAX, 1, 1),
        (8, u32::MAX, 1),
        (u32::MAX, 1, u32::MAX),
        (262_145, 1, 1),
        (262_144, 5, 4),
        (65_537, 16, 4),
        (8, 17, 1),
        (8, 0, 1),
        (0, 1, 0),
        (8, 1, 0),
        (136, 1, 17),
        (7, 1, 1),
        (127, 1, 16),
        (0, 0, 0),
    ];
    for (m, t, p) in costs {
        let mut header = sealing.header.clone();
        for (at, cost) in [(2, m), (6, t), (10, p)] {
            header[at..at + 4].copy_from_slice(&cost.to_le_bytes());
        }
        let file = [checksummed(header), sealing.chunk(0, true, b"x")].concat();
        let said = refusals.damaged(&file, format_args!("m={m} t={t} p={p}"));
        assert!(said.contains("unreasonable effort"), "{said}");
    }
}

#[test]
fn costs_at_the_bounds_open() {
    for (m, t, p) in [
        (8, 1, 1),
        (8, 16, 1),
        (128, 16, 16),
        (65_536, 16, 4),
        (262_144, 4, 1),
    ] {
        let file = Sealing::new(WORD, Costs { m, t, p }, 12).file(&[b"text"]);
        assert_eq!(opened(&file, WORD), b"text", "m={m} t={t} p={p}");
    }
}

/// Somebody who can compute a checksum cannot change the header for all that.
#[test]
fn a_header_that_was_changed_on_purpose_is_refused() {
    let refusals = Refusals::new();
    let sealing = Sealing::new(WORD, CHEAP, 13);
    let chunk = sealing.chunk(0, true, b"x");
    for bit in 14 * 8..126 * 8 {
        let mut header = sealing.header.clone();
        flip(&mut header, bit);
        let file = [checksummed(header), chunk.clone()].concat();
        let error = refusals.of(&file, WORD, &bit);
        assert_eq!(error.kind(), ErrorKind::WrongPassword, "bit {bit}: {error}");
    }
}

#[test]
fn what_is_not_encrypted_is_refused() {
    let refusals = Refusals::new();
    for file in [
        &b""[..],
        b"Z",
        b"Z3",
        b"z2",
        b"\x1f\x8b\x08",
        b"PK",
        &[0; 4096],
    ] {
        refusals.damaged(file, file.escape_ascii());
    }
}

/// Who reads on after an error is not told that this was the end.
#[test]
fn a_reader_that_has_failed_does_not_end_well() {
    let scratch = Scratch::new();
    let sealing = Sealing::new(WORD, CHEAP, 14);
    let file = sealing.file(&[b"one", b"two", b"six"]);
    let (header, mut chunks) = parsed(&file);
    let truncated = file[..file.len() - 1].to_vec();
    chunks.swap(0, 1);
    let swapped = [header, chunks.concat()].concat();
    for (what, file) in [("truncated", truncated), ("swapped", swapped)] {
        let input = scratch.file("in.enc", &file);
        let mut reader =
            StoredReader::open(&input, Some(&password(WORD)), &Monitor::silent()).unwrap();
        assert!(reader.read_to_end(&mut Vec::new()).is_err(), "{what}");
        for _ in 0..5 {
            assert!(reader.read(&mut [0; 9]).is_err(), "{what}: it read on");
        }
        assert_eq!(
            reader.finish().unwrap_err().kind(),
            ErrorKind::Damaged,
            "{what}"
        );
    }
}
