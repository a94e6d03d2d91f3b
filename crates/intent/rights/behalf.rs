//! Whether an agent may hand on what it holds: how far, to whom, and what may pass unchanged (M 20, M 22).

use std::collections::BTreeSet;

use marque_spiffe::{SpiffeId, SpiffeIdPattern};
use serde::{Deserialize, Serialize};

use super::{Dimension, Widening};

/// The longest chain of agents behind the first.
pub const MAX_DELEGATION_DEPTH: u8 = 8;

/// A playbook's leave to delegate. Where there is none, nobody but the grant's own agent ever holds a token of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnBehalf {
    /// How many more times it may be handed on.
    pub max_depth: u8,
    /// To which agents.
    pub agents: Vec<SpiffeIdPattern>,
    /// The dimensions in which a child may equal its parent. In every other one that can be narrowed it has to be.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub equal: BTreeSet<Dimension>,
}

impl OnBehalf {
    /// Whether this agent may be handed something.
    #[must_use]
    pub fn permits(&self, agent: &SpiffeId) -> bool {
        self.agents.iter().any(|pattern| pattern.matches(agent))
    }

    /// What is left of it after one more hop.
    pub(super) fn after_a_hop(&self) -> Option<Self> {
        let max_depth = self.max_depth.checked_sub(1).filter(|left| *left > 0)?;
        Some(Self { max_depth, ..self.clone() })
    }

    pub(super) fn covers(&self, child: &Self) -> Result<(), Widening> {
        let wider = child.max_depth > self.max_depth
            || child.agents.iter().any(|pattern| !self.agents.contains(pattern))
            || !child.equal.is_subset(&self.equal);
        if wider { Err(Widening::exceeds(Dimension::Depth)) } else { Ok(()) }
    }
}
