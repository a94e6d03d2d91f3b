//! What is found out about a request before it is resolved: bounded, and nothing of it from the agent's words.

use jiff::Timestamp;
use marque_intent::{Denial, Evidence, IntentRequest, Playbook, check_request};
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// Everything that policy and approvers are to know beside the request itself.
    ///
    /// # Errors
    /// The refusal where something that the playbook wants to be known cannot be found out: nothing is assumed.
    pub(super) async fn evidence(
        &self,
        agent: &SpiffeId,
        playbook: &Playbook,
        request: &IntentRequest,
        _now: Timestamp,
    ) -> Result<Evidence, Denial> {
        // Nobody is asked about a request that is refused anyhow.
        let ticket = check_request(playbook, request, agent)?;
        let (ticket, window) =
            self.change.of_request(playbook, ticket, request.parameters()).await?;
        Ok(Evidence { ticket, window, ..Evidence::default() })
    }
}
