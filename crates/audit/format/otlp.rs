//! OpenTelemetry logs in OTLP's JSON encoding (opentelemetry-proto 1.x, `logs/v1`): what `/v1/logs` of a collector takes,
//! and what an OTLP file has on each line.
//!
//! 64-bit numbers are text and ids are hexadecimal there. The body is the leaf, byte for byte.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::meaning::{Done, Outcome, Severity, outcome, severity};
use super::{frameworks, trust_domain};
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
    if let (Some(trace), Some(record)) = (event.trace_id, record.as_object_mut()) {
        record.insert("traceId".to_owned(), trace.to_string().into());
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
    let request = event.request_id.map(|id| id.to_string());
    let boot = event.monotonic.map(|at| at.boot.to_string());
    let root = event.prev_checkpoint.map(|kept| kept.root.to_string());
    let texts = [
        ("event.outcome", Some(went)),
        ("marque.leaf_hash", Some(hash.as_str())),
        ("marque.agent", agent.as_deref()),
        ("marque.intent", event.intent.as_deref()),
        ("marque.playbook", playbook.as_deref()),
        ("marque.ticket", event.ticket.as_deref()),
        ("marque.ticket_state", event.ticket_state.as_deref()),
        ("marque.tenant", event.tenant.as_deref()),
        ("marque.request_id", request.as_deref()),
        ("marque.monotonic.boot", boot.as_deref()),
        ("marque.prev_checkpoint.root", root.as_deref()),
        ("marque.actor", event.actor.as_deref()),
        ("marque.code", event.code.as_deref()),
        ("marque.token_id", event.token_id.as_deref()),
    ];
    let numbers = [
        ("marque.seq", Some(leaf.seq())),
        ("marque.latency_us", event.latency_us),
        ("marque.monotonic.us", event.monotonic.map(|at| at.us)),
        ("marque.prev_checkpoint.size", event.prev_checkpoint.map(|kept| kept.size)),
    ];
    let number = |(key, value): (&str, Option<u64>)| {
        Some(json!({ "key": key, "value": { "intValue": value?.to_string() } }))
    };
    let mut attributes: Vec<_> = numbers.into_iter().filter_map(number).collect();
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
