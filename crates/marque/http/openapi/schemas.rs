//! What is sent and answered.

mod approvals;
mod discovery;
mod intents;
mod oauth;
mod refusals;

use marque_exchange::Offers;
use serde_json::{Map, Value, json};

use super::operation::reference;
use super::{forms, lifts, signals};

/// The schemas by name.
pub(super) fn all(offers: &Offers) -> Map<String, Value> {
    let mut schemas = oauth::schemas();
    schemas.extend(refusals::schemas());
    schemas.extend(intents::schemas());
    schemas.extend(approvals::schemas());
    schemas.extend(discovery::schemas());
    schemas.extend(oauth::offered(offers));
    schemas.extend(forms::all(offers));
    schemas.extend(signals::schemas());
    schemas.extend(lifts::schemas());
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

pub(super) fn intent_id() -> Value {
    json!({ "type": "string", "pattern": "^int_[0-7][0-9a-hjkmnp-tv-z]{25}$" })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn digest() -> Value {
    json!({ "type": "string", "description": "of a SHA-256" })
}

pub(super) fn instant() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn details() -> Value {
    json!({ "type": "array", "items": reference("AuthorizationDetail") })
}

/// An object with exactly these members.
pub(super) fn exactly(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
