//! Asking for another agent: the whole chain of intent, from the one that asks up to the first (M 23).

use jiff::Timestamp;
use marque_intent::{
    Denial, DenialCode, ForAgent, Intent, IntentId, IntentStore as _, ParentIntent, Ruling,
    StopPoint,
};
use marque_spiffe::SpiffeId;

use super::IntentDesk;

impl IntentDesk {
    /// The intent by which `agent` asks for another, after a look at every one above it. The store looks again in the
    /// transaction that lends.
    ///
    /// # Errors
    /// The agent that would hold it is none, one of the two takes no part in delegation, or some intent of the chain is not the asker's, not live, or stopped.
    pub(super) async fn parent(
        &self,
        agent: &SpiffeId,
        asked: &ForAgent,
        now: Timestamp,
    ) -> Result<Intent, Denial> {
        self.must_be_an_agent(&asked.agent, now)?;
        self.hands_on(agent, &asked.agent)?;
        let parent = self.above(&asked.parent).await?;
        if parent.agent() != agent {
            // As for one that is not there: whose it is, is nobody's business.
            return Err(broken(&asked.parent));
        }
        parent.holds_up(&ParentIntent::of(parent.grant()), now)?;
        for link in parent.grant().parent.iter().flat_map(ParentIntent::chain) {
            self.above(&link.id).await?.holds_up(link, now)?;
        }
        match self.store.kill_state().borrow().stops_grant(parent.grant(), StopPoint::Ask) {
            Some(code) => Err(Denial::new(code, "the kill switch stops the chain above")),
            None => Ok(parent),
        }
    }

    async fn above(&self, id: &IntentId) -> Result<Intent, Denial> {
        let found = self.store.find(id).await.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, intent = %id, "the chain of intent cannot be read");
            Denial::new(DenialCode::PolicyUnavailable, "the chain of intent cannot be read")
        })?;
        found.ok_or_else(|| broken(id))
    }
}

/// What a person had to approve above, a person has to approve below: approvals are added and never taken away.
pub(super) fn with_a_person(ruling: Ruling, parent: &Intent) -> Ruling {
    match (ruling, parent.ruling()) {
        (Ruling::Approve { rules }, Ruling::AskApproval { .. }) => Ruling::AskApproval { rules },
        (ruling, _) => ruling,
    }
}

fn broken(id: &IntentId) -> Denial {
    Denial::new(
        DenialCode::ChainInvalid,
        format!("`{id}` is no live intent of the agent that asks"),
    )
}
