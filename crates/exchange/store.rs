//! What the token service needs of storage. Each method is one transaction, with its audit leaf in it.
//!
//! Deliberately absent: engines, and row setters.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::Event;
use marque_intent::{Denial, Digest, Intent, IntentId, KillState, TokenFacts};
use marque_spiffe::SpiffeId;

use crate::{SingleUse, TokenId, TokenRecord, TransactionId};

/// How many tokens of one intent that derive from others may be live at a time.
pub const MAX_DERIVED_TOKENS: usize = 64;
/// How many of them there may be that have not expired, be they dead: each is looked at by whoever revokes or derives.
pub const MAX_KEPT_DERIVED_TOKENS: usize = 512;

/// How old what is known of the kill switch may be where an answer depends on it (specs/intents.md 8).
pub const KILLS_HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Intents and tokens at rest, as the token service sees them.
pub trait TokenStore: fmt::Debug + Send + Sync {
    /// One intent as it stands; an approved one perhaps as it stood a moment ago. To redeem is to look again.
    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, TokenStoreError>>;

    /// Redeems one use for one token: in one transaction looks at the kill switch, applies [`Intent::redeem`] by
    /// compare-and-set, keeps the token's record and appends the audit leaf. When it returns, all of it is durable.
    fn redeem(&self, redemption: Redemption) -> BoxFuture<'_, Result<Redeemed, RedeemError>>;

    /// Keeps a token that derives from another: in one transaction looks at the kill switch, sees that the parent is
    /// live and wide enough, applies [`Intent::derive`], keeps the record and appends the audit leaf. A parent that may be
    /// used only once is used by it. No use of the intent is spent.
    fn derive(&self, derivation: Derivation) -> BoxFuture<'_, Result<Derived, RedeemError>>;

    /// Appends the record of a refusal.
    fn record_refusal(&self, event: Event) -> BoxFuture<'_, Result<(), TokenStoreError>>;

    /// A token's record with its intent as it stands.
    fn token(
        &self,
        id: &TokenId,
    ) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, TokenStoreError>>;

    /// Who is stopped, as known here and now.
    fn kill_state(&self) -> Arc<KillState>;

    /// [`Self::kill_state`], for an answer that no transaction of ours makes sure of: an error where what others decided was
    /// last heard longer than [`KILLS_HEARD_WITHIN`] ago. A store with one process has no others.
    fn current_kills(&self) -> Result<Arc<KillState>, TokenStoreError> {
        Ok(self.kill_state())
    }
}

/// A use to redeem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redemption {
    /// Of which intent.
    pub intent: IntentId,
    /// Who redeems it.
    pub agent: SpiffeId,
    /// The digest of the grant that the token was built from.
    pub grant_digest: Digest,
    /// What the log tells of the token beside its record.
    pub carried: Carried,
    /// The code of the deferral that is collected by it, and spent with it.
    pub deferral: Option<Digest>,
    /// What will be kept of the token.
    pub token: TokenRecord,
    /// The transaction that it is of, for the log.
    pub transaction: Option<TransactionId>,
    /// The proofs that came with the request, to be remembered in the same transaction whatever becomes of the use.
    pub proofs: Vec<SingleUse>,
    /// The instant of the decision.
    pub now: Timestamp,
}

/// The event of a token, with the transaction that it is of.
#[must_use]
pub fn in_transaction(event: Event, transaction: Option<&TransactionId>) -> Event {
    match transaction {
        Some(transaction) => event.with_detail("txn", transaction.as_str()),
        None => event,
    }
}

impl Redemption {
    /// What the log tells of the token.
    pub fn facts(&self) -> TokenFacts<'_> {
        self.token.facts(&self.carried)
    }
}

impl Derivation {
    /// What the log tells of the token.
    pub fn facts(&self) -> TokenFacts<'_> {
        TokenFacts { requested_by: Some(&self.requested_by), ..self.token.facts(&self.carried) }
    }
}

/// A redeemed use.
#[derive(Debug, Clone, PartialEq)]
pub struct Redeemed {
    /// The intent afterwards.
    pub intent: Intent,
    /// The token as it is kept.
    pub token: TokenRecord,
}

/// What a token carries, as far as the log alone tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// Its `scope`.
    pub scope: String,
    /// The digest of its rights.
    pub rights: Option<Digest>,
}

/// A token to derive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// The digest of the grant that the token was built from.
    pub grant_digest: Digest,
    /// What the log tells of the token beside its record.
    pub carried: Carried,
    /// What will be kept of the token. It names its parent.
    pub token: TokenRecord,
    /// The transaction that it is of, for the log.
    pub transaction: Option<TransactionId>,
    /// The client that made the exchange: the holder of the parent, or whom the parent names or is for.
    pub requested_by: SpiffeId,
    /// The proofs that came with the request; see [`Redemption::proofs`].
    pub proofs: Vec<SingleUse>,
    /// The instant of the decision.
    pub now: Timestamp,
}

/// A token that derives from another.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Their intent.
    pub intent: Intent,
    /// The token as it is kept.
    pub token: TokenRecord,
}

/// Why no use was redeemed, or no token derived.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The intent does not permit it (any more), or the kill switch stops it.
    #[error("the token was refused")]
    Refused(#[source] Denial),
    /// The deferral that it would collect was redeemed or cancelled before.
    #[error("the deferral is not open")]
    Spent,
    /// A proof that came with the request had been shown before.
    #[error("a proof was shown before")]
    Replayed,
    /// Storage failed; nothing was redeemed or derived.
    #[error("the token could not be stored")]
    Store(#[source] TokenStoreError),
}

/// Storage cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the token store is not available")]
pub struct TokenStoreError(#[source] Box<dyn Error + Send + Sync>);

impl TokenStoreError {
    /// Wraps the reason.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}
