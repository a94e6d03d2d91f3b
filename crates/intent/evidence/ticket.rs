//! What a ticket system says of a change ticket.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A change ticket as its system told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketEvidence {
    /// The name of the system in the trust domain's document.
    pub system: String,
    /// The state, by the name that the playbook uses.
    pub state: String,
    /// The title, for people: the ticket system's word, bounded and stripped.
    pub title: String,
    /// The digest of everything that was looked at, so that a change of it is seen.
    pub state_hash: Digest,
    /// When the system was asked.
    pub checked_at: Timestamp,
    /// The fields that were compared with the parameters of the same names, and are the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bound: BTreeMap<String, String>,
    /// From when the work is planned, where the ticket says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_from: Option<Timestamp>,
    /// Until when the work is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_until: Option<Timestamp>,
}
