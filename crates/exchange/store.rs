//! What the token service needs of storage. Each method is one transaction, with its audit leaf in it.
//!
//! Deliberately absent: engines, and row setters.

use std::{error::Error, fmt, sync::Arc};

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::Event;
use marque_intent::{Denial, Digest, Intent, IntentId, KillState};
use marque_spiffe::SpiffeId;

use crate::{TokenId, TokenRecord};

/// Intents and tokens at rest, as the token service sees them.
pub trait TokenStore: fmt::Debug + Send + Sync {
    /// One intent as it stands.
    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, TokenStoreError>>;

    /// Redeems one use for one token: in one transaction looks at the kill switch, applies [`Intent::redeem`] by
    /// compare-and-set, keeps the token's record and appends the audit leaf. When it returns, all of it is durable.
    fn redeem(&self, redemption: Redemption) -> BoxFuture<'_, Result<Redeemed, RedeemError>>;

    /// Appends the record of a refusal.
    fn record_refusal(&self, event: Event) -> BoxFuture<'_, Result<(), TokenStoreError>>;

    /// A token's record with its intent as it stands.
    fn token(
        &self,
        id: &TokenId,
    ) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, TokenStoreError>>;

    /// Who is stopped, as known here and now.
    fn kill_state(&self) -> Arc<KillState>;
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
    /// What will be kept of the token.
    pub token: TokenRecord,
    /// The instant of the decision.
    pub now: Timestamp,
}

/// A redeemed use.
#[derive(Debug, Clone, PartialEq)]
pub struct Redeemed {
    /// The intent afterwards.
    pub intent: Intent,
}

/// Why no use was redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The intent does not permit it (any more), or the kill switch stops it.
    #[error("the use was refused")]
    Refused(#[source] Denial),
    /// Storage failed; nothing was redeemed.
    #[error("the use could not be stored")]
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
