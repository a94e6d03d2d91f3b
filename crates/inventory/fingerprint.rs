//! What tells two secrets apart without telling either: HMAC-SHA-256 under a key, cut to 64 bits.
//!
//! Under a key that nobody keeps, a fingerprint cannot be tried against guesses; to compare the reports of several hosts they
//! share one. Absent: making keys.

use std::fmt;

use ring::hmac;
use serde::{Serialize, Serializer};

use crate::Secret;

/// How many bytes of a digest are shown.
const SHOWN: usize = 8;
/// The fewest bytes of a key.
const MIN_KEY: usize = 16;

/// The key of fingerprints.
#[derive(Clone)]
pub struct FingerprintKey(hmac::Key);

/// The key is too short to keep guesses away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key of fingerprints has {MIN_KEY} bytes or more")]
pub struct FingerprintKeyError;

/// What is shown of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; SHOWN]);

impl FingerprintKey {
    /// A key.
    ///
    /// # Errors
    /// It is too short.
    pub fn new(key: &[u8]) -> Result<Self, FingerprintKeyError> {
        if key.len() < MIN_KEY {
            return Err(FingerprintKeyError);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The fingerprint of a secret.
    #[must_use]
    pub fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        let tag = hmac::sign(&self.0, secret.expose().as_bytes());
        let mut shown = [0; SHOWN];
        for (byte, of_tag) in shown.iter_mut().zip(tag.as_ref()) {
            *byte = *of_tag;
        }
        Fingerprint(shown)
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_has_the_same_fingerprint_under_the_same_key_alone() {
        let key = |byte| FingerprintKey::new(&[byte; MIN_KEY]).unwrap();
        let of = |key: &FingerprintKey, text| key.fingerprint(&Secret::new(text)).to_string();
        assert_eq!(of(&key(1), "hunter2"), of(&key(1), "hunter2"));
        assert_ne!(of(&key(1), "hunter2"), of(&key(1), "hunter3"));
        assert_ne!(of(&key(1), "hunter2"), of(&key(2), "hunter2"));
        assert_eq!(of(&key(1), "hunter2").len(), 16);
        assert_eq!(FingerprintKey::new(&[1; MIN_KEY - 1]).err(), Some(FingerprintKeyError));
    }
}
