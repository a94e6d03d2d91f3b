//! SHA-256 digests of documents in canonical JSON (RFC 8785): what pins a playbook, a grant and a policy set.
//!
//! Absent: signatures. A digest says that two things are the same, never who said so.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 digest, written `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// The text is not `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 lowercase hexadecimal digits")]
pub struct DigestSyntaxError;

/// The value has no canonical JSON form, such as a number that is not finite.
#[derive(Debug, thiserror::Error)]
#[error("the document has no canonical JSON form")]
pub struct CanonicalError(#[source] serde_json::Error);

impl Digest {
    /// The digest of plain bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// SHA-256 of `tag` followed by the canonical JSON of `document`. The tag keeps digests of one purpose from being
    /// taken for another's.
    ///
    /// # Errors
    /// The document has no canonical form.
    pub fn of_document<T: Serialize>(tag: &str, document: &T) -> Result<Self, CanonicalError> {
        Self::and_length(tag, document).map(|(digest, _)| digest)
    }

    /// [`Self::of_document`], and how many bytes the canonical JSON has.
    pub(crate) fn and_length<T: Serialize>(
        tag: &str,
        document: &T,
    ) -> Result<(Self, usize), CanonicalError> {
        let canonical = serde_json_canonicalizer::to_vec(document).map_err(CanonicalError)?;
        Ok((Self::of_parts(&[tag.as_bytes(), &canonical]), canonical.len()))
    }

    /// The raw 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people to compare at a glance; never for a decision.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(self.0.iter().take(6).copied().collect::<Vec<u8>>())
    }

    fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestSyntaxError;

    fn from_str(text: &str) -> Result<Self, DigestSyntaxError> {
        let digits = text.strip_prefix("sha256:").ok_or(DigestSyntaxError)?;
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(DigestSyntaxError);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_source| DigestSyntaxError)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestSyntaxError;

    fn try_from(text: String) -> Result<Self, DigestSyntaxError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_members_does_not_change_a_digest_and_a_value_does() {
        let one = Digest::of_document("t", &json!({"a": 1, "b": [true]})).unwrap();
        assert_eq!(one, Digest::of_document("t", &json!({"b": [true], "a": 1})).unwrap());
        assert_ne!(one, Digest::of_document("t", &json!({"b": [true], "a": 2})).unwrap());
        assert_ne!(one, Digest::of_document("u", &json!({"a": 1, "b": [true]})).unwrap());
    }

    #[test]
    fn a_digest_is_the_plain_sha256_of_its_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn other_spellings_of_a_digest_are_refused() {
        let good = Digest::of(b"").to_string();
        for bad in [
            String::new(),
            good.to_uppercase(),
            good.replace("e3b0", "E3B0"),
            good.replace("sha256:", ""),
            format!("{good}0"),
            good.replace("e3b0", "e3b"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
