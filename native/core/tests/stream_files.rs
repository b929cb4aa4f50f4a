//! Encrypted files and other programs; and the outputs of encrypting and decrypting.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::sealing::*;
use common::{Scratch, cancelled_at_once, noise, password, script, set, succeeded};
use hmac::KeyInit;
use sha2::Digest;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zbackup_core::error::ErrorKind;
use zbackup_core::progress::Monitor;
use zbackup_core::stream::{Encryption, decrypt_file, encrypt_file};

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
