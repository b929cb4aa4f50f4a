//! A file of Zotonic's own module: header and body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::LazyLock;
use zbackup_core::progress::Monitor;
use zbackup_core::secret::{Password, Secret};
use zbackup_core::stream::{Encryption, StoredReader};
use zbackup_fuzz::{Room, is_said_well};

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);
static PASSWORD: LazyLock<Password> =
    LazyLock::new(|| Password::new(Secret::new(b"correct horse".to_vec())).unwrap());

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    // An effort that is allowed can take ten seconds: what is tried here is what comes of it.
    if let Some(field) = file.get_mut(2..6) {
        let iterations = u32::from_le_bytes(field.try_into().unwrap());
        if (1000..=20_000_000).contains(&iterations) {
            field.copy_from_slice(&(iterations % 1000 + 1).to_le_bytes());
        }
    }
    let path = ROOM.here().join("file");
    std::fs::write(&path, &file).unwrap();
    let mut reader = match StoredReader::open(&path, Some(&PASSWORD), &Monitor::silent()) {
        Ok(reader) => reader,
        Err(error) => return is_said_well(&error),
    };
    let mut plain = Vec::new();
    match reader.encryption() {
        // Its own target.
        Encryption::Z2 => {}
        encryption => {
            reader.read_to_end(&mut plain).unwrap();
            let header = if encryption == Encryption::Z1 { 54 } else { 0 };
            assert_eq!(plain.len(), file.len() - header);
            let stored = reader.finish().unwrap();
            assert_eq!(stored.size, file.len() as u64);
            assert_eq!(stored.sha256.to_string(), hex(&Sha256::digest(&file)));
        }
    }
});

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
