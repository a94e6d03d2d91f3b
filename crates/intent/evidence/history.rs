//! What came before a request: its like, refusals, and what is open.

use serde::{Deserialize, Serialize};

/// Counts of what came before, at the instant of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Grants of the agent that are open now, without this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_grants: u32,
    /// Refusals that the agent was given in the last 30 days.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub denials: u32,
}

impl History {
    /// Whether nothing came before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}
