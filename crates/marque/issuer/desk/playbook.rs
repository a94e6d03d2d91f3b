//! The playbook as one request asks for it: reviewed in time, in the phase that is asked for and in its order, and under
//! an exception where there is one for exactly this.

use std::borrow::Cow;

use jiff::Timestamp;
use marque_intent::{Denial, DenialCode, IntentFilter, IntentRequest, IntentStore as _, Playbook};
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// The playbook, under its exception if `excepted`. Whether the exception has a run left, the store says in the
    /// transaction that takes it.
    ///
    /// # Errors
    /// There is none, its review is overdue, or it has no such phase.
    pub(super) fn as_asked(
        &self,
        agent: &SpiffeId,
        request: &IntentRequest,
        excepted: bool,
        now: Timestamp,
    ) -> Result<Cow<'_, Playbook>, Denial> {
        let whole = self.playbook(request)?;
        self.playbooks.check_review(whole, now)?;
        let playbook = whole.in_phase(request.phase())?;
        let exception = self.playbooks.exception_for(agent, playbook, request, now);
        Ok(match exception.filter(|_| excepted) {
            Some(exception) => Cow::Owned(playbook.under(exception)),
            None => Cow::Borrowed(playbook),
        })
    }

    /// Whether a phase is asked for after those that it needs.
    ///
    /// # Errors
    /// `phase_order`, or `policy_unavailable` where nobody can say.
    pub(super) async fn in_order(
        &self,
        agent: &SpiffeId,
        playbook: &Playbook,
        request: &IntentRequest,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let Some(phase) = playbook.phase().filter(|phase| !phase.needs().is_empty()) else {
            return Ok(());
        };
        let filter = IntentFilter { agent: Some(agent.clone()), ..IntentFilter::default() };
        let earlier = self.store.list(filter).await.map_err(|error| {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::error!(error, "earlier intents cannot be read");
            Denial::new(DenialCode::PolicyUnavailable, "earlier intents cannot be read")
        })?;
        phase.check_order(playbook, request, &earlier, now)
    }
}
