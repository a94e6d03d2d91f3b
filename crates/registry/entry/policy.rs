//! What the holder of an identity may do with it, beside having it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many audiences an entry may name.
pub const MAX_AUDIENCES: usize = 64;

/// How long an audience may be, in bytes.
const MAX_AUDIENCE_BYTES: usize = 512;

/// An audience that the JWT-SVIDs of an entry may be for: compared as a whole and byte by byte.
/// 1 to 512 bytes without control characters, quotation marks, backslashes and blanks around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedAudience(String);

/// Why a text is not an audience.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an audience is 1 to {MAX_AUDIENCE_BYTES} bytes without control characters, quotation marks, backslashes and blanks around it"
)]
pub struct AllowedAudienceError;

/// Whether the holder of an identity takes part in delegation. Both by default: a playbook decides then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DelegateRights {
    /// It may hand on what it was granted: its tokens to others, and requests on behalf of others.
    pub may_delegate: bool,
    /// It may act for somebody else: a person, or an agent that hands something on to it.
    pub may_act_for_others: bool,
}

impl DelegateRights {
    /// Whether nothing is taken away.
    pub(crate) fn are_full(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for DelegateRights {
    fn default() -> Self {
        Self { may_delegate: true, may_act_for_others: true }
    }
}

impl AllowedAudience {
    /// The audience as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AllowedAudience {
    type Err = AllowedAudienceError;

    fn from_str(text: &str) -> Result<Self, AllowedAudienceError> {
        let strange = |character: char| character.is_control() || matches!(character, '"' | '\\');
        let fits = (1..=MAX_AUDIENCE_BYTES).contains(&text.len());
        if !fits || text.contains(strange) || text.trim() != text {
            return Err(AllowedAudienceError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for AllowedAudience {
    type Error = AllowedAudienceError;

    fn try_from(text: String) -> Result<Self, AllowedAudienceError> {
        text.parse()
    }
}

impl From<AllowedAudience> for String {
    fn from(audience: AllowedAudience) -> Self {
        audience.0
    }
}

impl fmt::Display for AllowedAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
