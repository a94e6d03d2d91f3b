//! Key ids: the `kid` of a JWK or a JWS header.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The `kid` of a key or of a token: 1 to 256 printable ASCII characters, compared byte by byte.
///
/// It is only a name. A key id from a token's header is untrusted until it was found in a key set; it never becomes a
/// path, a query or part of a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(Arc<str>);

/// Why a key id was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyIdError {
    /// The empty string.
    #[error("key id is empty")]
    Empty,
    /// More than [`KeyId::MAX_BYTES`].
    #[error("key id is longer than {} bytes", KeyId::MAX_BYTES)]
    TooLong,
    /// A byte outside 0x20 to 0x7e.
    #[error("key id has a character that is not printable ASCII")]
    Character,
}

impl KeyId {
    /// The longest key id, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// The key id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(KeyIdError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(KeyIdError::TooLong);
        }
        if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
            return Err(KeyIdError::Character);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<&str> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyId, KeyIdError};

    #[test]
    fn a_key_id_of_256_bytes_is_accepted_and_one_more_is_refused() {
        assert!("k".repeat(256).parse::<KeyId>().is_ok());
        assert_eq!("k".repeat(257).parse::<KeyId>(), Err(KeyIdError::TooLong));
        assert_eq!("k".repeat(1_000_000).parse::<KeyId>(), Err(KeyIdError::TooLong));
    }

    #[test]
    fn control_characters_and_non_ascii_are_refused() {
        for text in ["a\nb", "a\0", "\u{7f}", "schlüssel", "a\tb"] {
            assert_eq!(text.parse::<KeyId>(), Err(KeyIdError::Character), "{text:?}");
        }
        assert_eq!("".parse::<KeyId>(), Err(KeyIdError::Empty));
    }
}
