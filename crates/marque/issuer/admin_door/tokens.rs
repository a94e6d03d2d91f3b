//! Issued tokens, as operators reach them.

use futures::future::BoxFuture;
use marque_exchange::{
    RevocationOutcome, Revoker, TokenId, TokenLifeStore as _, TokenRecord, TokenRevocation,
    TokenStore, is_live,
};
use marque_intent::{Intent, IntentId, IntentStore, Reason};

use super::super::Issuer;
use super::refused::{no_token, unavailable};
use crate::grpc::admin::{AdminError, Operator, TokenDoor, TokenStanding};

/// How many tokens a page has.
const TOKENS_AT_ONCE: usize = 1_000;

impl Issuer {
    async fn token_with_intent(&self, id: &TokenId) -> Result<(TokenRecord, Intent), AdminError> {
        let found = TokenStore::token(&*self.store, id).await.map_err(unavailable)?;
        found.ok_or_else(|| no_token(id))
    }

    fn standing(&self, record: TokenRecord, intent: &Intent) -> TokenStanding {
        let kills = self.kill_switch.state();
        let ended = is_live(&record, intent, &kills, self.clock.now()).err();
        TokenStanding { record, ended }
    }
}

impl TokenDoor for Issuer {
    fn tokens_of(&self, intent: IntentId) -> BoxFuture<'_, Result<Vec<TokenStanding>, AdminError>> {
        Box::pin(async move {
            let found = self.store.find(&intent).await?;
            let intent = found
                .ok_or_else(|| AdminError::NotFound { what: "intent", id: intent.to_string() })?;
            let records = self.store.tokens_of(intent.id()).await.map_err(unavailable)?;
            Ok(records.into_iter().map(|record| self.standing(record, &intent)).collect())
        })
    }

    fn tokens_after(
        &self,
        after: Option<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, AdminError>> {
        Box::pin(async move {
            let page = self.store.tokens_after(after, TOKENS_AT_ONCE).await;
            page.map_err(|failure| AdminError::Unavailable(Box::new(failure)))
        })
    }

    fn token(&self, id: TokenId) -> BoxFuture<'_, Result<TokenStanding, AdminError>> {
        Box::pin(async move {
            let (record, intent) = self.token_with_intent(&id).await?;
            Ok(self.standing(record, &intent))
        })
    }

    fn revoke_token(
        &self,
        operator: Operator,
        id: TokenId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<TokenId>, AdminError>> {
        Box::pin(async move {
            let (record, _) = self.token_with_intent(&id).await?;
            let order = TokenRevocation {
                token: id.clone(),
                intent: record.intent,
                by: Revoker::Operator { actor: operator.to_string(), reason },
                now: self.clock.now(),
            };
            match self.store.revoke_token(order).await.map_err(unavailable)? {
                RevocationOutcome::Revoked(tokens) => Ok(tokens),
                RevocationOutcome::NotOwner | RevocationOutcome::Unknown => Err(no_token(&id)),
            }
        })
    }
}
