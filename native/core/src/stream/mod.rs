//! The one pass over data: blocks in, gzip on all cores, seal, a staged file and its SHA-256 out; and the
//! way back.
//!
//! [`write`] is the way out, [`read`] the way back. Both cut the stream into blocks and let
//! [`pool`] work on several at once, in order.

mod file;
mod flushed;
mod gzip;
mod hashing;
mod pool;
mod read;
mod write;
mod z1;
mod z2;

pub use file::{Opened, decrypt_file, decrypted_name, encrypt_file};
pub use gzip::Effort;
pub(crate) use read::seems;
pub use read::{Encryption, StoredReader};
pub use write::{Stored, StreamWriter};
pub use z2::{Context, Sealer};

/// Bytes of source that are compressed and sealed as one piece. Large enough that starting anew with
/// every block costs the compression little, small enough that the blocks in flight are.
pub(crate) const BLOCK: usize = 1 << 20;
