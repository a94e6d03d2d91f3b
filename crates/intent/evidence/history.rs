//! What came before a request: its like, refusals, and what is open. Gathered by the rules of [`crate::pace`].

use serde::{Deserialize, Serialize};

/// Counts of what came before, at the instant of the request. Policy, the risk and approvers see it; nothing of it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Grants of the agent that are open now, without this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_grants: u32,
    /// Grants that are open now for the persons on whose behalf it would be, without this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_for_delegator: u32,
    /// Refusals that the agent was given in the last 30 days.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub denials: u32,
    /// How often agents of the family asked the same in the last 30 days (K1); 64 and more are 64.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub same_request: u32,
    /// How often they asked for the same target and effect, by whatever playbook (K2); 64 and more are 64.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub same_target: u32,
    /// Whether the target was refused to the family in the last day, with this effect or a lesser one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub target_denied: bool,
    /// Whether nearly the same was said for another request that was refused in the last day.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub justification_repeated: bool,
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
