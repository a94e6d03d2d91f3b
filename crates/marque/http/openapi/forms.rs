//! What is sent to the endpoints of the token service, as forms.

use marque_exchange::{
    ASSERTION_TYPE_JWT_SPIFFE, GRANT_TYPE_TOKEN_EXCHANGE, MAX_DETAILS_BYTES, MAX_TARGET_BYTES,
    Offers, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT,
};
use serde_json::{Map, Value, json};

/// What `authorization_details` is.
const DETAILS: &str = "which intent, and what is wanted less of: an array with one object of type `marque_intent`, at \
    most one of type `marque_rights`, and objects of the types that were granted";

/// The forms by name.
pub(super) fn all(offers: &Offers) -> Vec<(&'static str, Value)> {
    let mut forms = vec![
        (
            "TokenRequest",
            request(exchange(), &["grant_type", "subject_token", "subject_token_type"]),
        ),
        ("IntrospectionRequest", request(about_a_token(), &["token"])),
        ("RevocationRequest", request(about_a_token(), &["token"])),
    ];
    if offers.ciba {
        let form = request(backchannel(), &["authorization_details"]);
        forms.push(("BackchannelRequest", form));
    }
    forms
}

/// A form of a client that says who it is in it, unless it does so by its certificate or its headers.
fn request(mut properties: Map<String, Value>, required: &[&str]) -> Value {
    properties.extend(members(json!({
        "client_id": { "type": "string", "description": "the SPIFFE ID of the client; demanded with an X.509-SVID alone" },
        "client_assertion_type": { "type": "string", "const": ASSERTION_TYPE_JWT_SPIFFE },
        "client_assertion": token("a JWT-SVID whose only audience is the issuer"),
    })));
    json!({ "type": "object", "properties": properties, "required": required })
}

fn exchange() -> Map<String, Value> {
    let targets = json!({ "type": "string", "maxLength": MAX_TARGET_BYTES });
    members(json!({
        "grant_type": { "type": "string", "enum": [GRANT_TYPE_TOKEN_EXCHANGE] },
        "subject_token": token("the client's own SVID"),
        "subject_token_type": { "type": "string", "enum": [TOKEN_TYPE_JWT] },
        "requested_token_type": { "type": "string", "enum": [TOKEN_TYPE_ACCESS_TOKEN] },
        "authorization_details": {
            "type": "string",
            "maxLength": MAX_DETAILS_BYTES,
            "contentMediaType": "application/json",
            "description": DETAILS,
        },
        "scope": { "type": "string", "description": "space-separated; may only narrow" },
        "audience": { "type": "array", "items": targets, "description": "may be repeated; may only narrow" },
        "resource": { "type": "array", "items": targets, "description": "absolute URIs; may be repeated; may only narrow" },
    }))
}

fn backchannel() -> Map<String, Value> {
    let hint = |description| json!({ "type": "string", "description": description });
    members(json!({
        "login_hint": hint("the user or group to ask, by name; exactly one of the three hints comes"),
        "login_hint_token": hint("names nobody here"),
        "id_token_hint": hint("names nobody here"),
        "binding_message": { "type": "string", "maxLength": 64, "description": "shown to approvers" },
        "requested_expiry": { "type": "string", "pattern": "^[0-9]+$", "description": "seconds" },
        "scope": { "type": "string", "description": "space-separated; may only narrow; `openid` means nothing" },
        "authorization_details": {
            "type": "string",
            "maxLength": MAX_DETAILS_BYTES,
            "contentMediaType": "application/json",
            "description": DETAILS,
        },
    }))
}

fn about_a_token() -> Map<String, Value> {
    members(json!({
        "token": token("the token in question"),
        "token_type_hint": { "type": "string", "description": "ignored" },
    }))
}

fn token(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "description": description })
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
