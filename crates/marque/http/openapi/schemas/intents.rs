//! Of playbooks and what agents ask for.

use marque_intent::{
    EndReason, MAX_JUSTIFICATION_CHARS, MAX_PARAMETERS, PostCheck, State as IntentState,
};
use serde_json::{Value, json};

use super::super::operation::reference;
use super::{details, digest, exactly, instant, intent_id, text, texts};

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("AuthorizationDetail", authorization_detail()),
        ("IntentRequest", intent_request()),
        ("Report", report()),
        ("Stop", exactly(&json!({ "reason": { "type": "string" } }), &[])),
        ("Stopped", stopped()),
        ("Intent", intent()),
        ("Grant", grant()),
        ("Playbooks", playbooks()),
    ]
}

fn authorization_detail() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9396; the resource server defines the types but `marque_intent`",
        "properties": {
            "type": text(),
            "intent_id": intent_id(),
            "locations": texts(),
            "actions": texts(),
            "datatypes": texts(),
            "identifier": text(),
            "privileges": texts(),
        },
        "required": ["type"],
    })
}

fn intent_request() -> Value {
    exactly(
        &json!({
            "playbook": { "type": "string", "pattern": "^[a-z0-9-]{1,63}$" },
            "version": { "type": "integer", "minimum": 1 },
            "parameters": { "type": "object", "maxProperties": MAX_PARAMETERS },
            "ticket": { "type": "string", "pattern": "^[!-~]{1,64}$" },
            "justification": { "type": "string", "maxLength": MAX_JUSTIFICATION_CHARS },
            "session": { "type": "string", "pattern": "^[!-~]{1,128}$" },
            "task": { "type": "string", "pattern": "^[!-~]{1,128}$" },
            "phase": { "type": "string", "pattern": "^[a-z0-9-]{1,32}$" },
            "confidence": { "type": "integer", "minimum": 0, "maximum": 100 },
            "category": { "type": "string", "pattern": "^[a-z0-9_-]{1,63}$" },
            "for_agent": { "type": "string", "description": "the SPIFFE ID of the agent that will hold the grant; absent for the caller itself" },
            "parent": { "type": "string", "description": "with `for_agent`: the caller's own live intent that it descends from" },
            "narrow": { "type": "object", "description": "with `for_agent`: what is wanted of what the playbook gives, by dimension" },
        }),
        &["playbook"],
    )
}

/// What became of an agent's word to be stopped itself.
fn stopped() -> Value {
    exactly(
        &json!({
            "stopped": { "type": "string", "description": "the agent's SPIFFE ID" },
            "id": { "type": "string", "description": "the kill, by which two people may lift it" },
            "kill_epoch": { "type": "integer", "minimum": 1 },
            "at": { "type": "string", "format": "date-time" },
        }),
        &["stopped", "id", "kill_epoch", "at"],
    )
}

fn report() -> Value {
    let report = json!({ "type": "string", "maxLength": MAX_JUSTIFICATION_CHARS });
    exactly(&json!({ "outcome": outcomes(), "report": report }), &["outcome"])
}

fn outcomes() -> Value {
    json!({ "type": "string", "enum": ["success", "failure", "partial", "unknown"] })
}

pub(super) fn states() -> Vec<&'static str> {
    IntentState::ALL.iter().map(|state| state.as_str()).collect()
}

fn end_reasons() -> Vec<&'static str> {
    EndReason::ALL.iter().map(|why| why.as_str()).collect()
}

fn intent() -> Value {
    let outcomes = outcomes();
    let count = json!({ "type": "integer", "minimum": 0 });
    exactly(
        &json!({
            "id": intent_id(),
            "state": { "type": "string", "enum": states() },
            "created_at": instant(),
            "expires_at": instant(),
            "uses_left": count,
            "approvals_missing": count,
            "outcome": outcomes,
            "reported_outcome": outcomes,
            "post_check": { "type": "string", "enum": PostCheck::ALL.map(PostCheck::as_str), "description": "what was said of the reported work by whom its playbook has asked" },
            "ended_for": { "type": "string", "enum": end_reasons() },
            "code": reference("DenialCode"),
            "digest": digest(),
            "warning": { "type": "string", "description": "what to know before relying on the playbook" },
            "grant": reference("Grant"),
        }),
        &["id", "state", "created_at", "uses_left", "approvals_missing", "digest", "grant"],
    )
}

fn grant() -> Value {
    let playbook = json!({ "id": text(), "version": { "type": "integer" }, "digest": digest(), "title": text() });
    json!({
        "type": "object",
        "properties": {
            "playbook": exactly(&playbook, &["id", "version", "digest", "title"]),
            "agent": text(),
            "parameters": { "type": "object" },
            "audiences": texts(),
            "scopes": texts(),
            "authorization_details": details(),
            "resources": texts(),
            "data_classes": texts(),
            "tools": { "type": "object", "description": "by server.name: how each may be called" },
            "constraints": { "type": "object" },
            "limits": { "type": "object" },
            "parent": { "type": "object", "description": "the live intent of another agent that it was asked for from, with those above it" },
            "emergency": { "type": "object", "description": "what holds for it as a break-glass grant; absent if it is none" },
            "on_behalf": { "type": "object", "description": "whether and to whom it may be handed on; absent if not at all" },
            "delegators": { "type": "object", "description": "on whose behalf it may be used; absent if on nobody's but the agent's own" },
            "phase": { "type": "string", "description": "the phase of a staged playbook" },
            "exception": { "type": "object", "description": "the exception that it was made under; absent if under none" },
            "session": text(),
            "task": text(),
            "uses": { "type": "integer" },
            "single_use_tokens": { "type": "boolean" },
            "token_lifetime_s": { "type": "integer" },
            "ends": { "type": "object", "description": "what ends it beside its clocks; absent if nothing does" },
            "not_before": instant(),
            "not_after": instant(),
            "ticket": text(),
        },
        "required": ["playbook", "agent", "parameters", "audiences", "scopes", "authorization_details", "resources", "uses", "token_lifetime_s", "not_before", "not_after"],
    })
}

fn playbooks() -> Value {
    let playbook = json!({
        "type": "object",
        "properties": {
            "id": text(),
            "version": { "type": "integer" },
            "digest": digest(),
            "title": text(),
            "status": text(),
            "purpose": text(),
            "parameters": { "type": "object", "description": "the JSON Schema of the parameters" },
            "ticket": exactly(&json!({ "required": { "type": "boolean" }, "pattern": text() }), &["required", "pattern"]),
            "approval": text(),
            "delegators": { "type": "object", "description": "on whose behalf its grants may be used; absent if on nobody's but the agent's own" },
            "workflow": { "type": "array", "items": { "type": "string", "enum": ["session", "task"] }, "description": "what a request has to say" },
            "phases": { "type": "array", "items": { "type": "object" }, "description": "of which a request names one; absent if the task is not staged" },
            "warning": text(),
            "uses": { "type": "integer" },
            "token_lifetime_s": { "type": "integer" },
        },
        "required": ["id", "version", "digest", "title", "status", "parameters", "approval", "uses", "token_lifetime_s"],
    });
    exactly(&json!({ "playbooks": { "type": "array", "items": playbook } }), &["playbooks"])
}
