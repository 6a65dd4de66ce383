//! Sealed values: encrypted and authenticated, for the browser to carry and nobody to read.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};

use crate::secret::{MacKey, base64url, base64url_decode};

/// A key for sealing, for one purpose.
#[derive(Clone, Debug)]
pub struct SealKey(MacKey);

/// A sealed value was changed, was sealed for another context, or with another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsealable;

const NONCE_LEN: usize = 24;

impl SealKey {
    /// Derives the key of one purpose from a master secret.
    #[must_use]
    pub fn derive(master: &[u8], purpose: &str) -> Self {
        Self(MacKey::derive(master, purpose))
    }

    /// Seals `plaintext` for `context` with XChaCha20-Poly1305: base64url(nonce ‖ ciphertext).
    ///
    /// `nonce` is 24 random bytes, fresh for each call (192 bits are enough to draw at random).
    /// `context` is authenticated, not contained. Returns `None` for texts beyond the cipher's
    /// 256 GB.
    #[must_use]
    pub fn seal(&self, nonce: [u8; NONCE_LEN], context: &[u8], plaintext: &[u8]) -> Option<String> {
        let payload = Payload { msg: plaintext, aad: context };
        let ciphertext = self.cipher().encrypt(&nonce.into(), payload).ok()?;
        Some(base64url(&[nonce.as_slice(), &ciphertext].concat()))
    }

    /// Opens what [`Self::seal`] made for the same `context`.
    ///
    /// Does NOT tell how old it is: the plaintext must.
    ///
    /// # Errors
    /// [`Unsealable`].
    pub fn open(&self, context: &[u8], sealed: &str) -> Result<Vec<u8>, Unsealable> {
        let bytes = base64url_decode(sealed).ok_or(Unsealable)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(Unsealable)?;
        let payload = Payload { msg: ciphertext, aad: context };
        self.cipher().decrypt(&(*nonce).into(), payload).map_err(|_| Unsealable)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.as_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SealKey {
        SealKey::derive(b"a master secret of the tests", "test")
    }

    #[test]
    fn open_undoes_seal_for_the_same_context_and_key() {
        let sealed = key().seal([1; 24], b"context", b"text").unwrap();
        assert_eq!(key().open(b"context", &sealed), Ok(b"text".to_vec()));
        assert_eq!(key().open(b"other", &sealed), Err(Unsealable));
        let other = SealKey::derive(b"a master secret of the tests", "other purpose");
        assert_eq!(other.open(b"context", &sealed), Err(Unsealable));
        assert_eq!(key().open(b"context", ""), Err(Unsealable));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_opens(at in 0_usize..44, flip in 1_u8..) {
            let sealed = key().seal([1; 24], b"context", b"text").unwrap();
            let mut bytes = base64url_decode(&sealed).unwrap();
            bytes[at] ^= flip;
            prop_assert_eq!(key().open(b"context", &base64url(&bytes)), Err(Unsealable));
        }
    }
}
