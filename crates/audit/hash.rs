//! SHA-256 as RFC 6962 section 2.1 uses it: leaves and inner nodes are hashed under different prefixes.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::AuditError;

/// A SHA-256 hash: of a leaf, of an inner node, or of a whole tree. Displays as padded base64, as checkpoints do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// Takes the 32 bytes of a hash made elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of a leaf's bytes: SHA-256(0x00 ‖ leaf), RFC 6962 section 2.1.
    #[must_use]
    pub fn of_leaf(leaf: &[u8]) -> Self {
        Self::prefixed(0, leaf, &[])
    }

    /// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1.
    #[must_use]
    pub fn of_node(left: &Self, right: &Self) -> Self {
        Self::prefixed(1, &left.0, &right.0)
    }

    /// The root of the tree without leaves: SHA-256 of nothing.
    #[must_use]
    pub fn of_empty_tree() -> Self {
        Self::from_digest(digest(&SHA256, b""))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn prefixed(prefix: u8, first: &[u8], second: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&[prefix]);
        context.update(first);
        context.update(second);
        Self::from_digest(context.finish())
    }

    fn from_digest(digest: ring::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let bytes = STANDARD.decode(text).map_err(|_not_base64| AuditError::Hash)?;
        Self::try_from(bytes.as_slice())
    }
}

impl TryFrom<String> for Hash {
    type Error = AuditError;

    fn try_from(text: String) -> Result<Self, AuditError> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = AuditError;

    fn try_from(bytes: &[u8]) -> Result<Self, AuditError> {
        bytes.try_into().map(Self).map_err(|_wrong_length| AuditError::Hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_tree_and_the_empty_leaf_have_their_published_hashes() {
        assert_eq!(
            hex::encode(Hash::of_empty_tree().as_bytes()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex::encode(Hash::of_leaf(b"").as_bytes()),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn a_hash_reads_back_what_it_displays_and_refuses_other_lengths() {
        let hash = Hash::of_leaf(b"x");
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        assert!("AAAA".parse::<Hash>().is_err());
        assert!(Hash::try_from([0_u8; 33].as_slice()).is_err());
        assert!(hash.to_string().trim_end_matches('=').parse::<Hash>().is_err());
    }
}
