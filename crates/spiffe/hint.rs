//! The hint that tells a workload which of its identities is for what (Workload API section 8).

use std::{str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// An operator's hint: 1 to 1024 bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hint(Arc<str>);

/// Why a hint was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HintError {
    /// The empty string, which on the wire means "no hint".
    #[error("hint is empty")]
    Empty,
    /// More than [`Hint::MAX_BYTES`].
    #[error("hint is longer than {} bytes", Hint::MAX_BYTES)]
    TooLong,
    /// A control character.
    #[error("hint has a control character")]
    ControlCharacter,
}

impl Hint {
    /// The longest hint, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// The hint as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hint {
    type Err = HintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(HintError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(HintError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(HintError::ControlCharacter);
        }
        Ok(Self(text.into()))
    }
}

crate::checked_string!(Hint, HintError);

#[cfg(test)]
mod tests {
    use super::{Hint, HintError};

    #[test]
    fn a_hint_has_1_to_1024_bytes_and_no_control_characters() {
        assert_eq!("x".repeat(1024).parse::<Hint>().unwrap().as_str().len(), 1024);
        assert_eq!("x".repeat(1025).parse::<Hint>(), Err(HintError::TooLong));
        assert_eq!("".parse::<Hint>(), Err(HintError::Empty));
        assert_eq!("a\nb".parse::<Hint>(), Err(HintError::ControlCharacter));
    }
}
