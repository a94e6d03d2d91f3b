//! What approvers see and say, whichever door they came through: local operators at the admin socket, people who logged in,
//! and those whose word a callback passes on. The rules are `intent`'s.
//!
//! Absent: who somebody is, which the door has found out, and HTTP and gRPC.

use std::sync::Arc;

use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_intent::{
    Approval, Approver, ChangeError, Decider, Denial, DenialCode, Digest, Holding, IdempotencyKey,
    Intent, IntentChange, IntentFilter, IntentId, IntentStore as _, IntentStoreError, ListOrder,
    Narrowing, OpenBy, OpenIntents as _, Reason, Rosters, State,
};
use marque_registry::RegistryView;
use marque_spiffe::Clock;
use marque_store::{Failure, Store};
use serde::Serialize;

use super::looks::Looks;
use super::told::{Eligibility, Held, Told};
use crate::irrevocable::Irrevocable;
use crate::issuer::IntentDesk;

/// Where intents of one trust domain are decided about.
#[derive(Debug)]
pub struct ApprovalDesk {
    store: Arc<Store>,
    registry: Arc<RegistryView>,
    rosters: Arc<Rosters>,
    /// What an approval counts for: tickets are looked at again, and policy has its say.
    intents: Arc<IntentDesk>,
    clock: Arc<dyn Clock>,
    looks: Arc<Looks>,
}

/// What an approval desk is opened with.
pub(crate) struct ApprovalDeskParts {
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Arc<RegistryView>,
    pub(crate) rosters: Arc<Rosters>,
    pub(crate) intents: Arc<IntentDesk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When somebody was shown something first.
    pub(crate) looks: Arc<Looks>,
}

/// What an approver says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word {
    /// Yes, to exactly this, or to less.
    Approve {
        /// The grant's digest.
        digest: Digest,
        /// What is taken away of it.
        less: Option<Narrowing>,
    },
    /// No.
    Deny {
        /// The grant's digest, where the door asks for one.
        digest: Option<Digest>,
        /// Why.
        reason: Reason,
    },
    /// No more, of what was approved. An operator's alone.
    Revoke {
        /// Why.
        reason: Reason,
    },
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// There is no such intent, or none that the approver may know of.
    #[error("no such intent")]
    NotFound,
    /// Refused, with a reason that a program can read.
    #[error("refused")]
    Denied(#[source] Denial),
    /// The playbook wants a login with more than one factor, and there was none lately.
    #[error("a fresh login with more than one factor is needed")]
    MfaNeeded,
    /// Nothing was done, because it could not be recorded.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<IntentStoreError> for DecisionError {
    fn from(error: IntentStoreError) -> Self {
        error.into_denial().map_or_else(Self::Unavailable, Self::Denied)
    }
}

impl From<Failure> for DecisionError {
    fn from(error: Failure) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl Word {
    /// The name in metrics, where it answers a request.
    const fn name(&self) -> Option<&'static str> {
        match self {
            Self::Approve { .. } => Some("approve"),
            Self::Deny { .. } => Some("deny"),
            Self::Revoke { .. } => None,
        }
    }

    /// What it is about, where the door asks.
    const fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Approve { digest, .. } => Some(digest),
            Self::Deny { digest, .. } => digest.as_ref(),
            Self::Revoke { .. } => None,
        }
    }

    /// The key under which this word about this intent is said once: another word is another request.
    fn key(
        &self,
        decider: &Decider,
        id: &IntentId,
        key: &str,
    ) -> Result<IdempotencyKey, DecisionError> {
        let invalid =
            |detail: String| DecisionError::Denied(Denial::new(DenialCode::InvalidRequest, detail));
        let body = serde_json::to_vec(&(id, self)).map_err(|error| invalid(error.to_string()))?;
        let caller = format!("approver {}", decider.key());
        IdempotencyKey::of_caller(&caller, key, &body).map_err(|error| invalid(error.to_string()))
    }
}

impl ApprovalDesk {
    pub(crate) fn open(parts: ApprovalDeskParts) -> Self {
        let ApprovalDeskParts { store, registry, rosters, intents, clock, looks } = parts;
        Self { store, registry, rosters, intents, clock, looks }
    }

    /// Somebody with the groups of those on duty now.
    pub(super) fn on_duty(&self, mut decider: Decider) -> Decider {
        decider.groups.extend(self.rosters.groups_of(&decider.names(), self.now()));
        decider
    }

    /// What waits for this approver, the riskiest first and then what ends first.
    pub(crate) async fn waiting(&self, decider: &Decider) -> Result<Vec<Told>, DecisionError> {
        let filter = IntentFilter {
            state: Some(State::Pending),
            order: ListOrder::Queue,
            ..IntentFilter::default()
        };
        let mut found = self.store.list(filter).await?;
        let now = self.now();
        found.retain(|intent| intent.expire_if_due(now).is_none() && has_a_say(intent, decider));
        Ok(found.into_iter().map(|intent| self.told(intent)).collect())
    }

    /// One intent that this approver has a say in, also when it is decided. One that they have none in is not there.
    pub(crate) async fn shown(
        &self,
        decider: &Decider,
        id: &IntentId,
    ) -> Result<Told, DecisionError> {
        let intent = self.find(id).await?;
        if !has_a_say(&intent, decider) {
            return Err(DecisionError::NotFound);
        }
        self.reviewed(decider, intent).await
    }

    /// One intent, for whoever may see all of them.
    pub(crate) async fn looked_at(
        &self,
        decider: &Decider,
        id: &IntentId,
    ) -> Result<Told, DecisionError> {
        let intent = self.find(id).await?;
        self.reviewed(decider, intent).await
    }

    /// Decides about an intent that this approver has a say in; one that they have none in is not there.
    pub(crate) async fn decide_if_heard(
        &self,
        decider: &Decider,
        id: &IntentId,
        word: Word,
        key: Option<&str>,
    ) -> Result<Told, DecisionError> {
        if !has_a_say(&self.find(id).await?, decider) {
            return Err(DecisionError::NotFound);
        }
        self.decide(decider, id, word, key).await
    }

    /// Decides about an intent. The same key with the same word is answered as before.
    pub(crate) async fn decide(
        &self,
        decider: &Decider,
        id: &IntentId,
        word: Word,
        key: Option<&str>,
    ) -> Result<Told, DecisionError> {
        let key = key.map(|key| word.key(decider, id, key)).transpose()?;
        if let Some(key) = &key {
            match self.store.answered(key.clone(), self.now()).await.map_err(Into::into) {
                Ok(None) => {}
                Ok(Some(intent)) => return Ok(self.told(intent)),
                Err(error) => return Err(self.refused(decider, id, error).await),
            }
        }
        let took_ms = self.looks.took(&decider.approver, id, word.digest(), self.now());
        let counts = word.name();
        let change = match self.change_of(decider, id, word, took_ms).await {
            Ok(change) => change,
            Err(error) => return Err(self.refused(decider, id, error).await),
        };
        // What the store refuses is on record already.
        let intent = self.change(id, change, key).await?;
        if let Some(name) = counts {
            counted(name, took_ms);
        }
        self.looks.forget(&decider.approver, id);
        Ok(self.told(intent))
    }

    /// What a word comes to, after all that can be told before the transaction.
    async fn change_of(
        &self,
        decider: &Decider,
        id: &IntentId,
        word: Word,
        took_ms: Option<u64>,
    ) -> Result<IntentChange, DecisionError> {
        let intent = self.find(id).await?;
        match word {
            Word::Approve { digest, less } => {
                // Whoever took something away before is told so again: the grant has another digest since.
                if less.is_none() {
                    is_shown(&digest, &intent)?;
                }
                self.may_be_approved(&intent, decider).await?;
                let approval = Approval::by(decider.clone(), digest, self.now()).after(took_ms);
                Ok(match less {
                    Some(less) => IntentChange::ApproveLess { approval, less },
                    None => IntentChange::Approve { approval },
                })
            }
            Word::Deny { digest, reason } => {
                if let Some(digest) = &digest {
                    is_shown(digest, &intent)?;
                }
                Ok(IntentChange::Deny { decider: decider.clone(), reason })
            }
            Word::Revoke { reason } => {
                Ok(IntentChange::Revoke { actor: decider.approver.to_string(), reason })
            }
        }
    }

    async fn may_be_approved(
        &self,
        intent: &Intent,
        decider: &Decider,
    ) -> Result<(), DecisionError> {
        // Agents are known by their entries: whoever asked must still have one to be told from an approver.
        if self.registry.snapshot().entry_by_spiffe_id(intent.agent()).is_none() {
            let detail = format!("`{}` is not registered any more", intent.agent());
            return Err(DecisionError::Denied(Denial::new(DenialCode::AgentNotAttested, detail)));
        }
        let demands = intent.grant().approval.as_ref().is_some_and(|plan| plan.demands_mfa());
        let logs_in = matches!(decider.approver, Approver::Person(_));
        if demands && logs_in && decider.mfa.is_none() {
            return Err(DecisionError::MfaNeeded);
        }
        // Policy has its say, and the ticket must still do.
        let mfa = logs_in.then_some(decider.mfa.is_some());
        let (approver, groups) = (&decider.approver, &decider.groups);
        let allowed = self.intents.may_be_approved(intent, approver, groups, mfa).await;
        allowed.map_err(DecisionError::Denied)
    }

    /// The intent as it stands, after a clock that is due.
    async fn find(&self, id: &IntentId) -> Result<Intent, DecisionError> {
        let intent = self.store.find(id).await?.ok_or(DecisionError::NotFound)?;
        match intent.expire_if_due(self.now()) {
            Some(_) => self.change(id, IntentChange::Expire, None).await,
            None => Ok(intent),
        }
    }

    /// The intent with all that is asked about it before somebody decides; from now on they have seen it.
    async fn reviewed(&self, decider: &Decider, intent: Intent) -> Result<Told, DecisionError> {
        let now = self.now();
        let held = self.held(&intent, now).await?;
        let you = intent.open_level().map(|level| {
            self.looks.remember(&decider.approver, &intent, now);
            Eligibility::of(&intent, level, decider, now)
        });
        Ok(Told { you, held: Some(held), ..self.told(intent) })
    }

    /// What the agent may do already, by its other grants.
    async fn held(&self, intent: &Intent, now: Timestamp) -> Result<Held, DecisionError> {
        let agent = Holding { by: OpenBy::Agent, name: intent.agent().to_string() };
        let mut grants = self.store.held(agent).await?;
        grants.retain(|one| one.id() != intent.id() && one.lets_tokens_live(now));
        Ok(Held::of(&grants))
    }

    async fn change(
        &self,
        id: &IntentId,
        change: IntentChange,
        key: Option<IdempotencyKey>,
    ) -> Result<Intent, DecisionError> {
        match self.store.change_once(id.clone(), change, key, self.now()).await {
            Ok(intent) => Ok(intent),
            Err(ChangeError::NotFound) => Err(DecisionError::NotFound),
            Err(ChangeError::Refused(denial)) => Err(DecisionError::Denied(denial)),
            Err(ChangeError::Store(error)) => Err(error.into()),
        }
    }

    /// Puts a refused approver on record; gives the refusal.
    async fn refused(
        &self,
        decider: &Decider,
        id: &IntentId,
        error: DecisionError,
    ) -> DecisionError {
        let code = match &error {
            DecisionError::Denied(denial) => denial.code(),
            DecisionError::MfaNeeded => DenialCode::ApproverNotEligible,
            DecisionError::NotFound | DecisionError::Unavailable(_) => return error,
        };
        let event = Event::new(EventKind::ApprovalRefused, self.now())
            .with_actor(decider.approver.to_string())
            .with_intent(id.as_str())
            .with_denial(code.as_str(), code.class().as_str())
            .with_detail("client", decider.client.clone().unwrap_or_default());
        if let Err(failure) = self.store.append(event).await {
            let error = &failure as &dyn std::error::Error;
            tracing::error!(error, "a refused approver could not be recorded");
        }
        error
    }

    fn told(&self, intent: Intent) -> Told {
        let entries = self.registry.snapshot();
        let entry = entries.entry_by_spiffe_id(intent.agent());
        let owner = entry.map(|entry| entry.owner().to_owned());
        let irrevocable = Irrevocable::of(&intent, &self.registry.document(), self.now());
        Told { intent, owner, you: None, held: None, irrevocable }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Whether the grant's plan has a place for this approver.
fn has_a_say(intent: &Intent, decider: &Decider) -> bool {
    intent.grant().approval.as_ref().is_some_and(|plan| plan.hears(decider).is_ok())
}

fn is_shown(digest: &Digest, intent: &Intent) -> Result<(), DecisionError> {
    if digest == intent.grant().digest() {
        return Ok(());
    }
    let detail = "the grant is not the one that was decided about";
    Err(DecisionError::Denied(Denial::new(DenialCode::ApprovalDigestMismatch, detail)))
}

/// Counts a decision, and how long it took where that is known.
fn counted(decision: &'static str, took_ms: Option<u64>) {
    metrics::counter!("marque_approval_decisions_total", "decision" => decision).increment(1);
    if let Some(took_ms) = took_ms {
        let seconds = std::time::Duration::from_millis(took_ms).as_secs_f64();
        metrics::histogram!("marque_approval_decision_seconds").record(seconds);
    }
}
