//! The playbook as one request asks for it: reviewed in time, in the phase that is asked for and in its order, and under
//! an exception where there is one for exactly this.

use std::borrow::Cow;

use jiff::Timestamp;
use marque_intent::{
    Denial, DenialCode, Intent, IntentFilter, IntentRequest, IntentStore as _, MAX_LISTED, Playbook,
};
use marque_spiffe::SpiffeId;
use tokio::sync::OwnedMutexGuard;

use super::IntentDesk;

impl IntentDesk {
    /// The playbook, and while a run of an exception is being taken what keeps another request from taking it too.
    ///
    /// # Errors
    /// There is none, its review is overdue, or it is asked for out of order.
    pub(super) async fn as_asked(
        &self,
        agent: &SpiffeId,
        request: &IntentRequest,
        now: Timestamp,
    ) -> Result<(Cow<'_, Playbook>, Option<OwnedMutexGuard<()>>), Denial> {
        let whole = self.playbook(request)?;
        self.playbooks.check_review(whole, now)?;
        let playbook = whole.in_phase(request.phase())?;
        if let Some(phase) = playbook.phase().filter(|phase| !phase.needs().is_empty()) {
            phase.check_order(playbook, request, &self.earlier(agent).await?, now)?;
        }
        let Some(exception) = self.playbooks.exception_for(agent, playbook, request, now) else {
            return Ok((Cow::Borrowed(playbook), None));
        };
        let run = std::sync::Arc::clone(&self.exception_runs).lock_owned().await;
        let earlier = self.earlier(agent).await?;
        // What is not listed cannot be counted.
        if earlier.len() < MAX_LISTED && exception.has_runs_left(&earlier) {
            Ok((Cow::Owned(playbook.under(exception)), Some(run)))
        } else {
            Ok((Cow::Borrowed(playbook), None))
        }
    }

    /// The agent's own intents, newest first.
    async fn earlier(&self, agent: &SpiffeId) -> Result<Vec<Intent>, Denial> {
        let filter = IntentFilter { agent: Some(agent.clone()), ..IntentFilter::default() };
        self.store.list(filter).await.map_err(|error| {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::error!(error, "earlier intents cannot be read");
            Denial::new(DenialCode::PolicyUnavailable, "earlier intents cannot be read")
        })
    }
}
