//! The ids of entries.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of an entry: 1 to 128 of `a-z0-9.-_`, unique in its trust domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId(String);

/// Why a text is not an entry id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry id is 1 to 128 characters of `a-z`, `0-9`, `.`, `-` and `_`")]
pub struct EntryIdError;

impl EntryId {
    /// An id for an entry made at `now`: a UUID version 7 (RFC 9562 5.7), which sorts by time.
    pub fn generate(now: Timestamp, random: &[u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid();
        Self(Uuid::to_string(&id))
    }

    /// The id of what a template makes of this SPIFFE ID: the same on every replica.
    pub(crate) fn of_instance(template: &Self, spiffe_id: &SpiffeId) -> Self {
        let digest = marque_jose::sha256(spiffe_id.as_str().as_bytes());
        let short = digest.first_chunk::<16>().map(hex::encode).unwrap_or_default();
        Self(format!("{}{short}", instance_prefix(template)))
    }

    /// Whether this is the id of something that `template` made.
    pub fn is_of_template(&self, template: &Self) -> bool {
        let digest = self.0.strip_prefix(&instance_prefix(template));
        digest.is_some_and(|digest| {
            digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }

    /// Between which ids, in the order of bytes, all of those are that this template made; others may be there too.
    pub fn range_of_instances(&self) -> Range<String> {
        let first = instance_prefix(self);
        // The byte that follows the one with which the prefix ends.
        let end = format!("t.{self}/");
        first..end
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn instance_prefix(template: &EntryId) -> String {
    format!("t.{template}.")
}

impl FromStr for EntryId {
    type Err = EntryIdError;

    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(EntryIdError)
        }
    }
}

impl TryFrom<String> for EntryId {
    type Error = EntryIdError;

    fn try_from(text: String) -> Result<Self, EntryIdError> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
