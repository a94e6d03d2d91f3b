//! OpenTelemetry logs in OTLP's JSON encoding (opentelemetry-proto 1.x, `logs/v1`): what `/v1/logs` of a collector takes,
//! and what an OTLP file has on each line.
//!
//! 64-bit numbers are text and ids are hexadecimal there. The body is the leaf, byte for byte.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::meaning::{Done, Outcome, Severity, outcome, severity};
use super::{frameworks, told, trust_domain};
use crate::{Event, Leaf};

/// Who wrote the records.
const SCOPE: &str = "marque.audit";

/// One request with these records; those of one trust domain go under one resource.
pub(super) fn request(leaves: &[Leaf]) -> Value {
    let of = |leaves: &[Leaf]| {
        let place = leaves.first().map(trust_domain).unwrap_or_default();
        json!({
            "resource": { "attributes": [
                text("service.name", "marque"),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("marque.trust_domain", place),
            ] },
            "scopeLogs": [{
                "scope": { "name": SCOPE, "version": env!("CARGO_PKG_VERSION") },
                "logRecords": leaves.iter().map(record).collect::<Vec<_>>(),
            }],
        })
    };
    let groups = leaves.chunk_by(|one, next| one.source() == next.source());
    json!({ "resourceLogs": groups.map(of).collect::<Vec<_>>() })
}

fn record(leaf: &Leaf) -> Value {
    let event = leaf.event();
    let (number, name) = match severity(event.kind) {
        Severity::Informational => (9, "INFO"),
        Severity::Low => (10, "INFO2"),
        Severity::Medium => (13, "WARN"),
        Severity::High => (17, "ERROR"),
    };
    let mut record = json!({
        "timeUnixNano": nanoseconds(event.time),
        "observedTimeUnixNano": nanoseconds(leaf.recorded()),
        "severityNumber": number,
        "severityText": name,
        "eventName": event.kind.as_str(),
        "body": { "stringValue": String::from_utf8_lossy(leaf.bytes()) },
        "attributes": attributes(leaf, event),
    });
    for (member, name) in [("traceId", "trace_id"), ("spanId", "span_id")] {
        if let (Some(id), Some(record)) = (told(leaf, name), record.as_object_mut()) {
            record.insert(member.to_owned(), id.into());
        }
    }
    record
}

fn attributes(leaf: &Leaf, event: &Event) -> Vec<Value> {
    let went = match outcome(event) {
        Outcome::Success => "success",
        Outcome::Failure | Outcome::Work(Done::Failure) => "failure",
        Outcome::Pending => "pending",
        Outcome::Work(Done::Partial) => "partial",
        Outcome::Work(Done::Unknown) => "unknown",
    };
    let agent = event.agent.as_ref().map(ToString::to_string);
    let playbook = event.playbook.as_ref().map(|pin| format!("{}@{}", pin.id, pin.version));
    let hash = leaf.hash().to_string();
    let texts = [
        ("event.outcome", Some(went)),
        ("marque.leaf_hash", Some(hash.as_str())),
        ("marque.agent", agent.as_deref()),
        ("marque.intent", event.intent.as_deref()),
        ("marque.playbook", playbook.as_deref()),
        ("marque.ticket", event.ticket.as_deref()),
        ("marque.actor", event.actor.as_deref()),
        ("marque.code", event.code.as_deref()),
        ("marque.token_id", event.token_id.as_deref()),
    ];
    let mut attributes = vec![json!({
        "key": "marque.seq", "value": { "intValue": leaf.seq().to_string() },
    })];
    attributes.extend(texts.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    let tags: Vec<_> =
        frameworks::tags(event).into_iter().map(|tag| json!({ "stringValue": tag })).collect();
    if !tags.is_empty() {
        let values = json!({ "arrayValue": { "values": tags } });
        attributes.push(json!({ "key": "marque.frameworks", "value": values }));
    }
    attributes
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Nanoseconds since 1970; the log has no earlier times, and one would be the beginning.
fn nanoseconds(at: Timestamp) -> String {
    at.as_nanosecond().max(0).to_string()
}
