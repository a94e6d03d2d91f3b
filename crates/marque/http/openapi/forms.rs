//! What is sent to the endpoints of the token service, as forms.

use marque_exchange::{
    ASSERTION_TYPE_JWT_SPIFFE, GRANT_TYPE_CIBA, GRANT_TYPE_DEFERRED, GRANT_TYPE_JWT_BEARER,
    GRANT_TYPE_TOKEN_EXCHANGE, MAX_CONTEXT_BYTES, MAX_DETAILS_BYTES, MAX_TARGET_BYTES, Offers,
    TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_JAG, TOKEN_TYPE_ID_TOKEN, TOKEN_TYPE_JWT,
    TOKEN_TYPE_TXN_TOKEN,
};
use serde_json::{Map, Value, json};

use super::operation::{pointer, reference};

/// What `authorization_details` is.
const DETAILS: &str = "which intent, and what is wanted less of: an array with one object of type `marque_intent`, at \
    most one of type `marque_rights`, and objects of the types that were granted";

/// The forms by name.
pub(super) fn all(offers: &Offers) -> Vec<(&'static str, Value)> {
    let grants = grants(offers);
    let mut forms = vec![
        ("TokenRequest", one_of(&grants)),
        ("IntrospectionRequest", request(about_a_token(), &["token"])),
        ("RevocationRequest", request(about_a_token(), &["token"])),
    ];
    forms.extend(grants.into_iter().map(|(_, name, form)| (name, form)));
    if offers.ciba {
        let form = request(backchannel(), &["authorization_details"]);
        forms.push(("BackchannelRequest", form));
    }
    forms
}

/// What is offered at the token endpoint: grant type, name and form.
fn grants(offers: &Offers) -> Vec<(&'static str, &'static str, Value)> {
    let of = |grant_type, name, mut properties: Map<String, Value>, required: &[&str]| {
        properties
            .insert("grant_type".to_owned(), json!({ "type": "string", "const": grant_type }));
        (grant_type, name, request(properties, &[&["grant_type"], required].concat()))
    };
    let mut grants = vec![of(
        GRANT_TYPE_TOKEN_EXCHANGE,
        "TokenExchangeRequest",
        exchange(offers),
        &["subject_token", "subject_token_type"],
    )];
    if offers.identity_chaining || offers.id_jag {
        let form = assertion();
        grants.push(of(GRANT_TYPE_JWT_BEARER, "AssertionRequest", form, &["assertion"]));
    }
    if offers.deferred {
        let poll = members(json!({ "deferral_code": token("from the answer that deferred") }));
        grants.push(of(GRANT_TYPE_DEFERRED, "DeferredTokenRequest", poll, &["deferral_code"]));
    }
    if offers.ciba {
        let poll = members(json!({ "auth_req_id": token("from the backchannel answer") }));
        grants.push(of(GRANT_TYPE_CIBA, "BackchannelTokenRequest", poll, &["auth_req_id"]));
    }
    grants
}

/// Any of these forms, told apart by the grant type.
fn one_of(grants: &[(&'static str, &'static str, Value)]) -> Value {
    let forms: Vec<Value> = grants.iter().map(|(_, name, _)| reference(name)).collect();
    let mapping: Map<String, Value> = grants
        .iter()
        .map(|(grant_type, name, _)| ((*grant_type).to_owned(), pointer(name).into()))
        .collect();
    json!({ "oneOf": forms, "discriminator": { "propertyName": "grant_type", "mapping": mapping } })
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

fn exchange(offers: &Offers) -> Map<String, Value> {
    let mut subjects = vec![TOKEN_TYPE_JWT, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_TOKEN];
    let mut requested = vec![TOKEN_TYPE_ACCESS_TOKEN];
    for (offered, kind) in [
        (offers.transaction_tokens, TOKEN_TYPE_TXN_TOKEN),
        (offers.identity_chaining, TOKEN_TYPE_JWT),
        (offers.id_jag, TOKEN_TYPE_ID_JAG),
    ] {
        requested.extend(offered.then_some(kind));
    }
    subjects.extend(offers.transaction_tokens.then_some(TOKEN_TYPE_TXN_TOKEN));
    let mut form = members(json!({
        "subject_token": token("an SVID, a token of this service, or a person's ID token"),
        "subject_token_type": { "type": "string", "enum": subjects },
        "actor_token": token("the SVID of the agent that acts, where the subject is not that agent's"),
        "actor_token_type": { "type": "string", "const": TOKEN_TYPE_JWT },
        "requested_token_type": { "type": "string", "enum": requested },
    }));
    form.extend(wanted());
    if offers.transaction_tokens {
        let context = |what| json!({ "type": "string", "maxLength": MAX_CONTEXT_BYTES, "contentMediaType": "application/json", "description": what });
        form.extend(members(json!({
            "request_context": context("an object; of a transaction token's request"),
            "request_details": context("an object; of a transaction token's transaction"),
        })));
    }
    if offers.deferred {
        let mode = json!({ "type": "string", "description": "`deferred` accepts an answer later" });
        form.insert("completion_mode".to_owned(), mode);
    }
    form
}

/// A grant of another domain (RFC 7523).
fn assertion() -> Map<String, Value> {
    let mut form = members(json!({ "assertion": token("the grant") }));
    form.extend(wanted());
    form
}

/// What is asked for, however it is asked.
fn wanted() -> Map<String, Value> {
    let targets = json!({ "type": "string", "maxLength": MAX_TARGET_BYTES });
    members(json!({
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
    let mut form = wanted();
    form.extend(members(json!({
        "login_hint": hint("the user or group to ask, by name; exactly one of the three hints comes"),
        "login_hint_token": hint("names nobody here"),
        "id_token_hint": hint("names nobody here"),
        "binding_message": { "type": "string", "maxLength": 64, "description": "shown to approvers" },
        // A parameter without a value is as good as absent (RFC 6749 §3.2).
        "requested_expiry": { "type": "string", "pattern": "^[0-9]*$", "description": "seconds" },
        "scope": { "type": "string", "description": "space-separated; may only narrow; `openid` means nothing" },
    })));
    form
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
