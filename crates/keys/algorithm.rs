//! The signature algorithms that keys have.

use std::{fmt, str::FromStr};

/// The signature algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA over P-256 with SHA-256 (FIPS 186-5); in tokens ES256.
    EcdsaP256,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA of 2048 bits, which signs with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017); in tokens RS256.
    Rsa2048,
}

impl KeyAlgorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 3] = [Self::EcdsaP256, Self::Ed25519, Self::Rsa2048];

    /// The algorithm as it is written in errors and key files, e.g. `ecdsa-p256`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa-2048",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no algorithm of [`KeyAlgorithm::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the algorithm of a key is not known")]
pub struct UnknownKeyAlgorithm;

impl FromStr for KeyAlgorithm {
    type Err = UnknownKeyAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownKeyAlgorithm> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownKeyAlgorithm)
    }
}
