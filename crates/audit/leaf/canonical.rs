//! A leaf written in one go, in the order that RFC 8785 has its members in.
//!
//! Members are declared here in that order, and serde_json escapes strings as RFC 8785 section 3.2.2.2 does; only the
//! detail of an event has to be sorted. Deliberately absent: numbers other than those that every reader keeps exactly,
//! which a leaf does not take in the first place.

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{CONTENT_TYPE, SPECVERSION, padded};
use crate::correlation::{RequestId, TraceId};
use crate::event::{PlaybookPin, PolicyPin};
use crate::measured::{Monotonic, PrevCheckpoint};
use crate::{Event, EventKind};

#[derive(Serialize)]
struct Envelope<'a> {
    data: Data<'a>,
    datacontenttype: &'static str,
    id: String,
    recordedtime: Timestamp,
    sequence: String,
    source: &'a SpiffeId,
    specversion: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: Timestamp,
    #[serde(rename = "type")]
    kind: EventKind,
}

/// An event without the members that the envelope has.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a SpiffeId>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    audience: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Members<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    monotonic: Option<Monotonic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    playbook: Option<Playbook<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_checkpoint: Option<PrevCheckpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses_left: Option<u32>,
}

#[derive(Serialize)]
struct Playbook<'a> {
    digest: &'a str,
    id: &'a str,
    version: u64,
}

#[derive(Serialize)]
struct Policy<'a> {
    digest: &'a str,
    rules: &'a [String],
}

/// The canonical JSON of an event at its place.
pub(super) fn encode(
    event: &Event,
    source: &SpiffeId,
    seq: u64,
    recorded: Timestamp,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Envelope {
        data: data(event),
        datacontenttype: CONTENT_TYPE,
        id: seq.to_string(),
        recordedtime: recorded,
        sequence: padded(seq),
        source,
        specversion: SPECVERSION,
        subject: event.intent.as_deref().or_else(|| event.agent.as_ref().map(SpiffeId::as_str)),
        time: event.time,
        kind: event.kind,
    })
}

fn data(event: &Event) -> Data<'_> {
    let Event {
        kind: _, // the envelope has these two
        time: _,
        agent,
        intent,
        playbook,
        grant_digest,
        ticket,
        ticket_state,
        tenant,
        actor,
        audience,
        code,
        class,
        token_id,
        expires_at,
        uses_left,
        epoch,
        policy,
        request_id,
        trace_id,
        latency_us,
        monotonic,
        prev_checkpoint,
        detail,
    } = event;
    Data {
        actor: actor.as_deref(),
        agent: agent.as_ref(),
        audience,
        class: class.as_deref(),
        code: code.as_deref(),
        detail: (!detail.is_empty()).then_some(Members(detail)),
        epoch: *epoch,
        expires_at: *expires_at,
        grant_digest: grant_digest.as_deref(),
        intent: intent.as_deref(),
        playbook: playbook.as_ref().map(|PlaybookPin { id, version, digest }| Playbook {
            digest,
            id,
            version: *version,
        }),
        policy: policy.as_ref().map(|PolicyPin { digest, rules }| Policy { digest, rules }),
        latency_us: *latency_us,
        monotonic: *monotonic,
        prev_checkpoint: *prev_checkpoint,
        request_id: *request_id,
        trace_id: *trace_id,
        tenant: tenant.as_deref(),
        ticket: ticket.as_deref(),
        ticket_state: ticket_state.as_deref(),
        token_id: token_id.as_deref(),
        uses_left: *uses_left,
    }
}

/// Members in the order of their names' UTF-16 code units (RFC 8785 section 3.2.3), at every depth.
struct Members<'a>(&'a Map<String, Value>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members: Vec<_> = self.0.iter().collect();
        members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
        serializer.collect_map(members.into_iter().map(|(name, value)| (name, Member(value))))
    }
}

struct Member<'a>(&'a Value);

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => serializer.collect_seq(values.iter().map(Member)),
            Value::Object(members) => Members(members).serialize(serializer),
            plain => plain.serialize(serializer),
        }
    }
}
