//! The identifier of a refusal, by which an agent's operator asks the trust domain's for the reason.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use marque_spiffe::{Random, RandomError};
use serde::{Deserialize, Serialize};

use crate::id::{IntentId, draw, is_drawn};

const PREFIX: &str = "den_";

/// A refusal's id: `den_` and 26 characters, drawn like an [`crate::IntentId`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DenialId(String);

/// The text is not the id of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a refusal is `den_` and 26 characters of lowercase base 32")]
pub struct DenialIdError;

impl DenialId {
    /// Draws a new id.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(random: &dyn Random, now: Timestamp) -> Result<Self, RandomError> {
        draw(PREFIX, random, now).map(Self)
    }

    /// The id of the refusal of an intent, which has one at most.
    #[must_use]
    pub fn of_intent(intent: &IntentId) -> Self {
        let drawn = intent.as_str().trim_start_matches(|digit: char| digit != '_');
        Self(format!("{}{drawn}", PREFIX.trim_end_matches('_')))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DenialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DenialId {
    type Err = DenialIdError;

    fn from_str(text: &str) -> Result<Self, DenialIdError> {
        if is_drawn(PREFIX, text) { Ok(Self(text.to_owned())) } else { Err(DenialIdError) }
    }
}

impl TryFrom<String> for DenialId {
    type Error = DenialIdError;

    fn try_from(text: String) -> Result<Self, DenialIdError> {
        text.parse()
    }
}

impl From<DenialId> for String {
    fn from(id: DenialId) -> Self {
        id.0
    }
}
