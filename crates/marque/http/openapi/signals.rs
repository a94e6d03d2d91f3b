//! Shared signals.

use marque_exchange::IssuerUrl;
use marque_ssf::SET_MEDIA_TYPE;
use serde_json::{Value, json};

use super::discovery::of_host;
use super::operation::{JSON, Operation, path};
use super::schemas::{exactly, text};
use crate::ssf::{CONFIGURATION_PATH, EVENTS_PATH, POLL_PATH};

pub(super) fn paths(issuer: &IssuerUrl) -> Vec<(String, Value)> {
    let configuration = Operation::new(
        "get",
        "discovery",
        "ssfConfiguration",
        "the metadata of a transmitter of shared signals",
    );
    vec![
        path(format!("{EVENTS_PATH}/{{name}}"), [receive()]),
        path(format!("{POLL_PATH}/{{name}}"), [poll()]),
        of_host(
            issuer,
            format!("{CONFIGURATION_PATH}{}", issuer.path()),
            configuration
                .answer(200, "the metadata", JSON, "SsfConfiguration")
                .problem(404, "there are no signals here"),
        ),
    ]
}

fn signal(id: &'static str, summary: &'static str) -> Operation {
    Operation::new("post", "signals", id, summary)
        .secured(&["signal_bearer"])
        .parameter(
            "path",
            "name",
            "the transmitter or the stream",
            &json!({ "type": "string", "pattern": "^[a-z0-9-]{1,32}$" }),
        )
        .answer(400, "refused, with a code of RFC 8935", JSON, "SetRefusal")
        .problem(404, "there are no signals here")
        .problem(413, "the body is too large")
        .problem(503, "it could not be kept: send it again")
}

fn receive() -> Operation {
    let token = json!({ "schema": { "type": "string" } });
    signal("receiveSecurityEvent", "a transmitter tells what happened (RFC 8935)")
        .request_body(json!({ "required": true, "content": { SET_MEDIA_TYPE: token } }))
        .empty(408, "the body did not come in time")
        .empty(202, "it is taken, or was before")
}

fn poll() -> Operation {
    signal("pollSecurityEvents", "a receiver fetches what happened (RFC 8936)")
        .body(JSON, "PollRequest", &json!({ "returnImmediately": true, "maxEvents": 10 }))
        .answer(200, "what waits", JSON, "PollAnswer")
        .problem(401, "no such stream, or not its bearer token")
}

/// What is sent and answered.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let refusal = json!({ "err": text(), "description": text() });
    let answer = json!({
        "sets": { "type": "object", "additionalProperties": text() },
        "moreAvailable": { "type": "boolean" },
    });
    vec![
        ("SsfConfiguration", metadata()),
        ("SetRefusal", exactly(&refusal, &["err", "description"])),
        ("PollRequest", poll_request()),
        ("PollAnswer", exactly(&answer, &["sets", "moreAvailable"])),
    ]
}

fn metadata() -> Value {
    let members = json!({
        "spec_version": text(),
        "issuer": text(),
        "jwks_uri": text(),
        "delivery_methods_supported": { "type": "array", "items": text() },
        "default_subjects": text(),
    });
    let required =
        ["spec_version", "issuer", "jwks_uri", "delivery_methods_supported", "default_subjects"];
    exactly(&members, &required)
}

fn poll_request() -> Value {
    let err = json!({
        "type": "object",
        "properties": { "err": text(), "description": text() },
        "required": ["err"],
    });
    json!({
        "type": "object",
        "properties": {
            "maxEvents": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
            "returnImmediately": { "type": "boolean" },
            "ack": { "type": "array", "items": text() },
            "setErrs": { "type": "object", "additionalProperties": err },
        },
    })
}
