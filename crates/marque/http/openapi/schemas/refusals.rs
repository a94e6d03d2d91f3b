//! Why something is refused.

use marque_intent::{DenialClass, DenialCode};
use serde_json::{Value, json};

use super::super::operation::reference;
use super::{digest, exactly, intent_id, text, texts};
use crate::http::approvals::CODES;
use crate::http::log::CODES as LOG_CODES;

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("Problem", problem()),
        ("Retry", retry()),
        ("DenialCode", json!({ "type": "string", "enum": codes() })),
        ("ApprovalCode", json!({ "type": "string", "enum": CODES })),
        ("LogCode", json!({ "type": "string", "enum": LOG_CODES })),
        ("DenialClass", json!({ "type": "string", "enum": classes() })),
    ]
}

fn problem() -> Value {
    exactly(
        &json!({
            "type": { "type": "string", "description": "`about:blank`, or `urn:marque:problem:` and the code" },
            "title": text(),
            "status": { "type": "integer" },
            "detail": text(),
            "decision": { "type": "string", "enum": ["deny"] },
            "code": { "anyOf": [reference("DenialCode"), reference("ApprovalCode"), reference("LogCode")] },
            "class": reference("DenialClass"),
            "retry": reference("Retry"),
            "remediation": exactly(&json!({ "kind": text(), "text": text() }), &["kind", "text"]),
            "doc": { "type": "string", "description": "where the code is explained" },
            "request_id": request_id(),
            "intent_id": intent_id(),
            "policy": exactly(&json!({ "set_digest": digest(), "rule_ids": texts() }), &["set_digest", "rule_ids"]),
        }),
        &["type", "title", "status"],
    )
}

pub(super) fn request_id() -> Value {
    json!({ "type": "string", "pattern": "^den_[0-7][0-9a-hjkmnp-tv-z]{25}$", "description": "what operators find the refusal by" })
}

fn retry() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    exactly(
        &json!({ "allowed": { "type": "boolean" }, "after_s": count, "max": count }),
        &["allowed"],
    )
}

fn codes() -> Vec<&'static str> {
    DenialCode::ALL.iter().map(|code| code.as_str()).collect()
}

fn classes() -> Vec<&'static str> {
    DenialClass::ALL.iter().map(|class| class.as_str()).collect()
}
