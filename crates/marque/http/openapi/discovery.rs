//! What anybody may read.

use marque_exchange::{
    Endpoint, INTENTS_API_PATH, IssuerUrl, METADATA_PATH, RESOURCE_METADATA_PATH,
};
use serde_json::{Value, json};

use super::operation::{JSON, Operation, path};
use crate::http::bundle;

/// The paths below the issuer, and those of its host.
pub(super) fn paths(issuer: &IssuerUrl) -> Vec<(String, Value)> {
    let below = issuer.path();
    let get = |id, summary| Operation::new("get", "discovery", id, summary);
    let read = |id, summary, schema| get(id, summary).answer(200, summary, JSON, schema);
    let text = |id, summary| {
        let ready = json!({ "description": summary, "content": { "text/plain": { "schema": { "type": "string" } } } });
        get(id, summary).response(200, ready)
    };
    vec![
        of_host(
            issuer,
            format!("{METADATA_PATH}{below}"),
            read("authorizationServerMetadata", "RFC 8414 metadata", "AuthorizationServerMetadata"),
        ),
        of_host(
            issuer,
            format!("{RESOURCE_METADATA_PATH}{below}{INTENTS_API_PATH}"),
            read(
                "protectedResourceMetadata",
                "RFC 9728 metadata of the intents API",
                "ProtectedResourceMetadata",
            ),
        ),
        path(
            "/.well-known/openid-configuration",
            [read("openidConfiguration", "OpenID discovery", "OpenidConfiguration")],
        ),
        path(Endpoint::Jwks.path(), [read("jwks", "the keys of access tokens", "JwkSet")]),
        path(
            bundle::PATH,
            [read("spiffeBundle", "the SPIFFE bundle of the trust domain", "SpiffeBundle")],
        ),
        path(super::PATH, [read("openapi", "this document", "OpenapiDocument")]),
        of_host(issuer, "/live".to_owned(), text("live", "the process runs")),
        of_host(
            issuer,
            "/ready".to_owned(),
            text("ready", "requests can be served").response(
                503,
                json!({
                    "description": "the log cannot be read or signed",
                    "content": { "text/plain": { "schema": { "type": "string" } } },
                }),
            ),
        ),
    ]
}

/// A path that hangs below the host of the issuer and not below the issuer.
pub(super) fn of_host(
    issuer: &IssuerUrl,
    template: String,
    operation: Operation,
) -> (String, Value) {
    let (template, mut item) = path(template, [operation]);
    if let Some(item) = item.as_object_mut().filter(|_| !issuer.path().is_empty()) {
        item.insert("servers".to_owned(), json!([{ "url": issuer.origin() }]));
    }
    (template, item)
}
