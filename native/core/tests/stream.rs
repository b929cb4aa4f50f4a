//! Encrypted files: what is sealed opens, anything else is refused, and another implementation of
//! `docs/encryption-format.md` agrees.
//!
//! Opening a file pays Argon2 as its header says. The tests that open thousands of files make them
//! here, from the same page, with the least cost that it allows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Nonce};
use common::{Scratch, cancelled_at_once, noise, password, script, set, succeeded};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::progress::Monitor;
use zbackup_core::secret::{Password, Secret};
use zbackup_core::stream::{Encryption, StoredReader, decrypt_file, encrypt_file};

const HEADER: usize = 134;
const BLOCK: usize = 1 << 20;
const WORD: &str = "correct horse";

// What the page says, for a second time.

#[derive(Clone, Copy)]
struct Costs {
    m: u32,
    t: u32,
    p: u32,
}

/// The least that the page allows: microseconds.
const CHEAP: Costs = Costs { m: 8, t: 1, p: 1 };

struct Sealing {
    header: Vec<u8>,
    chunks: Aes256Gcm,
}

impl Sealing {
    /// `seed` decides the salts.
    fn new(word: &str, costs: Costs, seed: u64) -> Self {
        let salts = noise(48, seed);
        let mut header = b"Z2".to_vec();
        for cost in [costs.m, costs.t, costs.p] {
            header.extend_from_slice(&cost.to_le_bytes());
        }
        header.extend_from_slice(&salts);
        header.extend_from_slice(&[0; 32]);
        let params = argon2::Params::new(costs.m, costs.t, costs.p, Some(32)).unwrap();
        let mut root = [0; 32];
        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(word.as_bytes(), &salts[..16], &mut root)
            .unwrap();
        let key = |info: &[u8]| {
            let mut key = [0; 32];
            hkdf::Hkdf::<Sha256>::new(Some(&salts[16..]), &root)
                .expand(info, &mut key)
                .unwrap();
            key
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(&key(b"zbackup Z2 header")).unwrap();
        mac.update(&header);
        header.extend_from_slice(&mac.finalize().into_bytes());
        let mut sealing = Self {
            header,
            chunks: Aes256Gcm::new_from_slice(&key(b"zbackup Z2 chunks")).unwrap(),
        };
        sealing.header = checksummed(sealing.header);
        sealing
    }

    fn chunk(&self, index: u64, last: bool, text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&index.to_be_bytes());
        nonce[11] = last.into();
        let mut sealed = text.to_vec();
        let tag = self
            .chunks
            .encrypt_inout_detached(&Nonce::from(nonce), b"", sealed.as_mut_slice().into())
            .unwrap();
        sealed.extend_from_slice(&tag);
        let mut chunk = u32::try_from(sealed.len()).unwrap().to_le_bytes().to_vec();
        chunk.extend_from_slice(&sealed);
        chunk
    }

    fn chunks<T: AsRef<[u8]>>(&self, texts: &[T]) -> Vec<Vec<u8>> {
        let last = texts.len() - 1;
        texts
            .iter()
            .enumerate()
            .map(|(index, text)| self.chunk(index as u64, index == last, text.as_ref()))
            .collect()
    }

    fn file<T: AsRef<[u8]>>(&self, texts: &[T]) -> Vec<u8> {
        [self.header.clone(), self.chunks(texts).concat()].concat()
    }
}

/// The header of bytes 0 to 125 with its checksum.
fn checksummed(mut header: Vec<u8>) -> Vec<u8> {
    header.truncate(126);
    let checksum = Sha256::digest(&header);
    header.extend_from_slice(&checksum[..8]);
    header
}

/// The header of a file and its chunks.
fn parsed(file: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (header, mut rest) = file.split_at(HEADER);
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let (chunk, after) = rest.split_at(4 + length);
        chunks.push(chunk.to_vec());
        rest = after;
    }
    (header.to_vec(), chunks)
}

// What the tests ask.

/// What `encrypt_file` makes of `text`.
fn sealed(text: &[u8], word: &str) -> Vec<u8> {
    let scratch = Scratch::new();
    let input = scratch.file("in", text);
    let output = scratch.join("out");
    encrypt_file(
        &input,
        Some(&output),
        &password(word),
        false,
        &Monitor::silent(),
    )
    .unwrap();
    std::fs::read(output).unwrap()
}

/// What is inside of a file, by `decrypt_file`.
fn opened(file: &[u8], word: &str) -> Vec<u8> {
    let scratch = Scratch::new();
    let input = scratch.file("in.enc", file);
    let opened = decrypt_file(&input, None, &password(word), false, &Monitor::silent()).unwrap();
    assert_eq!(opened.output, scratch.join("in"));
    assert_eq!(opened.encryption, Encryption::Z2);
    assert_eq!(scratch.names(), set(["in", "in.enc"]));
    std::fs::read(opened.output).unwrap()
}

/// A folder in which files are tried that must not open.
struct Refusals(Scratch);

impl Refusals {
    fn new() -> Self {
        Self(Scratch::new())
    }

    /// Why `decrypt_file` does not take a file; it must leave nothing.
    fn of(&self, file: &[u8], word: &str, what: &dyn std::fmt::Display) -> Error {
        let input = self.0.file("in.enc", file);
        let result = decrypt_file(&input, None, &password(word), false, &Monitor::silent());
        let Err(error) = result else {
            panic!("{what}: it was opened");
        };
        assert_eq!(self.0.names(), set(["in.enc"]), "{what}: {error}");
        error
    }

    fn damaged(&self, file: &[u8], what: impl std::fmt::Display) -> String {
        let error = self.of(file, WORD, &what);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains("in.enc is damaged: "), "{what}: {text}");
        text
    }
}

fn flip(file: &mut [u8], bit: usize) {
    file[bit / 8] ^= 1 << (bit % 8);
}

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

// Another implementation.

/// Runs a Python script with a password file, the input and the output: its exit code and what it
/// says.
fn python(name: &str, word: &str, input: &Path, output: &Path, more: &[&str]) -> (i32, String) {
    let folder = Scratch::new();
    let word = folder.file("word", format!("{word}\n").as_bytes());
    let output = script(name)
        .args([&word, input, output])
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn python_opens_what_rust_sealed() {
    let scratch = Scratch::new();
    for (length, word) in [(0, WORD), (29, "pässwörd ☃"), (3 * BLOCK + 9, WORD)] {
        let text = noise(length, 21);
        let input = scratch.file("sealed", &sealed(&text, word));
        let output = scratch.join("opened");
        let (code, said) = python("decrypt_z2.py", word, &input, &output, &[]);
        assert_eq!((code, said.as_str()), (0, ""), "{length} bytes");
        assert!(std::fs::read(&output).unwrap() == text, "{length} bytes");
    }
}

#[test]
fn python_refuses_what_rust_refuses() {
    let scratch = Scratch::new();
    let file = sealed(b"what is in a backup", WORD);
    let output = scratch.join("opened");
    let flipped = |bit| {
        let mut changed = file.clone();
        flip(&mut changed, bit);
        changed
    };
    let cases = [
        ("wrong password", "wrong", file.clone(), 3),
        ("in the header", WORD, flipped(20 * 8), 4),
        ("in the text", WORD, flipped((HEADER + 5) * 8), 4),
        ("in the tag", WORD, flipped(file.len() * 8 - 1), 4),
        ("truncated", WORD, file[..file.len() - 1].to_vec(), 4),
        ("no chunk", WORD, file[..HEADER].to_vec(), 4),
        ("appended", WORD, [&file[..], b"x"].concat(), 4),
    ];
    for (what, word, file, expected) in cases {
        let input = scratch.file("sealed", &file);
        let (code, said) = python("decrypt_z2.py", word, &input, &output, &[]);
        assert_eq!(code, expected, "{what}: {said}");
        assert_eq!(scratch.names(), set(["sealed"]), "{what}");
    }
}

/// A file as Zotonic's own module makes it.
fn sealed_z1(scratch: &Scratch, text: &[u8], word: &str) -> PathBuf {
    let input = scratch.file("z1-text", text);
    let output = scratch.join("z1.enc");
    let (code, said) = python("seal_z1.py", word, &input, &output, &["1000"]);
    assert_eq!((code, said.as_str()), (0, ""));
    std::fs::remove_file(input).unwrap();
    output
}

#[test]
fn rust_opens_z1_files_of_any_length() {
    let scratch = Scratch::new();
    for length in [0, 1, 15, 16, 17, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
        let text = noise(length, 31);
        let input = sealed_z1(&scratch, &text, "pässwörd ☃");
        let opened = decrypt_file(
            &input,
            None,
            &password("pässwörd ☃"),
            true,
            &Monitor::silent(),
        )
        .unwrap();
        assert_eq!(opened.encryption, Encryption::Z1);
        assert!(
            std::fs::read(opened.output).unwrap() == text,
            "{length} bytes"
        );
    }
}

#[test]
fn a_z1_file_knows_its_password() {
    let scratch = Scratch::new();
    let file = std::fs::read(sealed_z1(&scratch, b"text", WORD)).unwrap();
    let refusals = Refusals::new();
    let error = refusals.of(&file, "wrong", &"wrong password");
    assert_eq!(error.kind(), ErrorKind::WrongPassword, "{error}");
    for length in 0..54 {
        refusals.damaged(&file[..length], format_args!("{length} bytes"));
    }
    // Minutes, if it were paid.
    for iterations in [0, 20_000_001, u32::MAX] {
        let mut changed = file.clone();
        changed[2..6].copy_from_slice(&iterations.to_le_bytes());
        let said = refusals.damaged(&changed, format_args!("{iterations} iterations"));
        assert!(said.contains("unreasonable effort"), "{said}");
    }
}

// Files.

#[test]
fn an_output_that_exists_is_kept_without_force() {
    let scratch = Scratch::new();
    let word = password(WORD);
    let silent = Monitor::silent();
    let input = scratch.file("in.enc", &Sealing::new(WORD, CHEAP, 41).file(&[b"new"]));
    let output = scratch.file("in", b"old");
    let kept = || std::fs::read(&output).unwrap() == b"old";

    let error = decrypt_file(&input, None, &word, false, &silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(kept());
    let error = encrypt_file(&input, Some(&output), &word, false, &silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(kept());
    // A link to nowhere is there too.
    let link = scratch.join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let error = decrypt_file(&input, Some(&link), &word, false, &silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert_eq!(scratch.names(), set(["in", "in.enc", "link"]));

    decrypt_file(&input, None, &word, true, &silent).unwrap();
    assert_eq!(std::fs::read(&output).unwrap(), b"new");
    assert_eq!(scratch.names(), set(["in", "in.enc", "link"]));
}

#[test]
fn force_replaces_an_output_only_by_a_whole_one() {
    let scratch = Scratch::new();
    let silent = Monitor::silent();
    let file = Sealing::new(WORD, CHEAP, 42).file(&[noise(3 * BLOCK / 2, 1), noise(9, 2)]);
    let output = scratch.file("out", b"old");
    let inode = output.metadata().unwrap().ino();
    let mut flipped = file.clone();
    flip(&mut flipped, file.len() * 8 - 1);
    let cases = [
        (
            "wrong password",
            &file[..],
            "wrong",
            ErrorKind::WrongPassword,
        ),
        ("flipped", &flipped, WORD, ErrorKind::Damaged),
        (
            "truncated",
            &file[..file.len() - 1],
            WORD,
            ErrorKind::Damaged,
        ),
        ("plain", b"plain", WORD, ErrorKind::Damaged),
    ];
    for (what, file, word, kind) in cases {
        let input = scratch.file("in", file);
        let error =
            decrypt_file(&input, Some(&output), &password(word), true, &silent).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert_eq!(std::fs::read(&output).unwrap(), b"old", "{what}");
        assert_eq!(output.metadata().unwrap().ino(), inode, "{what}");
        assert_eq!(scratch.names(), set(["in", "out"]), "{what}");
    }
}

#[test]
fn outputs_are_for_their_owner_alone() {
    let scratch = Scratch::new();
    let word = password(WORD);
    let silent = Monitor::silent();
    let input = scratch.file("text", b"text");
    std::fs::set_permissions(&input, PermissionsExt::from_mode(0o666)).unwrap();
    let sealed = encrypt_file(&input, None, &word, false, &silent).unwrap();
    assert_eq!(sealed, scratch.join("text.enc"));
    let output = scratch.file("out", b"readable by everybody");
    std::fs::set_permissions(&output, PermissionsExt::from_mode(0o666)).unwrap();
    decrypt_file(&sealed, Some(&output), &word, true, &silent).unwrap();
    for path in [sealed, output] {
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600, "{path:?}");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let scratch = Scratch::new();
    let word = password(WORD);
    let silent = Monitor::silent();
    let input = scratch.file("in.enc", &Sealing::new(WORD, CHEAP, 43).file(&[b"x"]));
    let plain = scratch.file("plain", b"x");
    let folder = scratch.join("folder.enc");
    std::fs::create_dir(&folder).unwrap();
    let missing = scratch.join("missing.enc");
    let nowhere = scratch.join("nowhere/out");
    let out = scratch.join("out");
    let cases = [
        ("no input", &missing, Some(&out), ErrorKind::NotFound),
        ("no input, no output", &missing, None, ErrorKind::NotFound),
        (
            "no folder for the output",
            &input,
            Some(&nowhere),
            ErrorKind::NotFound,
        ),
        ("a folder as input", &folder, Some(&out), ErrorKind::Usage),
        (
            "a folder as output",
            &input,
            Some(&folder),
            ErrorKind::Usage,
        ),
        ("an input without .enc", &plain, None, ErrorKind::Usage),
    ];
    let before = scratch.names();
    for (what, input, output, kind) in cases {
        let output = output.map(PathBuf::as_path);
        let error = decrypt_file(input, output, &word, true, &silent).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert_eq!(scratch.names(), before, "{what}");
        if input != &plain {
            let error = encrypt_file(input, output, &word, true, &silent);
            // To encrypt what is encrypted is allowed.
            if let Err(error) = error {
                assert_eq!(error.kind(), kind, "{what}: {error}");
            } else {
                panic!("{what}: it was encrypted");
            }
            assert_eq!(scratch.names(), before, "{what}");
        }
    }
}

#[test]
fn a_cancelled_job_leaves_nothing() {
    let scratch = Scratch::new();
    let word = password(WORD);
    for length in [0, 5, 3 * BLOCK] {
        let input = scratch.file("text", &noise(length, 51));
        let error = encrypt_file(&input, None, &word, false, &cancelled_at_once()).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Cancelled,
            "{length} bytes: {error}"
        );
        assert_eq!(scratch.names(), set(["text"]), "{length} bytes");

        let sealed = Sealing::new(WORD, CHEAP, 52).file(&[noise(length.min(2 * BLOCK), 51)]);
        let sealed = scratch.file("sealed", &sealed);
        let output = scratch.file("out", b"old");
        let error =
            decrypt_file(&sealed, Some(&output), &word, true, &cancelled_at_once()).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Cancelled,
            "{length} bytes: {error}"
        );
        assert_eq!(std::fs::read(&output).unwrap(), b"old");
        assert_eq!(scratch.names(), set(["out", "sealed", "text"]));
        std::fs::remove_file(output).unwrap();
        std::fs::remove_file(sealed).unwrap();
    }
}

/// gzip itself, of a stream that was encrypted by this program, comes out as it went in.
#[test]
fn a_sealed_gzip_file_is_a_gzip_file_again() {
    let scratch = Scratch::new();
    let text = b"the quick brown fox ".repeat(100_000);
    let packed = common::fed(common::tool("gzip").arg("-c"), &text);
    let file = opened(&sealed(&packed.stdout, WORD), WORD);
    let path = scratch.file("text.gz", &file);
    let mut command = common::tool("gunzip");
    let output = command.arg("-c").arg(path).output().unwrap();
    succeeded(&command, &output);
    assert!(output.stdout == text);
}
