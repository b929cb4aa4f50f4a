//! Encrypted files made byte by byte, as `docs/encryption-format.md` says, and what the tests of them ask.

#![allow(dead_code)] // not every test uses all of it
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Scratch, noise, password, set};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::progress::Monitor;
use zbackup_core::stream::{Encryption, decrypt_file, encrypt_file};

pub(crate) const HEADER: usize = 134;
pub(crate) const BLOCK: usize = 1 << 20;
pub(crate) const WORD: &str = "correct horse";

// What the page says, for a second time.

#[derive(Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) m: u32,
    pub(crate) t: u32,
    pub(crate) p: u32,
}

/// The least that the page allows: microseconds.
pub(crate) const CHEAP: Costs = Costs { m: 8, t: 1, p: 1 };

pub(crate) struct Sealing {
    pub(crate) header: Vec<u8>,
    pub(crate) chunks: Aes256Gcm,
}

impl Sealing {
    /// `seed` decides the salts.
    pub(crate) fn new(word: &str, costs: Costs, seed: u64) -> Self {
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

    pub(crate) fn chunk(&self, index: u64, last: bool, text: &[u8]) -> Vec<u8> {
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

    pub(crate) fn chunks<T: AsRef<[u8]>>(&self, texts: &[T]) -> Vec<Vec<u8>> {
        let last = texts.len() - 1;
        texts
            .iter()
            .enumerate()
            .map(|(index, text)| self.chunk(index as u64, index == last, text.as_ref()))
            .collect()
    }

    pub(crate) fn file<T: AsRef<[u8]>>(&self, texts: &[T]) -> Vec<u8> {
        [self.header.clone(), self.chunks(texts).concat()].concat()
    }
}

/// The header of bytes 0 to 125 with its checksum.
pub(crate) fn checksummed(mut header: Vec<u8>) -> Vec<u8> {
    header.truncate(126);
    let checksum = Sha256::digest(&header);
    header.extend_from_slice(&checksum[..8]);
    header
}

/// The header of a file and its chunks.
pub(crate) fn parsed(file: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
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
pub(crate) fn sealed(text: &[u8], word: &str) -> Vec<u8> {
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
pub(crate) fn opened(file: &[u8], word: &str) -> Vec<u8> {
    let scratch = Scratch::new();
    let input = scratch.file("in.enc", file);
    let opened = decrypt_file(&input, None, &password(word), false, &Monitor::silent()).unwrap();
    assert_eq!(opened.output, scratch.join("in"));
    assert_eq!(opened.encryption, Encryption::Z2);
    assert_eq!(scratch.names(), set(["in", "in.enc"]));
    std::fs::read(opened.output).unwrap()
}

/// A folder in which files are tried that must not open.
pub(crate) struct Refusals(pub(crate) Scratch);

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Scratch::new())
    }

    /// Why `decrypt_file` does not take a file; it must leave nothing.
    pub(crate) fn of(&self, file: &[u8], word: &str, what: &dyn std::fmt::Display) -> Error {
        let input = self.0.file("in.enc", file);
        let result = decrypt_file(&input, None, &password(word), false, &Monitor::silent());
        let Err(error) = result else {
            panic!("{what}: it was opened");
        };
        assert_eq!(self.0.names(), set(["in.enc"]), "{what}: {error}");
        error
    }

    pub(crate) fn damaged(&self, file: &[u8], what: impl std::fmt::Display) -> String {
        let error = self.of(file, WORD, &what);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains("in.enc is damaged: "), "{what}: {text}");
        text
    }
}

pub(crate) fn flip(file: &mut [u8], bit: usize) {
    file[bit / 8] ^= 1 << (bit % 8);
}
