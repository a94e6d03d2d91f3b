//! The tokens that a test put there.

use futures::future::BoxFuture;
use marque_exchange::{TokenId, TokenRecord};
use marque_intent::{IntentId, Reason};

use super::super::super::door::{AdminError, Operator, TokenDoor, TokenStanding};
use super::FakeDoor;

impl TokenDoor for FakeDoor {
    fn tokens_of(&self, intent: IntentId) -> BoxFuture<'_, Result<Vec<TokenStanding>, AdminError>> {
        let tokens = self.tokens.lock().unwrap().clone();
        let of = tokens.into_iter().filter(move |token| token.record.intent == intent);
        Box::pin(async move { Ok(of.collect()) })
    }

    fn tokens_after(
        &self,
        after: Option<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, AdminError>> {
        let tokens = self.tokens.lock().unwrap().clone().into_iter().map(|token| token.record);
        let behind = move |token: &TokenRecord| after.as_ref().is_none_or(|id| token.id > *id);
        Box::pin(async move { Ok(tokens.filter(behind).collect()) })
    }

    fn token(&self, id: TokenId) -> BoxFuture<'_, Result<TokenStanding, AdminError>> {
        let tokens = self.tokens.lock().unwrap();
        let found = tokens.iter().find(|token| token.record.id == id).cloned();
        let none = || AdminError::NotFound { what: "token", id: id.to_string() };
        let found = found.ok_or_else(none);
        Box::pin(async move { found })
    }

    fn revoke_token(
        &self,
        operator: Operator,
        id: TokenId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<TokenId>, AdminError>> {
        self.actors.lock().unwrap().push(format!("{operator} revokes {id}: {reason}"));
        Box::pin(async move { Ok(vec![id]) })
    }
}
