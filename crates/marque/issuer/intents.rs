//! The intent desk of one trust domain: an agent's request becomes a grant, a ruling and a record, in that order.
//!
//! The rules are `intent`'s and `policy`'s; the transactions are the store's. Deliberately absent: HTTP, gRPC, tokens.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use marque_audit::Event;
use marque_exchange::{AskError, AuthenticatedClient, PlaybookApproval};
use marque_intent::IntentStore as _;
use marque_intent::{
    ApprovalRule, ChangeError, Circumstances, Denial, DenialCode, IdempotencyKey, Intent,
    IntentChange, IntentId, IntentRequest, IntentStoreError, OPERATORS, Outcome, Playbook,
    PlaybookId, PlaybookSet, PlaybookSummary, Requester, State, refused_request, resolve,
};
use marque_policy::{DecisionPoint, Question};
use marque_registry::{EntryRole, OperatorPrincipal, Registry};
use marque_spiffe::{Clock, Environment, Random, SpiffeId};

use marque_store::Store;

/// Where agents ask for intents, look at their own and end them.
#[derive(Debug)]
pub struct IntentDesk {
    pub(super) environment: Environment,
    pub(super) playbooks: Arc<PlaybookSet>,
    pub(super) policy: Arc<dyn DecisionPoint>,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

/// Why the desk did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Refused, with a reason that a program can read.
    #[error("refused")]
    Denied {
        /// The reason.
        #[source]
        denial: Denial,
        /// The intent, where one was made.
        intent: Option<IntentId>,
    },
    /// There is no such intent, or none that the caller may know of.
    #[error("no such intent")]
    NotFound,
    /// Nothing was done, because it could not be recorded.
    #[error("the store is unavailable")]
    Unavailable(#[source] IntentStoreError),
}

impl IntentDesk {
    /// The playbooks that an agent may ask for.
    #[must_use]
    pub fn playbooks_for(&self, agent: &SpiffeId) -> Vec<PlaybookSummary> {
        self.playbooks.visible_to(agent).map(|playbook| playbook.summary()).collect()
    }

    /// Takes an agent's request: resolves it, has policy rule on it, and keeps the result before it is answered.
    /// Refusals are recorded too (M 46).
    ///
    /// # Errors
    /// [`DeskError::Denied`] with the reason, or [`DeskError::Unavailable`] when it cannot be recorded.
    pub async fn request(
        &self,
        client: &AuthenticatedClient,
        request: &IntentRequest,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Intent, DeskError> {
        let now = self.clock.now();
        let (intent, events) = match self.decide(client.id(), request, now) {
            Ok(decided) => decided,
            Err(denial) => return Err(self.refuse(client.id(), Some(request), denial).await),
        };
        match self.store.submit(intent, events, idempotency).await {
            Ok(submitted) => {
                let intent = submitted.into_intent();
                match (intent.state(), intent.denial()) {
                    (State::Denied, Some(denial)) => Err(DeskError::Denied {
                        denial: denial.clone(),
                        intent: Some(intent.id().clone()),
                    }),
                    _ => Ok(intent),
                }
            }
            Err(IntentStoreError::Killed(code)) => {
                let denial = Denial::new(code, "stopped by the kill switch");
                Err(self.refuse(client.id(), Some(request), denial).await)
            }
            Err(IntentStoreError::IdempotencyConflict) => {
                let denial = Denial::new(
                    DenialCode::IdempotencyConflict,
                    "the key came with another request before",
                );
                Err(self.refuse(client.id(), Some(request), denial).await)
            }
            Err(error) => Err(DeskError::Unavailable(error)),
        }
    }

    /// Records the refusal of a request, and gives the desk's answer: [`DeskError::Denied`], or
    /// [`DeskError::Unavailable`] when it cannot be recorded. `request` is what could be read of it.
    pub async fn refuse(
        &self,
        agent: &SpiffeId,
        request: Option<&IntentRequest>,
        denial: Denial,
    ) -> DeskError {
        let event = refused_request(agent, request, &denial, self.clock.now());
        match self.store.record_denial(event).await {
            Ok(()) => DeskError::Denied { denial, intent: None },
            Err(error) => DeskError::Unavailable(error),
        }
    }

    /// The agent's own intent as it stands.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] for an unknown intent and for somebody else's alike.
    pub async fn find(&self, agent: &SpiffeId, id: &IntentId) -> Result<Intent, DeskError> {
        let found = self.store.find(id).await.map_err(DeskError::Unavailable)?;
        let intent = found.filter(|intent| intent.agent() == agent).ok_or(DeskError::NotFound)?;
        match intent.expire_if_due(self.clock.now()) {
            Some(_) => self.change(id, IntentChange::Expire).await,
            None => Ok(intent),
        }
    }

    /// Ends the agent's own intent with its report.
    ///
    /// # Errors
    /// As [`IntentDesk::find`], and [`DeskError::Denied`] when the intent is in no state to be completed.
    pub async fn complete(
        &self,
        agent: &SpiffeId,
        id: &IntentId,
        outcome: Outcome,
    ) -> Result<Intent, DeskError> {
        self.find(agent, id).await?;
        self.change(id, IntentChange::Complete { by: agent.clone(), outcome }).await
    }

    /// Withdraws the agent's own intent.
    ///
    /// # Errors
    /// As [`IntentDesk::find`], and [`DeskError::Denied`] when the intent is in no state to be cancelled.
    pub async fn cancel(&self, agent: &SpiffeId, id: &IntentId) -> Result<Intent, DeskError> {
        self.find(agent, id).await?;
        self.change(id, IntentChange::Cancel { by: agent.clone() }).await
    }

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

    fn decide(
        &self,
        agent: &SpiffeId,
        request: &IntentRequest,
        now: Timestamp,
    ) -> Result<(Intent, Vec<Event>), Denial> {
        self.must_be_an_agent(agent, now)?;
        let playbook = self.playbook(request)?;
        let unavailable = |error: &(dyn std::error::Error + 'static)| {
            tracing::error!(error, playbook = %playbook.id(), "no decision");
            Denial::new(DenialCode::PolicyError, "no decision could be made")
        };
        let circumstances = Circumstances {
            intent_id: IntentId::generate(&*self.random, now)
                .map_err(|error| unavailable(&error))?,
            policy_set_digest: *self.policy.set_digest(),
            now,
        };
        let requester = Requester { agent: agent.clone(), attestation: None };
        let grant = resolve(playbook, request, &requester, circumstances)?;
        let question = Question { grant: &grant, playbook, environment: self.environment, now };
        let ruling = self.policy.decide(&question).map_err(|error| unavailable(&error))?;
        let (intent, events) = Intent::open(grant, request.justification().cloned(), ruling, now);
        Ok((intent.with_appeal(request.appeal().cloned()), events))
    }

    /// Only agents ask. A service that could would be a requester which nothing keeps from approving.
    fn must_be_an_agent(&self, id: &SpiffeId, now: Timestamp) -> Result<(), Denial> {
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

    fn playbook(&self, request: &IntentRequest) -> Result<&Playbook, Denial> {
        let found = self.playbooks.find(request.playbook());
        found.map(AsRef::as_ref).ok_or_else(|| {
            Denial::new(
                DenialCode::UnknownPlaybook,
                format!("there is no playbook `{}`", request.playbook()),
            )
        })
    }

    async fn change(&self, id: &IntentId, change: IntentChange) -> Result<Intent, DeskError> {
        match self.store.change(id.clone(), change, self.clock.now()).await {
            Ok(intent) => Ok(intent),
            Err(ChangeError::NotFound) => Err(DeskError::NotFound),
            Err(ChangeError::Refused(denial)) => {
                Err(DeskError::Denied { denial, intent: Some(id.clone()) })
            }
            Err(ChangeError::Store(error)) => Err(DeskError::Unavailable(error)),
        }
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
            if let Err(error) = self.cancel(agent.id(), intent).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, %intent, "an intent that nobody collects stays open");
            }
        }
        .boxed()
    }

    fn approval(&self, agent: &SpiffeId, playbook: &PlaybookId) -> PlaybookApproval {
        match self.playbooks.visible_to(agent).find(|visible| visible.id() == playbook) {
            None => PlaybookApproval::NotForThisAgent,
            Some(playbook) => playbook
                .approval()
                .map_or(PlaybookApproval::ByNobody, |rule| PlaybookApproval::By(rule.clone())),
        }
    }

    /// A group with an operator in it, or an operator by user name. Every local operator is in the group of that name.
    fn may_approve(&self, rule: &ApprovalRule, name: &str) -> bool {
        let counts = |group: &str| {
            rule.groups.is_empty() || rule.groups.iter().any(|counted| counted.as_str() == group)
        };
        let operators = self.registry.document().operators();
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
