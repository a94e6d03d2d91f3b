//! The OpenAPI 3.1 document of the whole HTTP surface, made for one issuer and for what it offers.
//!
//! Paths are those that the routes have, and enumerations are those of the domain, so that the document cannot name what is
//! not there; `docs/openapi.json` is the same document for an issuer that offers everything. Deliberately absent: a client
//! generator and a page for browsers.

mod approvals;
mod discovery;
mod forms;
mod intents;
mod lifts;
mod log;
mod oauth;
mod operation;
mod schemas;
mod signals;

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use marque_exchange::{IssuerUrl, Offers};
use serde_json::{Map, Value, json};

use super::{HttpState, discovery::CACHED, routes::Routes};
use crate::approvers::SESSION_COOKIE;

/// Where the document is, below the issuer.
pub(super) const PATH: &str = "/openapi.json";

pub(super) fn routes(path: &str, state: &HttpState) -> Routes {
    // Made once, and shared by all who read it: it is the largest answer that is given to anybody.
    let document = document(state.issuer.issuer(), state.issuer.offers()).to_string();
    let document = Bytes::from(document);
    Routes::new().route(
        &format!("{path}{PATH}"),
        get(move || {
            let document = document.clone();
            async move { answer(document) }
        }),
    )
}

fn answer(document: Bytes) -> Response {
    let mut response = document.into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    response
}

/// The document.
pub fn document(issuer: &IssuerUrl, offers: &Offers) -> Value {
    let mut paths = Map::new();
    paths.extend(oauth::paths(offers));
    paths.extend(intents::paths());
    paths.extend(approvals::paths());
    paths.extend(lifts::paths());
    paths.extend(log::paths());
    paths.extend(signals::paths(issuer));
    paths.extend(discovery::paths(issuer));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Marque",
            "summary": "Short-lived identity and just-in-time privilege for AI agents",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": issuer.as_str() }],
        "tags": [
            { "name": "tokens", "description": "OAuth 2.0: exchange, and what becomes of tokens" },
            { "name": "intents", "description": "what agents ask for" },
            { "name": "approvals", "description": "what people who log in decide" },
            { "name": "log", "description": "the audit log, which anyone can verify" },
            { "name": "signals", "description": "shared signals: security events in and out" },
            { "name": "discovery", "description": "what anybody may read" },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(offers),
            "schemas": schemas::all(offers),
        },
    })
}

const DESCRIPTION: &str = "The HTTPS edge of one trust domain's issuer. Agents ask for intents and exchange them for narrow, \
short-lived tokens; resource servers introspect those. Agents and resource servers authenticate by SPIFFE SVIDs and \
by nothing else, approvers by a login of their own. Nothing but a login is read from a query string, and no answer about a \
token or an intent may be stored.";

fn security_schemes(offers: &Offers) -> Value {
    let mut schemes = json!({
        "jwt_svid": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT-SVID",
            "description": "a JWT-SVID whose only audience is the issuer",
        },
        "approver_session": {
            "type": "apiKey",
            "in": "cookie",
            "name": SESSION_COOKIE,
            "description": "the session of a browser in which an approver logged in",
        },
        "signal_bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "the token of one transmitter or receiver of shared signals",
        },
        "approver_terminal": {
            "type": "http",
            "scheme": "bearer",
            "description": "the session of a terminal in which an approver logged in",
        },
    });
    if let Some(schemes) = schemes.as_object_mut().filter(|_| offers.mutual_tls) {
        let scheme = json!({
            "type": "mutualTLS",
            "description": "an X.509-SVID, with its SPIFFE ID as `client_id`",
        });
        schemes.insert("x509_svid".to_owned(), scheme);
    }
    schemes
}

#[cfg(test)]
mod tests;
