//! What the token service needs of storage after a token was issued: to end it, to use it up, to list what may have ended,
//! and to forget what is long over. Each method is one transaction, with its audit leaves in it.
//!
//! Deliberately absent: engines, and the judgement whether a token is live ([`crate::is_live`]), which an implementation
//! asks inside its transactions.

use std::{fmt, ops::Range, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::{Denial, Intent, IntentId, Reason};
use marque_spiffe::SpiffeId;

use crate::{TokenId, TokenRecord, TokenStoreError};

/// For how long a token is kept after it expired: as long as somebody may ask what became of it, and longer than any clock
/// that is still believed may be wrong.
pub const TOKENS_KEPT_FOR: Duration = Duration::from_secs(60 * 60);
/// How many rows of each kind one transaction forgets: others wait for it.
pub const PRUNED_AT_ONCE: usize = 1000;

/// Issued tokens at rest.
pub trait TokenLifeStore: fmt::Debug + Send + Sync {
    /// Revokes a token and every token that derives from it, whatever lies between. No derivation from any of them comes
    /// after it. One leaf for each token that this revokes.
    fn revoke_token(
        &self,
        order: TokenRevocation,
    ) -> BoxFuture<'_, Result<RevocationOutcome, TokenStoreError>>;

    /// Makes the only use of a token that has but one, if it is live: of all who try, one succeeds.
    fn use_token(
        &self,
        order: TokenUse,
    ) -> BoxFuture<'_, Result<Result<(), Denial>, TokenStoreError>>;

    /// Takes note that somebody was shown a live token of the intent, which puts off the idle clock of one that has it.
    fn heard(
        &self,
        intent: &IntentId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), TokenStoreError>>;

    /// What is kept of the tokens of one intent, the oldest first.
    fn tokens_of(
        &self,
        intent: &IntentId,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, TokenStoreError>>;

    /// Tokens with their intents, as far as they are there.
    fn tokens(
        &self,
        ids: Vec<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<(TokenRecord, Intent)>, TokenStoreError>>;

    /// The places of status lists that matter: from the first one whose token is kept, be it expired, to the one that is
    /// given out next. Anybody may make us ask, so it costs the same however many tokens there are.
    fn places(&self) -> BoxFuture<'_, Result<Range<u64>, TokenStoreError>>;

    /// The tokens of some places that may have ended before their time. Found by their end: tokens that stand cost nothing,
    /// unless `decided_before` asks for them.
    fn suspects(&self, query: SuspectQuery) -> BoxFuture<'_, Result<Suspects, TokenStoreError>>;

    /// Forgets at most `limit` tokens, and as much of everything else, that ended before an instant; how many in all.
    fn prune(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<usize, TokenStoreError>>;
}

/// An order to revoke a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRevocation {
    /// Which.
    pub token: TokenId,
    /// Its intent.
    pub intent: IntentId,
    /// Who wants it.
    pub by: Revoker,
    /// When.
    pub now: Timestamp,
}

/// Who revokes a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoker {
    /// A client, which may do so if it holds the token or held one that it derives from.
    Client(SpiffeId),
    /// An operator, for a reason.
    Operator {
        /// Who.
        actor: String,
        /// Why.
        reason: Reason,
    },
}

/// What became of an order to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationOutcome {
    /// The token is revoked. These are the tokens that were not before, itself first.
    Revoked(Vec<TokenId>),
    /// It is not the client's to revoke; that is on record.
    NotOwner,
    /// There is no such token (any more).
    Unknown,
}

/// The only use of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// Which token.
    pub token: TokenId,
    /// Its intent.
    pub intent: IntentId,
    /// Who is told that it is active.
    pub by: SpiffeId,
    /// When.
    pub now: Timestamp,
}

/// Which tokens to look through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspectQuery {
    /// Of these places, in all lists.
    pub places: Range<u64>,
    /// Only those that have not expired at this instant.
    pub now: Timestamp,
    /// Those as well that were decided on before this epoch of the kill switch.
    pub decided_before: u64,
}

/// Tokens that may have ended: those that were revoked or used, those of intents that have ended, and those that a kill may
/// have stopped since they were decided on. Whoever asks judges each by [`crate::is_live`]; a token that is not among them
/// is live until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspects {
    /// The kills that were recorded before the tokens were read.
    pub recorded_epoch: u64,
    /// The tokens by place.
    pub tokens: Vec<(u64, TokenId)>,
}
