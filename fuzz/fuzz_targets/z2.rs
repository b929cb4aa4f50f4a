//! A file of ours: header and body. Either the input is the file, with the checksum of its header made
//! right; or it says what happens to a whole one. Whatever happens: what is read of it is what was
//! written, and all is read only where all is there.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::sync::LazyLock;
use zbackup_core::progress::Monitor;
use zbackup_core::secret::{Password, Secret};
use zbackup_core::stream::{Context, Effort, Encryption, Sealer, StoredReader, StreamWriter};
use zbackup_fuzz::{Room, is_said_well};

const HEADER: usize = 134;
/// Memory, passes, lanes and salt: what the key comes from.
const EFFORT: std::ops::Range<usize> = 2..30;
const CHECKSUM: usize = 126;

#[derive(Arbitrary, Debug)]
enum Input {
    File { mend: bool, bytes: Vec<u8> },
    Whole(Vec<Change>),
}

#[derive(Arbitrary, Debug)]
enum Change {
    Byte { at: u16, xor: u8 },
    Header { at: u8, value: u8 },
    Cut { length: u16 },
    Append(Vec<u8>),
    Drop { chunk: u8 },
    Repeat { chunk: u8 },
    Swap { one: u8, other: u8 },
    Mend,
}

struct Story {
    room: Room,
    password: Password,
    /// A whole file, and what is in it.
    file: Vec<u8>,
    plain: Vec<u8>,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let room = Room::new();
    let password = Password::new(Secret::new(b"correct horse".to_vec())).unwrap();
    let path = room.here().join("file");
    let sealer = Sealer::new(&password).unwrap();
    let file = std::fs::File::create_new(&path).unwrap();
    let mut writer =
        StreamWriter::new(file, &path, Effort::Quick, Some(&sealer), &Context::NONE).unwrap();
    // Four blocks and a bit, each of which becomes a small chunk.
    let zeros = vec![7; 1 << 20];
    for block in 0..4_u8 {
        writer.write_all(&[block]).unwrap();
        writer.write_all(&zeros).unwrap();
    }
    writer.finish().unwrap();
    let file = std::fs::read(&path).unwrap();
    let mut plain = Vec::new();
    let monitor = Monitor::silent();
    let mut reader = StoredReader::open(&path, Some(&password), &monitor).unwrap();
    reader.read_to_end(&mut plain).unwrap();
    assert_eq!(reader.encryption(), Encryption::Z2);
    Story {
        room,
        password,
        file,
        plain,
    }
});

fuzz_target!(|input: Input| {
    let story = &*STORY;
    let mut file = match input {
        Input::File {
            mend: is_mended,
            mut bytes,
        } => {
            if is_mended {
                mend(&mut bytes);
            }
            bytes
        }
        Input::Whole(changes) => {
            let mut file = story.file.clone();
            for change in changes.into_iter().take(8) {
                change.apply(&mut file);
            }
            file
        }
    };
    make_affordable(&mut file, &story.file);
    let path = story.room.here().join("file");
    std::fs::write(&path, &file).unwrap();
    let mut reader = match StoredReader::open(&path, Some(&story.password), &Monitor::silent()) {
        Ok(reader) => reader,
        Err(error) => return is_said_well(&error),
    };
    if reader.encryption() != Encryption::Z2 {
        return;
    }
    let mut plain = Vec::new();
    let mut buffer = [0; 1000];
    let whole = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) => plain.extend_from_slice(&buffer[..count]),
            Err(_) => break false,
        }
    };
    assert!(
        story.plain.starts_with(&plain),
        "what was read was never written"
    );
    match reader.finish() {
        Ok(_) => assert!(
            whole && plain == story.plain && file == story.file,
            "it is not whole"
        ),
        Err(error) => {
            is_said_well(&error);
            assert!(!whole);
        }
    }
});

impl Change {
    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Self::Byte { at, xor } => {
                if let Some(byte) = file.get_mut(usize::from(at)) {
                    *byte ^= xor;
                }
            }
            Self::Header { at, value } => {
                if let Some(byte) = file.get_mut(usize::from(at) % HEADER) {
                    *byte = value;
                }
            }
            Self::Cut { length } => file.truncate(usize::from(length)),
            Self::Append(bytes) => file.extend_from_slice(&bytes),
            Self::Mend => mend(file),
            Self::Drop { chunk } => edit(file, |chunks| {
                if !chunks.is_empty() {
                    chunks.remove(usize::from(chunk) % chunks.len());
                }
            }),
            Self::Repeat { chunk } => edit(file, |chunks| {
                if !chunks.is_empty() {
                    let chunk = usize::from(chunk) % chunks.len();
                    chunks.insert(chunk, chunks[chunk].clone());
                }
            }),
            Self::Swap { one, other } => edit(file, |chunks| {
                if !chunks.is_empty() {
                    let count = chunks.len();
                    chunks.swap(usize::from(one) % count, usize::from(other) % count);
                }
            }),
        }
    }
}

/// Changes the order of chunks, as far as the file has them.
fn edit(file: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    if file.len() < HEADER {
        return;
    }
    let mut rest = file.split_off(HEADER);
    let mut chunks = Vec::new();
    while let Some(field) = rest.first_chunk::<4>() {
        let length = 4 + u32::from_le_bytes(*field) as usize;
        if length > rest.len() {
            break;
        }
        let next = rest.split_off(length);
        chunks.push(std::mem::replace(&mut rest, next));
    }
    change(&mut chunks);
    file.extend(chunks.concat());
    file.extend(rest);
}

/// An effort that is allowed can take a second: what is tried here is what comes of it. That of the whole
/// file was paid already.
fn make_affordable(file: &mut [u8], whole: &[u8]) {
    if file.len() < HEADER || file[EFFORT] == whole[EFFORT] {
        return;
    }
    let is_right = has_checksum(file);
    for (at, most) in [(2, 1024_u32), (6, 16), (10, 16)] {
        let value = u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        if at == 2 && (most..=256 << 10).contains(&value) {
            file[at..at + 4].copy_from_slice(&(value % most).to_le_bytes());
        }
    }
    if is_right {
        mend(file);
    }
}

fn has_checksum(file: &[u8]) -> bool {
    Sha256::digest(&file[..CHECKSUM])[..HEADER - CHECKSUM] == file[CHECKSUM..HEADER]
}

fn mend(file: &mut [u8]) {
    if file.len() >= HEADER {
        file[..2].copy_from_slice(b"Z2");
        let checksum = Sha256::digest(&file[..CHECKSUM]);
        file[CHECKSUM..HEADER].copy_from_slice(&checksum[..HEADER - CHECKSUM]);
    }
}
