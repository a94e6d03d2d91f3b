//! The pure middle of a request: the grant that it would give, and the ruling on it.

use jiff::Timestamp;
use marque_audit::Event;
use marque_intent::{
    CapsInForce, Circumstances, Denial, DenialCode, Evidence, Intent, IntentId, IntentRequest,
    Playbook, Requester, resolve,
};
use marque_policy::Question;
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// Resolves a request and has policy rule on it.
    pub(super) fn decide(
        &self,
        agent: &SpiffeId,
        playbook: &Playbook,
        request: &IntentRequest,
        evidence: Evidence,
        now: Timestamp,
    ) -> Result<(Intent, Vec<Event>), Denial> {
        let unavailable = |error: &(dyn std::error::Error + 'static)| {
            tracing::error!(error, playbook = %playbook.id(), "no decision");
            Denial::new(DenialCode::PolicyError, "no decision could be made")
        };
        let circumstances = Circumstances {
            intent_id: IntentId::generate(&*self.random, now)
                .map_err(|error| unavailable(&error))?,
            policy_set_digest: *self.policy.set_digest(),
            evidence,
            now,
        };
        let owner = self.owner_of(agent);
        let requester = Requester { agent: agent.clone(), attestation: None, owner };
        let grant = resolve(playbook, request, &requester, circumstances)?;
        let question = Question { grant: &grant, playbook, environment: self.environment, now };
        let ruling = self.policy.decide(&question).map_err(|error| unavailable(&error))?;
        let (intent, events) = Intent::open(grant, request.justification().cloned(), ruling, now);
        let caps = CapsInForce { trust_domain: self.caps, playbook: *playbook.caps() };
        Ok((intent.with_appeal(request.appeal().cloned()).with_caps(caps), events))
    }
}
