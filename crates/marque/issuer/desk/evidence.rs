//! What is found out about a request before it is resolved: bounded, and nothing of it from the agent's words.

use jiff::Timestamp;
use marque_intent::{
    Denial, DenialCode, Evidence, Intent, IntentId, IntentRequest, OpenBy, OpenIntents as _,
    Playbook, check_request,
};
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

    /// How many grants are open for the persons on whose behalf a request would be, as far as they are known before its
    /// first use: those whom the playbook names one by one, and those for whom the intent above was used.
    pub(super) async fn open_for_persons(
        &self,
        playbook: &Playbook,
        parent: Option<&Intent>,
        now: Timestamp,
    ) -> Result<u32, Denial> {
        let named = playbook.delegators().into_iter().flat_map(|rule| &rule.persons);
        let named = named.flat_map(|persons| {
            persons.subjects.iter().map(|subject| format!("{}:{subject}", persons.issuer))
        });
        let above = parent.into_iter().flat_map(Intent::delegators_served).map(str::to_owned);
        self.open_for(named.chain(above).collect(), None, now).await
    }

    /// How many grants are open for these persons now, without one intent's own.
    pub(super) async fn open_for(
        &self,
        persons: Vec<String>,
        without: Option<IntentId>,
        now: Timestamp,
    ) -> Result<u32, Denial> {
        let counted = self.store.open_for(OpenBy::Delegator, persons, without, now).await;
        counted.map_err(|error| {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::error!(error, "what is open cannot be read");
            Denial::new(DenialCode::PolicyUnavailable, "what is open cannot be read")
        })
    }
}
