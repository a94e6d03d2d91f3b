//! A shared identity as a leaf of the log: written here, read back here for the report.

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_registry::SharingRule;
use marque_spiffe::SpiffeId;
use marque_workload::{HolderFacts, SharedUse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The stable code of a refusal because somebody else holds the identity.
pub(crate) const IDENTITY_SHARED: &str = "identity_shared";
/// Its class, as in the table of denials.
const CLASS: &str = "identity";

/// What a leaf says about a shared identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) spiffe_id: SpiffeId,
    pub(super) at: Timestamp,
    pub(super) refused: bool,
    pub(super) earlier: Holder,
    pub(super) newcomer: Holder,
}

/// One side of it. Unknown members are left alone: the log keeps what later versions write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pids: Vec<i32>,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
    /// Those that may be in a log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) selectors: Vec<String>,
}

/// The event of a shared use; `selectors` are those of `seen` that may be in a log.
pub(super) fn event(
    shared: &SharedUse,
    (rule, window): (SharingRule, Duration),
    (seen, selectors): (&marque_attest::Fingerprint, &[String]),
) -> Result<Event, serde_json::Error> {
    let holder = |facts: &HolderFacts| {
        let HolderFacts { fingerprint, uid, pids, first_seen, last_seen, present: _ } = facts;
        let holder = Holder {
            fingerprint: fingerprint.to_string(),
            uid: *uid,
            pids: pids.clone(),
            first_seen: *first_seen,
            last_seen: *last_seen,
            selectors: if fingerprint == seen { selectors.to_vec() } else { Vec::new() },
        };
        serde_json::to_value(holder)
    };
    let event = Event::new(EventKind::IdentityShared, shared.at)
        .with_agent(shared.spiffe_id.clone())
        .with_detail("rule", rule.as_str())
        .with_detail("window_s", window.as_secs())
        .with_detail("earlier", holder(&shared.earlier)?)
        .with_detail("newcomer", holder(&shared.newcomer)?);
    Ok(if shared.refused { event.with_denial(IDENTITY_SHARED, CLASS) } else { event })
}

/// The record in an event; `None` for every other event, and for one that this version cannot read.
pub(super) fn read(event: &Event) -> Option<Record> {
    if event.kind != EventKind::IdentityShared {
        return None;
    }
    Some(Record {
        spiffe_id: event.agent.clone()?,
        at: event.time,
        refused: event.code.is_some(),
        earlier: side(&event.detail, "earlier")?,
        newcomer: side(&event.detail, "newcomer")?,
    })
}

fn side(detail: &Map<String, Value>, name: &str) -> Option<Holder> {
    serde_json::from_value(detail.get(name)?.clone()).ok()
}
