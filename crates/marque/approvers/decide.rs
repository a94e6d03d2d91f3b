//! What approvers see and say, whichever door they came through: the rules are `intent`'s.
//!
//! An intent that somebody has no say in reads as one that is not there. Absent: who somebody is, and HTTP.

use marque_audit::{Event, EventKind, LogStore as _};
use marque_intent::{
    Approval, Approver, ChangeError, Decider, Denial, DenialCode, Digest, Intent, IntentChange,
    IntentFilter, IntentId, IntentStore as _, IntentStoreError, Reason, State,
};
use marque_store::{Failure, KeptChange};
use serde::{Deserialize, Serialize};

use super::Approvers;

/// How long a retry with one idempotency key is the same request (specs/intents.md 7).
const IDEMPOTENCY: std::time::Duration = std::time::Duration::from_hours(24);
const KEYS: &str = "approval_key";

/// What an approver says.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    /// Yes, to exactly this.
    Approve {
        /// The grant's digest.
        digest: Digest,
    },
    /// No.
    Deny {
        /// The grant's digest.
        digest: Digest,
        /// Why.
        reason: Reason,
    },
}

/// An intent as it stands, for whoever may decide about it.
#[derive(Debug)]
pub(crate) struct Told {
    /// The intent.
    pub(crate) intent: Intent,
    /// Who answers for the agent, as far as it has an entry.
    pub(crate) owner: Option<String>,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecisionError {
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
        Self::Unavailable(Box::new(error))
    }
}

impl From<Failure> for DecisionError {
    fn from(error: Failure) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// What a key was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeyRow {
    intent: IntentId,
    request: Digest,
}

impl Word {
    fn digest(&self) -> &Digest {
        match self {
            Self::Approve { digest } | Self::Deny { digest, .. } => digest,
        }
    }
}

impl Approvers {
    /// What waits for this approver, the riskiest first and then the oldest.
    pub(crate) async fn waiting(&self, decider: &Decider) -> Result<Vec<Told>, DecisionError> {
        let filter = IntentFilter { state: Some(State::Pending), ..IntentFilter::default() };
        let mut found = self.store.list(filter).await?;
        let now = self.now();
        found.retain(|intent| intent.expire_if_due(now).is_none() && has_a_say(intent, decider));
        found.sort_by_key(|intent| (std::cmp::Reverse(intent.grant().risk), intent.created_at()));
        Ok(found.into_iter().map(|intent| self.told(intent)).collect())
    }

    /// One intent that this approver has a say in, also when it is decided.
    pub(crate) async fn shown(
        &self,
        decider: &Decider,
        id: &IntentId,
    ) -> Result<Told, DecisionError> {
        let found = self.store.find(id).await?.filter(|intent| has_a_say(intent, decider));
        let intent = found.ok_or(DecisionError::NotFound)?;
        match intent.expire_if_due(self.now()) {
            Some(_) => self.change(id, IntentChange::Expire).await,
            None => Ok(self.told(intent)),
        }
    }

    /// Decides about the grant with exactly this digest. The same key with the same word is answered as before.
    pub(crate) async fn decide(
        &self,
        decider: Decider,
        id: &IntentId,
        word: Word,
        key: Option<(&str, Digest)>,
    ) -> Result<Told, DecisionError> {
        let before = self.shown(&decider, id).await?;
        let key = key.map(|(key, request)| (key_of(&decider.approver, key), request));
        if let Some((key, request)) = &key
            && let Some(kept) = self.store.kept(KEYS, key, self.now()).await?
        {
            let row: KeyRow = kept.read()?;
            if row == (KeyRow { intent: id.clone(), request: *request }) {
                return Ok(before);
            }
            let detail = "the key came with another request before";
            return Err(DecisionError::Denied(Denial::new(
                DenialCode::IdempotencyConflict,
                detail,
            )));
        }
        let decided = self.apply(&decider, before, id, word).await;
        match &decided {
            Ok(_) => {
                if let Some((key, request)) = key {
                    let row = KeyRow { intent: id.clone(), request };
                    let now = self.now();
                    let until = now.saturating_add(IDEMPOTENCY).unwrap_or(now);
                    self.store.keep(vec![KeptChange::new(KEYS, &key, &row, until)?]).await?;
                }
            }
            Err(error) => self.refused(&decider, id, error).await,
        }
        decided
    }

    async fn apply(
        &self,
        decider: &Decider,
        before: Told,
        id: &IntentId,
        word: Word,
    ) -> Result<Told, DecisionError> {
        let Told { intent, owner } = before;
        if word.digest() != intent.grant().digest() {
            let detail = "the grant is not the one that was decided about";
            return Err(DecisionError::Denied(Denial::new(
                DenialCode::ApprovalDigestMismatch,
                detail,
            )));
        }
        match word {
            Word::Approve { digest } => {
                // Agents are known by their entries: whoever asked must still have one to be told from an approver.
                if owner.is_none() {
                    let detail = format!("`{}` is not registered any more", intent.agent());
                    let denial = Denial::new(DenialCode::AgentNotAttested, detail);
                    return Err(DecisionError::Denied(denial));
                }
                let demands =
                    intent.grant().approval.as_ref().is_some_and(|plan| plan.demands_mfa());
                if demands && decider.mfa.is_none() {
                    return Err(DecisionError::MfaNeeded);
                }
                // Policy has its say, and the ticket must still do.
                let (approver, groups) = (&decider.approver, &decider.groups);
                let mfa = Some(decider.mfa.is_some());
                let allowed = self.desk.may_be_approved(&intent, approver, groups, mfa).await;
                allowed.map_err(DecisionError::Denied)?;
                let approval = Approval::by(decider.clone(), digest, self.now());
                self.change(id, IntentChange::Approve { approval }).await
            }
            Word::Deny { reason, .. } => {
                self.change(id, IntentChange::Deny { decider: decider.clone(), reason }).await
            }
        }
    }

    async fn change(&self, id: &IntentId, change: IntentChange) -> Result<Told, DecisionError> {
        match self.store.change(id.clone(), change, self.now()).await {
            Ok(intent) => Ok(self.told(intent)),
            Err(ChangeError::NotFound) => Err(DecisionError::NotFound),
            Err(ChangeError::Refused(denial)) => Err(DecisionError::Denied(denial)),
            Err(ChangeError::Store(error)) => Err(error.into()),
        }
    }

    /// A refused approver is on record, as one at the admin socket is.
    async fn refused(&self, decider: &Decider, id: &IntentId, error: &DecisionError) {
        let code = match error {
            DecisionError::Denied(denial) => denial.code(),
            DecisionError::MfaNeeded => DenialCode::ApproverNotEligible,
            DecisionError::NotFound | DecisionError::Unavailable(_) => return,
        };
        let event = Event::new(EventKind::ApprovalRefused, self.now())
            .with_actor(decider.approver.to_string())
            .with_intent(id.as_str())
            .with_denial(code.as_str(), code.class().as_str())
            .with_detail("client", decider.client.clone().unwrap_or_default());
        if let Err(error) = self.store.append(event).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a refused approver could not be recorded");
        }
    }

    fn told(&self, intent: Intent) -> Told {
        let entries = self.registry.snapshot();
        let entry = entries.entry_by_spiffe_id(intent.agent());
        let owner = entry.map(|entry| entry.owner().to_owned());
        Told { intent, owner }
    }
}

/// Whether the grant's plan has a place for this approver.
fn has_a_say(intent: &Intent, decider: &Decider) -> bool {
    intent.grant().approval.as_ref().is_some_and(|plan| plan.hears(decider).is_ok())
}

fn key_of(approver: &Approver, key: &str) -> String {
    Digest::of(format!("marque/approval-key/v1|{approver}|{key}").as_bytes()).to_string()
}
