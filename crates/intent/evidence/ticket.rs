//! What a ticket system says of a change ticket.

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
}
