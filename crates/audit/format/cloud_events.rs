//! CloudEvents 1.0, JSON format: a leaf is such an event already. Added is the extension attribute `frameworks`; without
//! it, and canonical again (RFC 8785), the record has the bytes that the tree hashes.

use serde_json::{Map, Value};

use super::{envelope, frameworks};
use crate::Leaf;

pub(super) fn record(leaf: &Leaf) -> Result<Value, serde_json::Error> {
    let mut event: Map<String, Value> = envelope(leaf)?;
    let tags = frameworks::tags(leaf.event());
    if !tags.is_empty() {
        event.insert("frameworks".to_owned(), tags.join(",").into());
    }
    Ok(Value::Object(event))
}
