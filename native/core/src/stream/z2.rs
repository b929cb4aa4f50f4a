//! Encryption of new files: Argon2id, HKDF-SHA256 and AES-256-GCM in the STREAM construction.
//! `docs/encryption-format.md` is the specification; the names here are its names.

use crate::error::{Error, Result};
use crate::priority;
use crate::secret::Password;
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use zeroize::Zeroizing;

/// The first bytes of a file in this format.
pub(super) const MAGIC: &[u8; 2] = b"Z2";
/// Length of the header.
pub(super) const HEADER: usize = 134;
/// The largest ciphertext of a chunk, with its tag.
pub(super) const LONGEST_CHUNK: usize = (2 << 20) + TAG;
/// Length of the tag at the end of a chunk.
pub(super) const TAG: usize = 16;
/// Length of the field before a chunk that holds the chunk's length.
pub(super) const LENGTH: usize = 4;

const CONTEXT_AT: usize = 62;
const TAG_AT: usize = 94;
const CHECKSUM_AT: usize = 126;

/// What a file is sealed as. It is in the header, authenticated: a file that is in the place of
/// another one shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context([u8; 32]);

impl Context {
    /// A file of its own, which belongs to no backup.
    pub const NONE: Self = Self([0; 32]);

    /// The file of a part of a backup: the backup's name, the part's name in the catalog, and the
    /// time that it was made at, in seconds since 1970.
    #[must_use]
    pub fn of(backup: &str, part: &str, timestamp: i64) -> Self {
        let text = format!("{backup}\n{part}\n{timestamp}\n");
        Self(Sha256::digest(text).into())
    }
}

/// What Argon2 costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Costs {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Costs {
    /// The second recommended option of RFC 9106, section 4: 64 MiB, for machines that have other
    /// work to do.
    const NEW: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 4,
    };

    /// A header cannot make its reader spend more than 256 MiB or some seconds.
    fn are_bounded(self) -> bool {
        (1..=16).contains(&self.lanes)
            && (1..=16).contains(&self.passes)
            && (8 * self.lanes..=256 << 10).contains(&self.memory_kib)
            && u64::from(self.memory_kib) * u64::from(self.passes) <= 1 << 20
    }
}

/// What the password becomes: the key that the keys of each file come from.
struct Root(Zeroizing<[u8; 32]>);

impl Root {
    fn derive(password: &Password, salt: &[u8; 16], costs: Costs) -> Result<Self> {
        let params = Params::new(costs.memory_kib, costs.passes, costs.lanes, Some(32));
        let mut root = Zeroizing::new([0; 32]);
        let derive = || {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params?);
            argon2.hash_password_into(password.expose(), salt, root.as_mut_slice())
        };
        on_all_cores(costs.lanes, derive)?
            .map_err(|error| Error::Internal(format!("Argon2: {error}")))?;
        Ok(Self(root))
    }

    /// A key for one purpose in one file: HKDF-SHA256 (RFC 5869).
    fn key(&self, file_salt: &[u8], purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let mut key = Zeroizing::new([0; 32]);
        hkdf::Hkdf::<Sha256>::new(Some(file_salt), self.0.as_slice())
            .expand(purpose, key.as_mut_slice())
            .map_err(|error| Error::Internal(format!("HKDF: {error}")))?;
        Ok(key)
    }
}

/// Does work that comes in lanes. Its threads are gone when it is done, unlike those of rayon's own pool:
/// the code that they run may be unloaded.
fn on_all_cores<T: Send>(lanes: u32, work: impl FnOnce() -> T + Send) -> Result<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(cores.min(lanes as usize)) // at most 16
        .thread_name(|_| "zbackup-password".into())
        .start_handler(|_| priority::lower())
        .build_scoped(rayon::ThreadBuilder::run, |pool| pool.install(work))
        .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))
}

/// Seals the files of one backup: the password is derived once for all of them, beside the reading and
/// compressing of the first blocks.
pub struct Sealer {
    deriving: Arc<Deriving>,
    thread: Option<JoinHandle<()>>,
}

struct Deriving {
    password: Password,
    salt: [u8; 16],
    costs: Costs,
    root: OnceLock<Result<Root>>,
}

impl Deriving {
    /// Waits for the key that the password becomes.
    fn root(&self) -> Result<&Root> {
        self.root
            .get_or_init(|| Root::derive(&self.password, &self.salt, self.costs))
            .as_ref()
            .map_err(|error| Error::Internal(error.to_string()))
    }
}

impl Sealer {
    /// Begins to derive the password, which takes some tenths of a second and 64 MiB.
    ///
    /// # Errors
    /// `Internal` when the operating system has no randomness or no thread.
    pub fn new(password: &Password) -> Result<Self> {
        let deriving = Arc::new(Deriving {
            password: password.clone(),
            salt: random()?,
            costs: Costs::NEW,
            root: OnceLock::new(),
        });
        let beside = Arc::clone(&deriving);
        let thread = priority::spawn("password", move || {
            // Whoever needs the key gets the error.
            let _ = beside.root();
        })?;
        Ok(Self {
            deriving,
            thread: Some(thread),
        })
    }

    /// What a new file is sealed with.
    pub(super) fn file(&self, context: &Context) -> Result<FileSeal> {
        Ok(FileSeal {
            deriving: Arc::clone(&self.deriving),
            salt: random()?,
            context: *context,
        })
    }
}

impl Drop for Sealer {
    /// No thread outlives its job: the code that it runs may be unloaded.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What one new file is sealed with. Clones seal the same file.
#[derive(Clone)]
pub(super) struct FileSeal {
    deriving: Arc<Deriving>,
    salt: [u8; 32],
    context: Context,
}

impl FileSeal {
    /// The header of the file. Waits for the password to be derived.
    pub(super) fn header(&self) -> Result<[u8; HEADER]> {
        let Deriving { salt, costs, .. } = &*self.deriving;
        let mut header = [0; HEADER];
        header[0..2].copy_from_slice(MAGIC);
        header[2..6].copy_from_slice(&costs.memory_kib.to_le_bytes());
        header[6..10].copy_from_slice(&costs.passes.to_le_bytes());
        header[10..14].copy_from_slice(&costs.lanes.to_le_bytes());
        header[14..30].copy_from_slice(salt);
        header[30..CONTEXT_AT].copy_from_slice(&self.salt);
        header[CONTEXT_AT..TAG_AT].copy_from_slice(&self.context.0);
        let mac = header_mac(self.deriving.root()?, &header)?;
        header[TAG_AT..CHECKSUM_AT].copy_from_slice(&mac.finalize().into_bytes());
        let checksum = Sha256::digest(&header[..CHECKSUM_AT]);
        header[CHECKSUM_AT..].copy_from_slice(&checksum[..HEADER - CHECKSUM_AT]);
        Ok(header)
    }

    /// The key of its chunks. Waits for the password to be derived.
    pub(super) fn key(&self) -> Result<ChunkKey> {
        ChunkKey::new(self.deriving.root()?, &self.salt)
    }
}

/// Proves the header of the file at `path` with the password and gives the key of its chunks, and what
/// it was sealed as.
///
/// # Errors
/// `Damaged` when the header is not what was written or its costs are out of bounds,
/// `WrongPassword`.
pub(super) fn open(
    header: &[u8; HEADER],
    password: &Password,
    path: &Path,
) -> Result<(ChunkKey, Context)> {
    let checksum = Sha256::digest(&header[..CHECKSUM_AT]);
    if checksum[..HEADER - CHECKSUM_AT] != header[CHECKSUM_AT..] {
        return Err(Error::damaged(path, "its header was changed"));
    }
    let costs = Costs {
        memory_kib: u32::from_le_bytes(field(header, 2)),
        passes: u32::from_le_bytes(field(header, 6)),
        lanes: u32::from_le_bytes(field(header, 10)),
    };
    if !costs.are_bounded() {
        return Err(Error::damaged(
            path,
            format!(
                "its header asks for an unreasonable effort ({} KiB, {} passes, {} lanes)",
                costs.memory_kib, costs.passes, costs.lanes
            ),
        ));
    }
    let derive = || Ok(Root::derive(password, &field(header, 14), costs)?.0);
    let root = Root(password.key(&header[2..30], derive)?);
    header_mac(&root, header)?
        .verify_slice(&header[TAG_AT..CHECKSUM_AT])
        .map_err(|_| Error::WrongPassword(path.to_owned()))?;
    let key = ChunkKey::new(&root, &field::<32>(header, 30))?;
    Ok((key, Context(field(header, CONTEXT_AT))))
}

fn header_mac(root: &Root, header: &[u8; HEADER]) -> Result<Hmac<Sha256>> {
    let key = root.key(&header[30..CONTEXT_AT], b"zbackup Z2 header")?;
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_slice())
        .map_err(|error| Error::Internal(format!("HMAC: {error}")))?;
    mac.update(&header[..TAG_AT]);
    Ok(mac)
}

fn field<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// Seals and opens the chunks of one file. Never used for two files.
pub(super) struct ChunkKey(LessSafeKey);

impl ChunkKey {
    fn new(root: &Root, file_salt: &[u8]) -> Result<Self> {
        let key = root.key(file_salt, b"zbackup Z2 chunks")?;
        UnboundKey::new(&AES_256_GCM, key.as_slice())
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| Error::Internal("AES does not take a key".into()))
    }

    /// Makes chunk `index` of what is in `chunk` behind its first four bytes.
    pub(super) fn seal(&self, index: u64, last: bool, chunk: &mut Vec<u8>) -> Result<()> {
        if chunk.len() - LENGTH + TAG > LONGEST_CHUNK {
            return Err(Error::Internal("a chunk is too long to be sealed".into()));
        }
        let text = &mut chunk[LENGTH..];
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(index, last), Aad::empty(), text)
            .map_err(|_| Error::Internal("AES-GCM does not take a chunk".into()))?;
        chunk.extend_from_slice(tag.as_ref());
        let length = (chunk.len() - LENGTH) as u32; // at most LONGEST_CHUNK, see above
        chunk[..LENGTH].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Turns the ciphertext of chunk `index` into its plaintext. False, and nothing of it is left, when it
    /// does not authenticate.
    pub(super) fn open(&self, index: u64, last: bool, chunk: &mut Vec<u8>) -> bool {
        let text = self
            .0
            .open_in_place(nonce(index, last), Aad::empty(), chunk);
        let length = text.map(|text| text.len());
        chunk.truncate(length.unwrap_or(0));
        length.is_ok()
    }

    /// Why the ciphertext of chunk `index` does not open.
    pub(super) fn refusal(&self, index: u64, last: bool, chunk: &[u8]) -> String {
        let mut copy = Vec::with_capacity(chunk.len());
        let mut opens = |index, last| {
            copy.clear();
            copy.extend_from_slice(chunk);
            self.open(index, last, &mut copy)
        };
        if opens(index, last) {
            return format!(
                "chunk {index} is not the same each time that it is read: look at the disk and the memory \
                 of this machine"
            );
        }
        // Is it another chunk of this file? Near ones are tried.
        (index.saturating_sub(16)..=index.saturating_add(16))
            .flat_map(|other| [(other, false), (other, true)])
            .find(|&(other, other_last)| opens(other, other_last))
            .map_or_else(
                || format!("chunk {index} does not authenticate: it was changed"),
                |(other, other_last)| match (other == index, other_last) {
                    (true, true) => format!("there is data after its last chunk, {index}"),
                    (true, false) => format!("it is truncated after chunk {index}"),
                    _ => format!(
                        "chunk {index} is really chunk {other}: chunks were moved, repeated or lost"
                    ),
                },
            )
    }
}

/// STREAM's nonce (<https://eprint.iacr.org/2015/189>): the number of the chunk and whether it is the
/// last.
fn nonce(index: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_chunk_that_is_read_otherwise_the_second_time_shows() {
        let key = ChunkKey::new(&Root(Zeroizing::new([7; 32])), &[8; 32]).unwrap();
        let mut chunk = b"    text".to_vec();
        key.seal(3, false, &mut chunk).unwrap();
        let chunk = &chunk[LENGTH..];
        let says = |index, last| key.refusal(index, last, chunk);
        assert!(says(3, false).contains("not the same each time"));
        assert!(says(3, true).contains("truncated after chunk 3"));
        assert!(says(4, false).contains("really chunk 3"));
        assert!(key.refusal(3, false, &chunk[1..]).contains("was changed"));
    }

    #[test]
    fn costs_are_bounded_at_both_ends() {
        let costs = |memory_kib, passes, lanes| Costs {
            memory_kib,
            passes,
            lanes,
        };
        assert!(Costs::NEW.are_bounded());
        assert!(costs(8, 1, 1).are_bounded());
        assert!(costs(256 << 10, 4, 16).are_bounded());
        assert!(!costs(256 << 10, 5, 1).are_bounded());
        assert!(!costs((256 << 10) + 1, 1, 1).are_bounded());
        assert!(!costs(7, 1, 1).are_bounded());
        assert!(!costs(64, 0, 1).are_bounded());
        assert!(!costs(64, 17, 1).are_bounded());
        assert!(!costs(64, 1, 0).are_bounded());
        assert!(!costs(u32::MAX, u32::MAX, u32::MAX).are_bounded());
        assert!(!costs(4096, 1, 17).are_bounded());
    }
}
