//! Of approvers: what they see, how they log in, what they say.

use marque_intent::DenyReason;
use serde_json::{Value, json};

use super::super::operation::reference;
use super::intents::states;
use super::{exactly, instant, intent_id, text, texts};

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("Review", review()),
        (
            "Reviews",
            exactly(
                &json!({ "intents": { "type": "array", "items": reference("Review") } }),
                &["intents"],
            ),
        ),
        ("ApproverSession", approver_session()),
        ("TerminalSession", terminal_session()),
        (
            "PassedOn",
            exactly(
                &json!({ "id": intent_id(), "state": text(), "approvals_missing": { "type": "integer" } }),
                &["id", "state", "approvals_missing"],
            ),
        ),
        (
            "ApproveIntent",
            exactly(&json!({ "digest": grant_digest(), "less": less() }), &["digest"]),
        ),
        ("DenyIntent", deny_intent()),
        ("PassedOnDecision", passed_on_decision()),
        (
            "ConfirmTerminal",
            exactly(&json!({ "login": { "type": "string", "maxLength": 4096 } }), &["login"]),
        ),
        (
            "CollectTerminalSession",
            exactly(&json!({ "code": text(), "verifier": text() }), &["code", "verifier"]),
        ),
    ]
}

/// An intent as approvers see it: as `marque approve --output json` shows it.
fn review() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": intent_id(),
            "state": { "type": "string", "enum": states() },
            "agent": text(),
            "agent_owner": text(),
            "grant": { "type": "object", "description": "what would be, or is, permitted" },
            "justification": { "type": "string", "description": "the agent's own words: untrusted" },
            "approvals": { "type": "array", "items": { "type": "object" } },
            "approvals_missing": { "type": "integer" },
            "revocable": { "type": "boolean", "description": "whether every end of its tokens is heard of wherever they are used" },
            "irrevocable": irrevocable(),
        },
        "required": ["id", "state", "agent", "grant", "approvals", "approvals_missing"],
    })
}

fn irrevocable() -> Value {
    json!({
        "type": "object",
        "description": "where its tokens stay good until they expire, whatever is done",
        "properties": { "audiences": texts(), "until": instant() },
        "required": ["audiences"],
        "additionalProperties": false,
    })
}

fn approver_session() -> Value {
    exactly(
        &json!({
            "trust_domain": text(),
            "environment": { "type": "string", "enum": ["production", "non-production"] },
            "issuer": text(),
            "subject": text(),
            "groups": texts(),
            "mfa_at": { "type": ["string", "null"], "format": "date-time" },
            "expires_at": instant(),
            "csrf": text(),
        }),
        &["trust_domain", "environment", "issuer", "subject", "groups", "mfa_at", "expires_at"],
    )
}

fn terminal_session() -> Value {
    exactly(
        &json!({ "token": text(), "expires_in": { "type": "integer" } }),
        &["token", "expires_in"],
    )
}

fn grant_digest() -> Value {
    json!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
}

fn preset_reason() -> Value {
    json!({ "type": "string", "enum": DenyReason::ALL.map(DenyReason::as_str) })
}

/// What an approver takes away.
fn less() -> Value {
    let number = json!({ "type": "integer", "minimum": 1 });
    let texts = json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true });
    exactly(
        &json!({
            "uses": number,
            "max_duration_s": number,
            "start_within_s": number,
            "without_scopes": texts,
            "without_tools": texts,
        }),
        &[],
    )
}

fn deny_intent() -> Value {
    exactly(
        &json!({ "digest": grant_digest(), "reason": preset_reason(), "text": text() }),
        &["digest", "reason"],
    )
}

fn passed_on_decision() -> Value {
    exactly(
        &json!({
            "user": text(),
            "intent": intent_id(),
            "decision": { "type": "string", "enum": ["approve", "deny"] },
            "digest": grant_digest(),
            "less": less(),
            "reason": preset_reason(),
            "text": text(),
        }),
        &["user", "intent", "decision", "digest"],
    )
}
