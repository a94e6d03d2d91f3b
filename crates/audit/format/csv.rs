//! CSV (RFC 4180): one line a record, every value in quotes.
//!
//! A value that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP's page on CSV injection has
//! it: an agent chooses some of these values.

use csv::{QuoteStyle, Terminator, WriterBuilder};
use serde_json::Value;

use super::{FormatError, frameworks, trust_domain};
use crate::{Leaf, PlaybookPin, PolicyPin};

const COLUMNS: [&str; 31] = [
    "seq",
    "time",
    "recorded",
    "type",
    "trust_domain",
    "agent",
    "intent",
    "playbook",
    "playbook_version",
    "playbook_digest",
    "grant_digest",
    "ticket",
    "actor",
    "audience",
    "code",
    "class",
    "token_id",
    "expires_at",
    "uses_left",
    "epoch",
    "policy",
    "frameworks",
    "leaf_hash",
    "detail",
    "request_id",
    "trace_id",
    "tenant",
    "ticket_state",
    "latency_us",
    "monotonic",
    "prev_checkpoint",
];

/// The first characters of what spreadsheets calculate, the full-width ones of some of them among these.
pub(super) const FORMULA: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// The names of the columns, with the line end.
pub(super) fn header() -> Result<String, FormatError> {
    Ok(format!("{}\r\n", written(COLUMNS)?))
}

/// One record, without the line end.
pub(super) fn line(leaf: &Leaf) -> Result<String, FormatError> {
    written(values(leaf).map(|value| safe(&value)))
}

fn values(leaf: &Leaf) -> [String; COLUMNS.len()] {
    let event = leaf.event();
    let playbook = event.playbook.as_ref();
    let pin = |part: fn(&PlaybookPin) -> String| playbook.map(part).unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let policy = |pin: &PolicyPin| format!("{} {}", pin.digest, pin.rules.join(" "));
    [
        leaf.seq().to_string(),
        event.time.to_string(),
        leaf.recorded().to_string(),
        event.kind.as_str().to_owned(),
        trust_domain(leaf).to_owned(),
        event.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
        text(&event.intent),
        pin(|pin| pin.id.clone()),
        pin(|pin| pin.version.to_string()),
        pin(|pin| pin.digest.clone()),
        text(&event.grant_digest),
        text(&event.ticket),
        text(&event.actor),
        event.audience.join(" "),
        text(&event.code),
        text(&event.class),
        text(&event.token_id),
        event.expires_at.map(|at| at.to_string()).unwrap_or_default(),
        event.uses_left.map(|left| left.to_string()).unwrap_or_default(),
        event.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
        event.policy.as_ref().map(policy).unwrap_or_default().trim_end().to_owned(),
        frameworks::tags(event).join(" "),
        leaf.hash().to_string(),
        if event.detail.is_empty() {
            String::new()
        } else {
            Value::Object(event.detail.clone()).to_string()
        },
        event.request_id.map(|id| id.to_string()).unwrap_or_default(),
        event.trace_id.map(|id| id.to_string()).unwrap_or_default(),
        text(&event.tenant),
        text(&event.ticket_state),
        event.latency_us.map(|micros| micros.to_string()).unwrap_or_default(),
        event.monotonic.map(|at| format!("{} {}", at.boot, at.us)).unwrap_or_default(),
        event
            .prev_checkpoint
            .map(|kept| format!("{} {}", kept.size, kept.root))
            .unwrap_or_default(),
    ]
}

fn safe(value: &str) -> String {
    if value.starts_with(FORMULA) { format!("'{value}") } else { value.to_owned() }
}

fn written<const N: usize>(values: [impl AsRef<[u8]>; N]) -> Result<String, FormatError> {
    let mut writer = WriterBuilder::new()
        .quote_style(QuoteStyle::Always)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(values).map_err(|error| FormatError::Csv(Box::new(error)))?;
    let bytes =
        writer.into_inner().map_err(|error| FormatError::Csv(Box::new(error.into_error())))?;
    let text = String::from_utf8(bytes).map_err(|error| FormatError::Csv(Box::new(error)))?;
    Ok(text.trim_end_matches("\r\n").to_owned())
}
