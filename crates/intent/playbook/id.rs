//! The id of a playbook.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A playbook's id: 1 to 63 of `a-z 0-9 -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlaybookId(String);

/// The text is not the id of a playbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a playbook id has 1 to 63 of the characters `a-z`, `0-9` and `-`")]
pub struct PlaybookIdError;

impl PlaybookId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlaybookId {
    type Err = PlaybookIdError;

    fn from_str(text: &str) -> Result<Self, PlaybookIdError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PlaybookIdError)
        }
    }
}

impl TryFrom<String> for PlaybookId {
    type Error = PlaybookIdError;

    fn try_from(text: String) -> Result<Self, PlaybookIdError> {
        text.parse()
    }
}

impl From<PlaybookId> for String {
    fn from(id: PlaybookId) -> Self {
        id.0
    }
}

impl fmt::Display for PlaybookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
