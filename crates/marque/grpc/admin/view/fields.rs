//! Fields of messages that read alike in all of them. One that does not read is the daemon's fault and says so.

use serde::de::DeserializeOwned;

use super::super::super::client::CallError;
use super::super::super::time::from_duration;

pub(super) fn seconds(length: Option<prost_types::Duration>) -> Option<u64> {
    length.and_then(from_duration).map(|length| length.as_secs())
}

pub(super) fn json<T: DeserializeOwned>(field: &'static str, text: &str) -> Result<T, CallError> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(_) => Err(CallError::Malformed(field)),
    }
}
