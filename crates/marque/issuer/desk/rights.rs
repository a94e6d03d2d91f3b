//! Whether an agent takes part in delegation at all, by its entry. Which playbooks permit it comes on top.

use marque_intent::{Denial, DenialCode};
use marque_registry::DelegateRights;
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// Whether `from` may hand something on to `to`. Of whom nothing is registered nothing is said here.
    pub(super) fn hands_on(&self, from: &SpiffeId, to: &SpiffeId) -> Result<(), Denial> {
        if !self.rights_of(from).may_delegate {
            let detail = format!("the entry of `{from}` says `may_delegate = false`");
            return Err(Denial::new(DenialCode::AgentNotAllowed, detail));
        }
        self.acts_for_others(to)
    }

    /// Whether the agent may act for a person or for another agent.
    pub(super) fn acts_for_others(&self, agent: &SpiffeId) -> Result<(), Denial> {
        if self.rights_of(agent).may_act_for_others {
            return Ok(());
        }
        let detail = format!("the entry of `{agent}` says `may_act_for_others = false`");
        Err(Denial::new(DenialCode::AgentNotAllowed, detail))
    }

    fn rights_of(&self, agent: &SpiffeId) -> DelegateRights {
        let registered = self.registry.snapshot();
        let entry = registered.entry_by_spiffe_id(agent);
        entry.map_or_else(DelegateRights::default, |entry| entry.delegation())
    }
}
