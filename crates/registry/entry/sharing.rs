//! One identity for several entries: only where each of them says so, and why (M 1).
//!
//! Absent: entries of the admin API. That an identity is shared is reviewed, so a file says it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Entry;

/// Why several entries share one identity: 1 to 256 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SharingReason(String);

/// Why a text is not such a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reason is 1 to 256 characters without control characters or blanks around it")]
pub struct SharingReasonError;

impl Entry {
    /// The same entry, which shares its identity with others that say so too.
    #[must_use]
    pub fn shared_because(self, reason: SharingReason) -> Self {
        Self { shared: Some(reason), ..self }
    }

    /// Why it shares its identity with others, if it does.
    #[must_use]
    pub fn sharing(&self) -> Option<&SharingReason> {
        self.shared.as_ref()
    }

    /// Whether both say that they share their identity, and are of one role.
    #[must_use]
    pub fn may_share_with(&self, other: &Self) -> bool {
        self.shared.is_some() && other.shared.is_some() && self.role() == other.role()
    }
}

impl SharingReason {
    /// The reason as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SharingReason {
    type Err = SharingReasonError;

    fn from_str(text: &str) -> Result<Self, SharingReasonError> {
        let fits = (1..=256).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && text.trim() == text;
        if fits { Ok(Self(text.to_owned())) } else { Err(SharingReasonError) }
    }
}

impl TryFrom<String> for SharingReason {
    type Error = SharingReasonError;

    fn try_from(text: String) -> Result<Self, SharingReasonError> {
        text.parse()
    }
}

impl From<SharingReason> for String {
    fn from(reason: SharingReason) -> Self {
        reason.0
    }
}

impl fmt::Display for SharingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
