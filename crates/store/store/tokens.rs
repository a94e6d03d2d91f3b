//! Tokens, as `marque-exchange` wants them stored.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use marque_audit::Event;
use marque_exchange::{
    Derivation, Derived, RedeemError, Redeemed, Redemption, TokenId, TokenRecord, TokenStore,
    TokenStoreError,
};
use marque_intent::pace::Repeated;
use marque_intent::{Denial, Intent, IntentId, KillState};

use super::Store;
use crate::Failure;
use crate::transactions::{Derive, NotRedeemed, Proven, RecordTokenRefusal, Redeem, above};

impl Store {
    /// What is kept of tokens, by their ids, from the one behind `after` on; at most `limit` of them.
    ///
    /// # Errors
    /// The store cannot be read, or a row no longer reads.
    pub async fn tokens_after(
        &self,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<Vec<TokenRecord>, Failure> {
        self.reader.tokens_after(after, limit).await
    }

    /// An intent as it was last seen: of what never changes in it that is as good as a read.
    async fn seen(&self, id: &IntentId) -> Result<Option<Arc<Intent>>, Failure> {
        match self.shared.intents.last_seen(id) {
            Some(seen) => Ok(Some(seen)),
            None => Ok(self.reader.intent(id).await?.map(Arc::new)),
        }
    }

    /// Every intent above this one. The chain is part of the grant, which never changes.
    async fn chain_above(&self, id: &IntentId) -> Result<Vec<IntentId>, Failure> {
        Ok(self.seen(id).await?.map_or_else(Vec::new, |intent| above(&intent)))
    }
}

impl TokenStore for Store {
    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, TokenStoreError>> {
        // What was approved when it was last seen needs no read: a use is redeemed from the row, whatever became of it.
        let seen = self.shared.intents.last_seen(id);
        if let Some(approved) = seen.filter(|intent| intent.state().is_usable()) {
            return ready(Ok(Some(Intent::clone(&approved)))).boxed();
        }
        let read = self.reader.intent(id);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn redeem(&self, redemption: Redemption) -> BoxFuture<'_, Result<Redeemed, RedeemError>> {
        async move {
            let proofs = redemption.proofs.clone();
            let above = self.chain_above(&redemption.intent).await.map_err(unstored)?;
            let plan = Redeem { redemption, above };
            let redeemed = self.queue.run(Proven { proofs, plan }).await;
            let redeemed = redeemed.map_err(unstored)?.ok_or(RedeemError::Replayed)?;
            redeemed.map_err(|refused| match refused {
                NotRedeemed::Refused(denial) => RedeemError::Refused(denial),
                NotRedeemed::Spent => RedeemError::Spent,
            })
        }
        .boxed()
    }

    fn derive(&self, derivation: Derivation) -> BoxFuture<'_, Result<Derived, RedeemError>> {
        async move {
            let proofs = derivation.proofs.clone();
            let derived = self.queue.run(Proven { proofs, plan: Derive { derivation } }).await;
            let derived = derived.map_err(unstored)?.ok_or(RedeemError::Replayed)?;
            derived.map_err(RedeemError::Refused)
        }
        .boxed()
    }

    fn record_refusal(&self, event: Event) -> BoxFuture<'_, Result<(), TokenStoreError>> {
        async move {
            let refused = match (&event.agent, event.code.as_deref().map(str::parse)) {
                (Some(agent), Some(Ok(code))) if Repeated::Token.is_hushed(code) => {
                    let (agent, denial) = (agent.clone(), Denial::new(code, ""));
                    self.queue.run(RecordTokenRefusal { agent, denial, event }).await
                }
                _ => self.record(event).await,
            };
            refused.map_err(TokenStoreError::new)
        }
        .boxed()
    }

    fn token(
        &self,
        id: &TokenId,
    ) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, TokenStoreError>> {
        let read = self.reader.token(id);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn kill_state(&self) -> Arc<KillState> {
        self.shared.kills.state()
    }

    fn current_kills(&self) -> Result<Arc<KillState>, TokenStoreError> {
        if self.shared.heard.is_current() {
            Ok(self.shared.kills.state())
        } else {
            Err(TokenStoreError::new(Failure::Unheard))
        }
    }
}

fn unstored(failure: Failure) -> RedeemError {
    RedeemError::Store(TokenStoreError::new(failure))
}
