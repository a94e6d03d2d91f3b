//! What the elevation side needs of storage. Each method is one transaction, with its audit leaves in it.
//!
//! An implementation reads a row, applies the pure transition of [`Intent`], writes back where `state_version` is still
//! the one that it read, and appends the events, all or nothing. Absent: engines.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::Event;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::approval::MAX_WAITING;
use crate::denial::{Denial, DenialCode, DenialFilter, DenialId, DenialRecord, RefusedRequest};
use crate::digest::Digest;
use crate::evidence::History;
use crate::id::IntentId;
use crate::kill::{KillOrder, KillState, NewKill};
use crate::lifecycle::{Intent, IntentChange, State};
use crate::pace::{Asked, Family, PaceRows, Standing};
use crate::text::Reason;

/// How many intents one listing may return.
pub const MAX_LISTED: usize = 1000;

/// Intents at rest.
pub trait IntentStore: std::fmt::Debug + Send + Sync {
    /// Keeps a new intent, unless the same key came with the same body before. A kill that stops the grant refuses it
    /// in the same transaction.
    fn submit(
        &self,
        intent: Intent,
        events: Vec<Event>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Submitted, IntentStoreError>>;

    /// What was answered to the same key with the same body before; nothing where there was none, or it is a day ago.
    fn answered(
        &self,
        idempotency: IdempotencyKey,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Intent>, IntentStoreError>>;

    /// Records a refusal of which no intent came, and counts it; gives what the agent is to be told, which is to wait where
    /// its refusals are too many.
    fn record_denial(
        &self,
        refused: RefusedRequest,
    ) -> BoxFuture<'_, Result<Denial, IntentStoreError>>;

    /// What is counted of such a request, and what came before it. No more than a preview: [`Self::submit`] and
    /// [`Self::record_denial`] look again.
    fn pace(
        &self,
        asked: Asked,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Preview, IntentStoreError>>;

    /// Refusals on record, newest first. They are kept for 30 days; the log has them for ever.
    fn denials(
        &self,
        filter: DenialFilter,
    ) -> BoxFuture<'_, Result<Vec<DenialRecord>, IntentStoreError>>;

    /// One refusal.
    fn denial(&self, id: DenialId)
    -> BoxFuture<'_, Result<Option<DenialRecord>, IntentStoreError>>;

    /// The families of agents that are in quarantine or had a cooldown in the last day.
    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, IntentStoreError>>;

    /// Lets a family ask again; whether it was held.
    fn release(&self, order: Release) -> BoxFuture<'_, Result<bool, IntentStoreError>>;

    /// One intent.
    fn find(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, IntentStoreError>>;

    /// Intents, in the order of the filter.
    fn list(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, IntentStoreError>>;

    /// Applies one change. The store first keeps an expiry that is due ([`Intent::expire_if_due`]), also when the
    /// change itself is then refused.
    fn change(
        &self,
        id: IntentId,
        change: IntentChange,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Intent, ChangeError>> {
        self.change_once(id, change, None, now)
    }

    /// [`Self::change`], unless the same key came with the same body before: then the intent as it stands.
    fn change_once(
        &self,
        id: IntentId,
        change: IntentChange,
        idempotency: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Intent, ChangeError>>;

    /// Stops somebody and begins an epoch.
    fn kill(
        &self,
        kill: NewKill,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<KillState, IntentStoreError>> {
        self.order(KillOrder::Kill(kill), now)
    }

    /// Stops somebody or lets somebody go on, and begins an epoch.
    fn order(
        &self,
        order: KillOrder,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<KillState, IntentStoreError>>;

    /// Who is stopped, now and whenever that changes.
    fn kill_state(&self) -> watch::Receiver<Arc<KillState>>;
}

/// What the store knows about a request before it is decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview {
    /// The rows under [`Asked::keys`].
    pub rows: PaceRows,
    /// Refusals and open grants of the agent.
    pub counts: History,
}

/// An order to let a family of agents ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub family: Family,
    /// Who orders it.
    pub actor: String,
    /// Why.
    pub reason: Reason,
    /// When.
    pub now: Timestamp,
}

/// An idempotency key, scoped to one caller (specs/intents.md 7).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey {
    caller: String,
    key: String,
    body: Digest,
}

/// The key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 128 printable ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LEN: usize = 128;

    /// A key that `agent` sent with `body`.
    ///
    /// # Errors
    /// The key is empty, too long or not printable.
    #[expect(clippy::needless_pass_by_value, reason = "the key is the agent's from here on")]
    pub fn new(agent: SpiffeId, key: &str, body: &[u8]) -> Result<Self, IdempotencyKeyError> {
        Self::of_caller(agent.as_str(), key, body)
    }

    /// A key that anybody sent who is authenticated under this name, such as an operator.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_caller(caller: &str, key: &str, body: &[u8]) -> Result<Self, IdempotencyKeyError> {
        if (1..=Self::MAX_LEN).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            Ok(Self { caller: caller.to_owned(), key: key.to_owned(), body: Digest::of(body) })
        } else {
            Err(IdempotencyKeyError)
        }
    }

    /// Whose key it is.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The key as sent.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The digest of the body that came with it.
    #[must_use]
    pub const fn body(&self) -> &Digest {
        &self.body
    }
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// It is new.
    Created(Intent),
    /// The same request was here before; this is what came of it.
    Replayed(Intent),
}

impl Submitted {
    /// The intent, new or old.
    #[must_use]
    pub fn into_intent(self) -> Intent {
        match self {
            Self::Created(intent) | Self::Replayed(intent) => intent,
        }
    }
}

/// Which intents to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntentFilter {
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this agent.
    pub agent: Option<SpiffeId>,
    /// At most so many; `None` and anything above are [`MAX_LISTED`], and in a queue all that may wait.
    pub limit: Option<usize>,
    /// Which of them come first, and so which are left out past the limit.
    pub order: ListOrder,
}

/// In which order intents are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// The newest first.
    #[default]
    NewestFirst,
    /// As a queue of approvers: the riskiest first, of these the one whose clock ends it sooner, then the oldest.
    Queue,
}

impl IntentFilter {
    /// How many to return at most.
    #[must_use]
    pub fn effective_limit(&self) -> usize {
        // All that may wait at a time: who has a say in it is found out afterwards.
        let most = match self.order {
            ListOrder::NewestFirst => MAX_LISTED,
            ListOrder::Queue => MAX_WAITING,
        };
        self.limit.unwrap_or(most).min(most)
    }
}

/// Why storage did not do it.
#[derive(Debug, thiserror::Error)]
pub enum IntentStoreError {
    /// The key came with another body before.
    #[error("the idempotency key came with another request before")]
    IdempotencyConflict,
    /// The agent may not have it now: by what else there is, because it asks too often, or because it has the same already.
    #[error("refused by the store: {0}")]
    Refused(Denial),
    /// The exception that it would be made under has had all its runs; without it there may be a grant.
    #[error("the exception has no run left")]
    NoRunLeft,
    /// A kill stops the grant.
    #[error("stopped by the kill switch: {0}")]
    Killed(DenialCode),
    /// Storage cannot be read or written.
    #[error("the intent store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl IntentStoreError {
    /// What the caller is told.
    ///
    /// # Errors
    /// Storage failed: then there is no refusal.
    pub fn into_denial(self) -> Result<Denial, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match self {
            Self::Refused(denial) => denial,
            Self::NoRunLeft => {
                Denial::new(DenialCode::GrantConsumed, "the exception has no run left")
            }
            Self::Killed(code) => Denial::new(code, "stopped by the kill switch"),
            Self::IdempotencyConflict => {
                let detail = "the key came with another request before";
                Denial::new(DenialCode::IdempotencyConflict, detail)
            }
            Self::Unavailable(source) => return Err(source),
        })
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such intent.
    #[error("no such intent")]
    NotFound,
    /// The change is not allowed.
    #[error("the change was refused")]
    Refused(#[source] Denial),
    /// Storage failed.
    #[error("the change could not be stored")]
    Store(#[source] IntentStoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_has_its_limits() {
        let agent: SpiffeId = "spiffe://prod.example.org/agent/a".parse().unwrap();
        let key = |text: &str| IdempotencyKey::new(agent.clone(), text, b"body");
        assert!(key(&"k".repeat(IdempotencyKey::MAX_LEN)).is_ok());
        for bad in ["", "a b", "ä", &"k".repeat(IdempotencyKey::MAX_LEN + 1)] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listing_is_bounded_whatever_is_asked() {
        assert_eq!(IntentFilter::default().effective_limit(), MAX_LISTED);
        assert_eq!(
            IntentFilter { limit: Some(usize::MAX), ..Default::default() }.effective_limit(),
            MAX_LISTED
        );
        assert_eq!(IntentFilter { limit: Some(3), ..Default::default() }.effective_limit(), 3);
    }
}
