//! Secrets that must be kept for a while lie in the store sealed: AES-256-GCM
//! under a key that the store does not hold, bound to the record they are in.

use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;

/// A random nonce, then the sealed text with its tag. `about` is what it can only be opened
/// with, such as the record's key.
pub fn seal(key: &[u8; 32], about: &str, mut secret: Vec<u8>) -> io::Result<Vec<u8>> {
    let failed = |_: Unspecified| io::Error::other("sealing failed");
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(failed)?;
    let nonce = key.seal_in_place_append_tag(Aad::from(about), &mut secret).map_err(failed)?;
    Ok([nonce.as_ref().as_slice(), &secret].concat())
}

/// Nothing when key or `about` are not those of the sealing, or a bit was changed since.
pub fn open(key: &[u8; 32], about: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut secret = sealed.to_vec();
    let length = key.open_in_place(nonce, Aad::from(about), &mut secret).ok()?.len();
    // Without the tag; there is no second copy.
    secret.truncate(length);
    Some(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn only_the_right_key_opens_and_only_where_it_was_sealed() {
        let sealed = seal(&[1; 32], "here", b"secret".to_vec()).unwrap();
        assert_eq!(open(&[1; 32], "here", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(open(&[2; 32], "here", &sealed), None);
        assert_eq!(open(&[1; 32], "there", &sealed), None);
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(open(&[1; 32], "here", &changed), None, "bit of byte {position}");
        }
        assert_eq!(open(&[1; 32], "here", &sealed[..5]), None);
        assert_ne!(seal(&[1; 32], "here", b"secret".to_vec()).unwrap(), sealed, "never the same nonce");
    }
}
