//! The store as it looks after tokens that were issued.

use std::ops::Range;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_exchange::{
    RevocationOutcome, SuspectQuery, Suspects, TokenId, TokenLifeStore, TokenRecord,
    TokenRevocation, TokenStoreError, TokenUse,
};
use marque_intent::{Denial, Intent, IntentChange, IntentId};

use crate::Store;
use crate::transactions::{Change, Prune, RevokeToken, UseToken};

impl TokenLifeStore for Store {
    fn revoke_token(
        &self,
        order: TokenRevocation,
    ) -> BoxFuture<'_, Result<RevocationOutcome, TokenStoreError>> {
        async move { self.queue.run(RevokeToken { order }).await.map_err(TokenStoreError::new) }
            .boxed()
    }

    fn use_token(
        &self,
        order: TokenUse,
    ) -> BoxFuture<'_, Result<Result<(), Denial>, TokenStoreError>> {
        async move { self.queue.run(UseToken { order }).await.map_err(TokenStoreError::new) }
            .boxed()
    }

    fn heard(
        &self,
        intent: &IntentId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), TokenStoreError>> {
        let change = Change {
            id: intent.clone(),
            change: IntentChange::Heard { by: None },
            idempotency: None,
            pace: None,
            now,
            limits: self.approval_limits(),
        };
        // An intent that ended meanwhile is not heard of any more; its tokens are told dead the next time.
        async move { self.queue.run(change).await.map(drop).map_err(TokenStoreError::new) }.boxed()
    }

    fn tokens_of(
        &self,
        intent: &IntentId,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, TokenStoreError>> {
        let read = self.reader.tokens_of(intent);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn tokens(
        &self,
        ids: Vec<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<(TokenRecord, Intent)>, TokenStoreError>> {
        let read = self.reader.tokens(ids);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn places(&self) -> BoxFuture<'_, Result<Range<u64>, TokenStoreError>> {
        let read = self.reader.places();
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn suspects(&self, query: SuspectQuery) -> BoxFuture<'_, Result<Suspects, TokenStoreError>> {
        let read = self.reader.suspects(query);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn prune(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<usize, TokenStoreError>> {
        async move { self.queue.run(Prune { now, limit }).await.map_err(TokenStoreError::new) }
            .boxed()
    }
}
