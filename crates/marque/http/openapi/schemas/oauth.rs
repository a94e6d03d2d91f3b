//! Of the OAuth endpoints.

use marque_exchange::{OAuthErrorCode, Offers};
use serde_json::{Value, json};

use super::super::operation::reference;
use super::refusals::request_id;
use super::{details, exactly, intent_id, text, texts};

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("TokenResponse", token_response()),
        ("OAuthError", oauth_error()),
        ("Introspection", introspection()),
    ]
}

/// Of what only some deployments offer.
pub(super) fn offered(offers: &Offers) -> Vec<(&'static str, Value)> {
    let mut schemas = Vec::new();
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
    schemas
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
