//! Of what is public: keys, bundles, metadata.

use serde_json::{Value, json};

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
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
    ]
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
