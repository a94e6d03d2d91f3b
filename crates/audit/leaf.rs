//! An event at its place in the log: RFC 8785 canonical JSON in a CloudEvents 1.0 envelope.
//!
//! `id` is the sequence number in decimal (`source` + `id` are unique, as CloudEvents wants), `sequence` the same
//! number padded to 20 digits (CloudEvents sequence extension: ordered as text), `time` when it happened and
//! `recordedtime` when the log took it (CloudEvents recorded-time extension). Recorded times never go back, which is
//! what a verifier checks; two rooms may hand in their events in either order.

mod canonical;

use jiff::Timestamp;
use marque_spiffe::{SpiffeId, TrustDomain};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{AuditError, Event, EventKind, Hash};

/// The most bytes of one leaf: its length must fit two bytes in an entry bundle (C2SP tlog-tiles).
pub const MAX_LEAF_BYTES: usize = u16::MAX as usize;

/// The first sequence number that the log cannot hold: JSON numbers and storage engines agree below it.
const SEQUENCE_END: u64 = 1 << 53;
const SPECVERSION: &str = "1.0";
const CONTENT_TYPE: &str = "application/json";

/// One record of the log, immutable. Its bytes are what is hashed, stored and exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    seq: u64,
    bytes: Vec<u8>,
    hash: Hash,
    recorded: Timestamp,
    source: SpiffeId,
    event: Event,
}

/// The envelope as it is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "some members only have to be there: they are compared as part of the whole"
)]
struct Envelope {
    data: Map<String, Value>,
    datacontenttype: String,
    id: String,
    recordedtime: Timestamp,
    sequence: String,
    source: SpiffeId,
    specversion: String,
    subject: Option<String>,
    time: Timestamp,
    #[serde(rename = "type")]
    kind: EventKind,
}

impl Leaf {
    /// Seals `event` as the leaf number `seq` (from 0, dense) of the trust domain's log, taken at `recorded`.
    ///
    /// # Errors
    /// When the leaf is larger than [`MAX_LEAF_BYTES`], `seq` is out of range, or the detail holds a number which
    /// JSON cannot keep exactly.
    pub fn seal(
        event: Event,
        trust_domain: &TrustDomain,
        seq: u64,
        recorded: Timestamp,
    ) -> Result<Self, AuditError> {
        if seq >= SEQUENCE_END {
            return Err(AuditError::Sequence(seq));
        }
        if !event.detail.values().all(keeps_exactly) {
            return Err(AuditError::InexactNumber);
        }
        let source = trust_domain.id();
        let bytes =
            canonical::encode(&event, &source, seq, recorded).map_err(AuditError::Encode)?;
        if bytes.len() > MAX_LEAF_BYTES {
            return Err(AuditError::LeafTooLarge { length: bytes.len() });
        }
        Ok(Self { seq, hash: Hash::of_leaf(&bytes), bytes, recorded, source, event })
    }

    /// Reads the stored bytes of leaf number `seq` and checks that they are exactly what [`Leaf::seal`] writes there.
    ///
    /// # Errors
    /// When the bytes are not a leaf, not canonical, or belong to another place.
    pub fn from_bytes(seq: u64, bytes: Vec<u8>) -> Result<Self, AuditError> {
        if bytes.len() > MAX_LEAF_BYTES {
            return Err(AuditError::LeafTooLarge { length: bytes.len() });
        }
        let envelope: Envelope = serde_json::from_slice(&bytes).map_err(AuditError::Decode)?;
        let Envelope {
            mut data,
            datacontenttype: _, // these five are compared below, as part of the whole
            id: _,
            recordedtime,
            sequence,
            source,
            specversion: _,
            subject: _,
            time,
            kind,
        } = envelope;
        if sequence != padded(seq) {
            return Err(AuditError::Envelope { member: "sequence" });
        }
        if source.has_path() {
            return Err(AuditError::Envelope { member: "source" });
        }
        for (member, value) in
            [("kind", Value::from(kind.as_str())), ("time", Value::from(time.to_string()))]
        {
            if data.insert(member.to_owned(), value).is_some() {
                return Err(AuditError::Envelope { member: "data" });
            }
        }
        let event: Event =
            serde_json::from_value(Value::Object(data)).map_err(AuditError::Decode)?;
        // One comparison finds duplicate members, other spellings and envelope members that contradict the event. A number
        // that a leaf does not take would be written as it was read.
        let written = canonical::encode(&event, &source, seq, recordedtime);
        if written.map_err(AuditError::Encode)? != bytes
            || !event.detail.values().all(keeps_exactly)
        {
            return Err(AuditError::NotCanonical);
        }
        Ok(Self { seq, hash: Hash::of_leaf(&bytes), bytes, recorded: recordedtime, source, event })
    }

    /// The place in the log, from 0.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The canonical JSON.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256(0x00 ‖ bytes), RFC 6962 section 2.1.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// When the log took it; never earlier than that of the leaf before.
    #[must_use]
    pub fn recorded(&self) -> Timestamp {
        self.recorded
    }

    /// The trust domain whose log it is of, as its ID.
    #[must_use]
    pub fn source(&self) -> &SpiffeId {
        &self.source
    }

    /// What happened.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }
}

fn padded(seq: u64) -> String {
    format!("{seq:020}")
}

/// Whether every number in it survives the double precision of RFC 8785 section 3.2.2.3.
fn keeps_exactly(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(positive), _) => positive < SEQUENCE_END,
            (None, Some(negative)) => negative.unsigned_abs() < SEQUENCE_END,
            // A fraction may come back as an integer (1.0 as 1): no event needs one.
            (None, None) => false,
        },
        Value::Array(values) => values.iter().all(keeps_exactly),
        Value::Object(members) => members.values().all(keeps_exactly),
    }
}

#[cfg(test)]
mod tests;
