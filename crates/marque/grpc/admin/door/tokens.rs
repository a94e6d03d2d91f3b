//! Issued tokens, as operators reach them.

use futures::future::BoxFuture;
use marque_exchange::{TokenId, TokenRecord};
use marque_intent::{Denial, IntentId, Reason};

use super::{AdminError, Operator};

/// A token, and whether it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStanding {
    /// What is kept of it.
    pub record: TokenRecord,
    /// Why it may not be used any more, if it may not.
    pub ended: Option<Denial>,
}

/// Issued tokens.
pub trait TokenDoor {
    /// What is kept of an intent's tokens, the oldest first.
    fn tokens_of(&self, intent: IntentId) -> BoxFuture<'_, Result<Vec<TokenStanding>, AdminError>>;

    /// What is kept of tokens, by their ids, from the one behind `after` on: one page, empty behind the last.
    fn tokens_after(
        &self,
        after: Option<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, AdminError>>;

    /// What is kept of one token.
    fn token(&self, id: TokenId) -> BoxFuture<'_, Result<TokenStanding, AdminError>>;

    /// Ends a token and all that derives from it. Gives those that this ended, the named one first.
    fn revoke_token(
        &self,
        operator: Operator,
        id: TokenId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<TokenId>, AdminError>>;
}
