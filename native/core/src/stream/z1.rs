//! Files that Zotonic's own module encrypted: PBKDF2-HMAC-SHA256 and AES-256-CFB8, without integrity.
//! `docs/encryption-format.md` is the specification. Only ever read.

use crate::error::{Error, Result};
use crate::secret::Password;
use aes::Aes256;
use cfb8::Decryptor;
use cfb8::cipher::KeyIvInit;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::path::Path;
use zeroize::Zeroizing;

/// The first bytes of a file in this format.
pub(super) const MAGIC: &[u8; 2] = b"Z1";
/// Length of the header, with the encrypted check of the password.
pub(super) const HEADER: usize = 22 + CHECK;

/// Length of the check of the password.
const CHECK: usize = 32;
/// The feedback of CFB: what decrypting a byte needs is the 16 bytes of ciphertext before it.
const FEEDBACK: usize = 16;
/// A header cannot make its reader spend more than this: some ten seconds.
const MOST_ITERATIONS: u32 = 20_000_000;

/// Decrypts the body of one file, from its start to its end.
pub(super) struct Body {
    key: Zeroizing<[u8; 32]>,
    feedback: [u8; FEEDBACK],
}

/// A stretch of ciphertext that can be decrypted by itself.
pub(super) struct Stretch {
    key: Zeroizing<[u8; 32]>,
    feedback: [u8; FEEDBACK],
    text: Vec<u8>,
}

impl Body {
    /// Checks the password with the header of the file at `path`.
    ///
    /// # Errors
    /// `Damaged` when the header asks for too many iterations, `WrongPassword` (which is also what a
    /// damaged header looks like).
    pub(super) fn open(header: &[u8; HEADER], password: &Password, path: &Path) -> Result<Self> {
        let mut number = [0; 4];
        number.copy_from_slice(&header[2..6]);
        let iterations = u32::from_le_bytes(number);
        let salt = &header[6..22];
        if !(1..=MOST_ITERATIONS).contains(&iterations) {
            return Err(Error::damaged(
                path,
                format!("its header asks for an unreasonable effort ({iterations} iterations)"),
            ));
        }
        let mut material = Zeroizing::new([0; 48]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.expose(), salt, iterations, material.as_mut_slice());
        let mut body = Self {
            key: Zeroizing::new([0; 32]),
            feedback: [0; FEEDBACK],
        };
        body.feedback.copy_from_slice(&material[..FEEDBACK]);
        body.key.copy_from_slice(&material[FEEDBACK..]);

        let check = body.next(header[22..].to_vec()).decrypt()?;
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(password.expose())
            .map_err(|error| Error::Internal(format!("HMAC: {error}")))?;
        mac.update(salt);
        mac.update(password.expose());
        mac.verify_slice(&check)
            .map_err(|_| Error::WrongPassword(path.to_owned()))?;
        Ok(body)
    }

    /// The next stretch of the body, which follows the one before it.
    pub(super) fn next(&mut self, text: Vec<u8>) -> Stretch {
        let stretch = Stretch {
            key: self.key.clone(),
            feedback: self.feedback,
            text,
        };
        let text = &stretch.text;
        let new = text.len().min(FEEDBACK);
        self.feedback.rotate_left(new);
        self.feedback[FEEDBACK - new..].copy_from_slice(&text[text.len() - new..]);
        stretch
    }
}

impl Stretch {
    /// The plaintext.
    pub(super) fn decrypt(mut self) -> Result<Vec<u8>> {
        Decryptor::<Aes256>::new_from_slices(self.key.as_slice(), &self.feedback)
            .map_err(|error| Error::Internal(format!("AES: {error}")))?
            .decrypt(&mut self.text);
        Ok(self.text)
    }
}
