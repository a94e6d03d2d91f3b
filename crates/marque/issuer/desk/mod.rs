//! The intent desk of one trust domain: an agent's request becomes a grant, a ruling and a record, in that order.
//!
//! The rules are `intent`'s and `policy`'s; the transactions are the store's; one file for each stage. Deliberately
//! absent: HTTP, gRPC, tokens.

mod approvers;
mod asking;
mod behalf;
mod decide;
mod drift;
mod evidence;
mod further;

mod pace;
mod playbook;
mod posture;
mod rights;
mod slow;
mod standing;

use std::sync::Arc;

use jiff::Timestamp;
use marque_audit::Event;
use marque_exchange::AuthenticatedClient;
use marque_intent::pace::{Asked, PaceSettings};
use marque_intent::{
    Caps, ChangeError, Denial, IdempotencyKey, Intent, IntentChange, IntentId, IntentRequest,
    IntentStore as _, IntentStoreError, Justification, Outcome, PlaybookSet, PlaybookSummary,
    Rosters, State, Submitted,
};
use marque_policy::DecisionPoint;
use marque_registry::RegistryView;
use marque_spiffe::{Clock, Environment, Random, SpiffeId};
use marque_store::Store;

pub(in crate::issuer) use self::drift::Drift;
pub(in crate::issuer) use self::further::FurtherPoints;
pub(super) use self::pace::settings as pace_settings;
pub(in crate::issuer) use self::posture::PostureBoard;
pub(in crate::issuer) use self::slow::SlowRoom;
use crate::change::ChangeControl;
use crate::identities::Presence;
use crate::payloads::Payloads;

/// Where agents ask for intents, look at their own and end them.
#[derive(Debug)]
pub struct IntentDesk {
    pub(in crate::issuer) environment: Environment,
    pub(in crate::issuer) playbooks: Arc<PlaybookSet>,
    pub(in crate::issuer) policy: Arc<dyn DecisionPoint>,
    /// Where the rules of `policy` that take their time are evaluated.
    pub(in crate::issuer) slow: Arc<SlowRoom>,
    pub(in crate::issuer) further: FurtherPoints,
    pub(in crate::issuer) postures: Arc<PostureBoard>,
    pub(in crate::issuer) change: Arc<ChangeControl>,
    /// The entries that go with the playbooks and the policy.
    pub(in crate::issuer) registry: Arc<RegistryView>,
    pub(in crate::issuer) rosters: Arc<Rosters>,
    pub(in crate::issuer) store: Arc<Store>,
    pub(in crate::issuer) clock: Arc<dyn Clock>,
    pub(in crate::issuer) random: Arc<dyn Random>,
    /// How many grants may be open at once.
    pub(in crate::issuer) caps: Caps,
    /// Who lives.
    pub(in crate::issuer) presence: Arc<Presence>,
    pub(in crate::issuer) pace: PaceSettings,
    /// What agents write, where a playbook wants it sealed.
    pub(in crate::issuer) payloads: Arc<Payloads>,
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

/// Why no intent was kept.
#[derive(Debug)]
enum Unkept {
    Refused(Denial),
    Failed(IntentStoreError),
}

impl Unkept {
    fn of(error: IntentStoreError) -> Self {
        let failed = |source| Self::Failed(IntentStoreError::Unavailable(source));
        error.into_denial().map_or_else(failed, Self::Refused)
    }
}

/// An intent as its agent is answered: the reason, where it was refused.
fn given(intent: Intent) -> Result<Intent, DeskError> {
    match (intent.state(), intent.denial()) {
        (State::Denied, Some(denial)) => {
            Err(DeskError::Denied { denial: denial.clone(), intent: Some(intent.id().clone()) })
        }
        _ => Ok(intent),
    }
}

impl IntentDesk {
    /// The playbooks that an agent may ask for.
    #[must_use]
    pub fn playbooks_for(&self, agent: &SpiffeId) -> Vec<PlaybookSummary> {
        self.playbooks.visible_to(agent).map(|playbook| playbook.summary()).collect()
    }

    /// What an agent should know of the playbook of its intent.
    #[must_use]
    pub fn warning(&self, intent: &Intent) -> Option<String> {
        self.playbooks.find(&intent.grant().playbook.id)?.warning()
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
        let found = self.playbooks.find(request.playbook()).map(AsRef::as_ref);
        let mut asked = Asked::by(client.id(), Some(request));
        let kept = match self.answered_before(idempotency.as_ref(), now).await {
            Ok(Some(intent)) => return given(intent),
            Ok(None) => self.keep(client, &mut asked, request, idempotency, now).await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(submitted) => {
                if let (Submitted::Created(intent), Some(playbook)) = (&submitted, found)
                    && let Some(denial) = intent.denial()
                {
                    pace::counted(denial, Some(playbook));
                }
                // An intent that is over was answered before, and what was sealed of it may be erased by now.
                let over =
                    matches!(&submitted, Submitted::Replayed(one) if one.state().is_terminal());
                let intent = submitted.into_intent();
                if !over {
                    let said = request.justification().map(Justification::as_str);
                    self.seal(&intent, "justification", said).await?;
                }
                given(intent)
            }
            Err(Unkept::Refused(denial)) => {
                Err(self.refuse_asked(asked, Some(request), denial).await)
            }
            Err(Unkept::Failed(error)) => Err(DeskError::Unavailable(error)),
        }
    }

    /// What the same key was answered before: whoever asks again is no further request.
    async fn answered_before(
        &self,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Intent>, Unkept> {
        match idempotency {
            None => Ok(None),
            Some(key) => self.store.answered(key.clone(), now).await.map_err(Unkept::of),
        }
    }

    /// Considers a request and keeps what comes of it; without its exception where that has no run left.
    async fn keep(
        &self,
        client: &AuthenticatedClient,
        asked: &mut Asked,
        request: &IntentRequest,
        idempotency: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Submitted, Unkept> {
        let mut excepted = true;
        loop {
            let considered = self.consider(client, asked, (request, excepted), now).await;
            let (intent, events) = considered.map_err(Unkept::Refused)?;
            match self.store.submit(intent, events, idempotency.clone()).await {
                Err(IntentStoreError::NoRunLeft) if excepted => excepted = false,
                kept => return kept.map_err(Unkept::of),
            }
        }
    }

    /// Who asks, how often, what is known, what it would give, and what policy says of it: the cheap questions first.
    async fn consider(
        &self,
        client: &AuthenticatedClient,
        asked: &mut Asked,
        (request, excepted): (&IntentRequest, bool),
        now: Timestamp,
    ) -> Result<(Intent, Vec<Event>), Denial> {
        let agent = client.id();
        self.must_be_an_agent(agent, now)?;
        let playbook = self.as_asked(agent, request, excepted, now)?;
        let playbook = playbook.as_ref();
        *asked = self.asked(agent, playbook, request, now);
        // Before anything is looked for or asked for elsewhere: whoever has to wait costs no more than this.
        let mut history = self.pace(asked, now).await?;
        if let Err(denial) = self.in_order(agent, playbook, request, now).await {
            // The same request will do once its turn has come: it is not remembered as refused.
            *asked = Asked::by(agent, Some(request));
            return Err(denial);
        }
        let parent = match request.for_agent() {
            Some(asked) => Some(self.parent(agent, asked, now).await?),
            None => None,
        };
        // What is asked for another is that agent's to hold: it is the one that the playbook has to be for.
        let holder = request.for_agent().map_or(agent, |asked| &asked.agent);
        self.must_be_alive(holder, playbook)?;
        history.open_for_delegator = self.open_for_persons(playbook, parent.as_ref(), now).await?;
        let mut evidence = self.evidence(holder, playbook, request, now).await?;
        evidence.history = history;
        let now = self.clock.now();
        self.decide(client, playbook, (request, parent.as_ref()), evidence, now).await
    }

    /// Records the refusal of a request, and gives the desk's answer: [`DeskError::Denied`], or
    /// [`DeskError::Unavailable`] when it cannot be recorded. `request` is what could be read of it.
    pub async fn refuse(
        &self,
        agent: &SpiffeId,
        request: Option<&IntentRequest>,
        denial: Denial,
    ) -> DeskError {
        self.refuse_asked(Asked::by(agent, request), request, denial).await
    }

    /// The agent's own intent as it stands, or one that it asked for on another's behalf.
    ///
    /// # Errors
    /// [`DeskError::NotFound`] for an unknown intent and for somebody else's alike.
    pub async fn find(&self, agent: &SpiffeId, id: &IntentId) -> Result<Intent, DeskError> {
        let found = self.store.find(id).await.map_err(DeskError::Unavailable)?;
        let intent = found.filter(|intent| intent.is_known_to(agent)).ok_or(DeskError::NotFound)?;
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
        report: Option<Justification>,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Intent, DeskError> {
        self.find(agent, id).await?;
        let said = report.clone();
        let complete = IntentChange::Complete { by: agent.clone(), outcome, report };
        let completed = self.change_once(id, complete, idempotency).await?;
        self.seal(&completed, "report", said.as_ref().map(Justification::as_str)).await?;
        Ok(completed)
    }

    /// Keeps what the agent wrote sealed, where its playbook wants that.
    async fn seal(&self, intent: &Intent, name: &str, text: Option<&str>) -> Result<(), DeskError> {
        let kept = self.payloads.keep(intent, name, text).await;
        kept.map_err(|error| DeskError::Unavailable(error.into()))
    }

    /// Takes note that the agent still works under its own intent.
    ///
    /// # Errors
    /// As [`IntentDesk::find`], and [`DeskError::Denied`] when the intent has ended.
    pub async fn hear(&self, agent: &SpiffeId, id: &IntentId) -> Result<Intent, DeskError> {
        self.find(agent, id).await?;
        self.change(id, IntentChange::Heard { by: Some(agent.clone()) }).await
    }

    /// Withdraws the agent's own intent, or one that it asked for on another's behalf.
    ///
    /// # Errors
    /// As [`IntentDesk::find`], and [`DeskError::Denied`] when the intent is in no state to be cancelled.
    pub async fn cancel(
        &self,
        agent: &SpiffeId,
        id: &IntentId,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Intent, DeskError> {
        self.find(agent, id).await?;
        self.change_once(id, IntentChange::Cancel { by: agent.clone() }, idempotency).await
    }

    async fn change(&self, id: &IntentId, change: IntentChange) -> Result<Intent, DeskError> {
        self.change_once(id, change, None).await
    }

    async fn change_once(
        &self,
        id: &IntentId,
        change: IntentChange,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Intent, DeskError> {
        match self.store.change_once(id.clone(), change, idempotency, self.clock.now()).await {
            Ok(intent) => Ok(intent),
            Err(ChangeError::NotFound) => Err(DeskError::NotFound),
            Err(ChangeError::Refused(denial)) => {
                Err(DeskError::Denied { denial, intent: Some(id.clone()) })
            }
            Err(ChangeError::Store(error)) => Err(DeskError::Unavailable(error)),
        }
    }
}
