//! The desk as the token service sees it: asking inline, withdrawing, and who could approve.

use futures::future::{BoxFuture, FutureExt as _};
use marque_exchange::{AskError, AuthenticatedClient, PlaybookApproval};
use marque_intent::{
    ApprovalPlan, Delegator, Denial, IdempotencyKey, Intent, IntentId, IntentRequest, OPERATORS,
    PlaybookId,
};
use marque_registry::OperatorPrincipal;
use marque_spiffe::SpiffeId;

use super::{DeskError, IntentDesk};

impl IntentDesk {
    /// Takes an agent's request, or records the refusal of one that could not be read.
    async fn take(
        &self,
        client: &AuthenticatedClient,
        request: Result<IntentRequest, Denial>,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Intent, AskError> {
        let answered = match request {
            Ok(request) => self.request(client, &request, idempotency).await,
            Err(denial) => Err(self.refuse(client.id(), None, denial).await),
        };
        answered.map_err(|error| match error {
            DeskError::Denied { denial, intent: _ } => AskError::Refused(denial),
            // The desk makes intents here, and looks for none.
            DeskError::NotFound => AskError::Unavailable("there is no such intent".into()),
            DeskError::Unavailable(error) => AskError::Unavailable(Box::new(error)),
        })
    }
}

impl marque_exchange::IntentDesk for IntentDesk {
    fn ask<'a>(
        &'a self,
        agent: &'a AuthenticatedClient,
        request: Result<IntentRequest, Denial>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'a, Result<Intent, AskError>> {
        self.take(agent, request, idempotency).boxed()
    }

    fn withdraw<'a>(
        &'a self,
        agent: &'a AuthenticatedClient,
        intent: &'a IntentId,
    ) -> BoxFuture<'a, ()> {
        async move {
            // It ends by its own clock where this fails.
            if let Err(error) = self.cancel(agent.id(), intent, None).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, %intent, "an intent that nobody collects stays open");
            }
        }
        .boxed()
    }

    fn may_use<'a>(
        &'a self,
        agent: &'a AuthenticatedClient,
        intent: &'a Intent,
        delegator: Option<&'a Delegator>,
    ) -> BoxFuture<'a, Result<(), Denial>> {
        self.may_be_used(agent, intent, delegator).boxed()
    }

    fn may_hand_on(&self, from: &SpiffeId, to: &SpiffeId) -> Result<(), Denial> {
        self.hands_on(from, to)
    }

    fn approval(&self, agent: &SpiffeId, playbook: &PlaybookId) -> PlaybookApproval {
        match self.playbooks.visible_to(agent).find(|visible| visible.id() == playbook) {
            None => PlaybookApproval::NotForThisAgent,
            Some(playbook) => playbook
                .approval()
                .map_or(PlaybookApproval::ByNobody, |plan| PlaybookApproval::By(plan.clone())),
        }
    }

    /// A group with an operator in it, or an operator by user name. Every local operator is in the group of that name.
    fn may_approve(&self, plan: &ApprovalPlan, name: &str) -> bool {
        let counts = |group: &str| {
            plan.rules().any(|rule| {
                rule.groups.is_empty()
                    || rule.groups.iter().any(|counted| counted.as_str() == group)
            })
        };
        let document = self.registry.document();
        let operators = document.operators();
        let is_group = name == OPERATORS
            || operators.iter().any(|operator| operator.groups().iter().any(|group| group == name));
        let is_user = operators.iter().any(|operator| {
            let named =
                matches!(operator.principal(), OperatorPrincipal::User(user) if user == name);
            named && (counts(OPERATORS) || operator.groups().iter().any(|group| counts(group)))
        });
        is_user || (is_group && counts(name))
    }
}
