//! What is sent and answered.

use marque_exchange::{OAuthErrorCode, Offers};
use marque_intent::{
    DenialClass, DenialCode, DenyReason, EndReason, MAX_JUSTIFICATION_CHARS, MAX_PARAMETERS,
    PostCheck, State as IntentState,
};
use serde_json::{Map, Value, json};

use super::{forms, lifts, operation::reference, signals};
use crate::http::approvals::CODES;
use crate::http::log::CODES as LOG_CODES;

/// The schemas by name.
pub(super) fn all(offers: &Offers) -> Map<String, Value> {
    let mut schemas = vec![
        ("TokenResponse", token_response()),
        ("OAuthError", oauth_error()),
        ("Introspection", introspection()),
        ("Problem", problem()),
        ("Retry", retry()),
        ("DenialCode", json!({ "type": "string", "enum": codes() })),
        ("ApprovalCode", json!({ "type": "string", "enum": CODES })),
        ("LogCode", json!({ "type": "string", "enum": LOG_CODES })),
        ("DenialClass", json!({ "type": "string", "enum": classes() })),
        ("AuthorizationDetail", authorization_detail()),
        ("IntentRequest", intent_request()),
        ("Report", report()),
        ("Stop", exactly(&json!({ "reason": { "type": "string" } }), &[])),
        ("Stopped", stopped()),
        ("Intent", intent()),
        ("Grant", grant()),
        ("Playbooks", playbooks()),
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
        (
            "JwkSet",
            json!({ "type": "object", "properties": { "keys": { "type": "array", "items": { "type": "object" } } }, "required": ["keys"] }),
        ),
        ("SpiffeBundle", bundle()),
        (
            "AuthorizationServerMetadata",
            metadata(&[
                "issuer",
                "token_endpoint",
                "jwks_uri",
                "grant_types_supported",
                "response_types_supported",
            ]),
        ),
        (
            "OpenidConfiguration",
            metadata(&[
                "issuer",
                "jwks_uri",
                "response_types_supported",
                "subject_types_supported",
                "id_token_signing_alg_values_supported",
            ]),
        ),
        (
            "ProtectedResourceMetadata",
            metadata(&["resource", "authorization_servers", "bearer_methods_supported"]),
        ),
        (
            "OpenapiDocument",
            json!({ "type": "object", "properties": { "openapi": { "type": "string", "enum": ["3.1.0"] } }, "required": ["openapi", "info", "paths"] }),
        ),
    ];
    if offers.ciba {
        schemas.push(("BackchannelResponse", backchannel()));
    }
    if offers.wit_client_authentication {
        let challenge = json!({ "type": "object", "properties": { "attestation_challenge": text() }, "required": ["attestation_challenge"] });
        schemas.push(("AttestationChallenge", challenge));
    }
    if offers.token_status_list {
        let lists = json!({ "type": "object", "properties": { "status_lists": texts() }, "required": ["status_lists"] });
        schemas.push(("StatusLists", lists));
    }
    schemas.extend(forms::all(offers));
    schemas.extend(signals::schemas());
    schemas.extend(lifts::schemas());
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

pub(super) fn intent_id() -> Value {
    json!({ "type": "string", "pattern": "^int_[0-7][0-9a-hjkmnp-tv-z]{25}$" })
}

fn codes() -> Vec<&'static str> {
    DenialCode::ALL.iter().map(|code| code.as_str()).collect()
}

fn classes() -> Vec<&'static str> {
    DenialClass::ALL.iter().map(|class| class.as_str()).collect()
}

fn states() -> Vec<&'static str> {
    IntentState::ALL.iter().map(|state| state.as_str()).collect()
}

fn end_reasons() -> Vec<&'static str> {
    EndReason::ALL.iter().map(|why| why.as_str()).collect()
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

fn token_response() -> Value {
    exactly(
        &json!({
            "access_token": text(),
            "issued_token_type": text(),
            "token_type": { "type": "string", "enum": ["Bearer", "DPoP", "N_A"] },
            "expires_in": { "type": "integer", "minimum": 1 },
            "scope": text(),
            "authorization_details": details(),
        }),
        &["access_token", "issued_token_type", "token_type", "expires_in", "scope"],
    )
}

fn oauth_error() -> Value {
    let errors: Vec<&str> = OAuthErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let properties = json!({
        "error": { "type": "string", "enum": errors },
        "error_description": { "type": "string", "pattern": "^[ !#-\\[\\]-~]+$" },
        "code": reference("DenialCode"),
        "class": reference("DenialClass"),
        "retry": reference("Retry"),
        "doc": text(),
        "request_id": request_id(),
        "deferral_code": { "type": "string", "description": "in the answer that defers: what to poll with" },
        "expires_in": { "type": "integer", "minimum": 1, "description": "seconds that the code lives" },
        "interval": { "type": "integer", "minimum": 1, "description": "seconds between polls" },
        "intent_id": intent_id(),
    });
    exactly(&properties, &["error", "error_description"])
}

fn backchannel() -> Value {
    let count = json!({ "type": "integer", "minimum": 1 });
    exactly(
        &json!({ "auth_req_id": text(), "expires_in": count, "interval": count, "intent_id": intent_id() }),
        &["auth_req_id", "expires_in", "interval", "intent_id"],
    )
}

fn introspection() -> Value {
    json!({
        "type": "object",
        "properties": {
            "active": { "type": "boolean" },
            "token_type": text(),
            "iss": text(),
            "sub": text(),
            "client_id": text(),
            "scope": text(),
            "jti": text(),
            "iat": { "type": "integer" },
            "exp": { "type": "integer" },
            "aud": { "oneOf": [text(), texts()] },
            "authorization_details": details(),
            "intent": { "type": "object" },
            "act": { "type": "object" },
            "may_act": { "type": "object" },
            "cnf": { "type": "object" },
            "status": { "type": "object" },
            "single_use": { "type": "boolean" },
        },
        "required": ["active"],
    })
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

fn request_id() -> Value {
    json!({ "type": "string", "pattern": "^den_[0-7][0-9a-hjkmnp-tv-z]{25}$", "description": "what operators find the refusal by" })
}

fn retry() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    exactly(
        &json!({ "allowed": { "type": "boolean" }, "after_s": count, "max": count }),
        &["allowed"],
    )
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

fn bundle() -> Value {
    json!({
        "type": "object",
        "properties": {
            "keys": { "type": "array", "items": { "type": "object" } },
            "spiffe_sequence": { "type": "integer", "minimum": 0 },
            "spiffe_refresh_hint": { "type": "integer", "minimum": 0 },
        },
        "required": ["keys"],
    })
}

/// A metadata document with at least these members.
fn metadata(required: &[&str]) -> Value {
    json!({ "type": "object", "required": required })
}
