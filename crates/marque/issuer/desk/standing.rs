//! Who may ask, and for what: an agent that is registered, and a playbook that is there.

use std::sync::Arc;

use jiff::Timestamp;
use marque_intent::{Denial, DenialCode, IntentRequest, Playbook};
use marque_registry::EntryRole;
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// Only agents ask. A service that could would be a requester which nothing keeps from approving.
    pub(super) fn must_be_an_agent(&self, id: &SpiffeId, now: Timestamp) -> Result<(), Denial> {
        let registered = self.registry.snapshot();
        match registered.entry_by_spiffe_id(id).filter(|entry| !entry.has_expired(now)) {
            Some(entry) if entry.role() == EntryRole::Agent => Ok(()),
            Some(_) => {
                let detail =
                    format!("`{id}` is registered as a service; only agents ask for intents");
                Err(Denial::new(DenialCode::AgentNotAllowed, detail))
            }
            None => {
                let detail = format!("`{id}` is not registered (any more)");
                Err(Denial::new(DenialCode::AgentNotAttested, detail))
            }
        }
    }

    /// Who answers for an agent: the owner of its entry.
    pub(super) fn owner_of(&self, id: &SpiffeId) -> Option<String> {
        let registered = self.registry.snapshot();
        registered.entry_by_spiffe_id(id).map(|entry| entry.owner().to_owned())
    }

    /// A grant that ends with its agent's process is given only where that process is seen: nobody would ever see it end.
    pub(super) fn must_be_alive(&self, id: &SpiffeId, playbook: &Playbook) -> Result<(), Denial> {
        if !playbook.ends().with_agent || self.presence.has(id) {
            return Ok(());
        }
        let detail = format!("no live process on this node was handed an SVID of `{id}`");
        Err(Denial::new(DenialCode::AgentNotAttested, detail))
    }

    pub(super) fn playbook(&self, request: &IntentRequest) -> Result<&Arc<Playbook>, Denial> {
        let found = self.playbooks.find(request.playbook());
        found.ok_or_else(|| {
            Denial::new(
                DenialCode::UnknownPlaybook,
                format!("there is no playbook `{}`", request.playbook()),
            )
        })
    }
}
