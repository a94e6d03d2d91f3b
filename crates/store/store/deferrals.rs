//! Deferred requests and what is accepted once.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_exchange::{
    Cancellation, Deferral, DeferralStore, Freshness, OpenedDeferral, Polled, ReplayStore,
    SingleUse, TokenStoreError,
};
use marque_intent::Digest;
use marque_spiffe::SpiffeId;

use super::Store;
use crate::transactions::{CancelDeferral, OpenDeferral, PollDeferral, Remember};

impl DeferralStore for Store {
    fn open_deferral(
        &self,
        deferral: Deferral,
    ) -> BoxFuture<'_, Result<OpenedDeferral, TokenStoreError>> {
        async move { self.queue.run(OpenDeferral { deferral }).await.map_err(TokenStoreError::new) }
            .boxed()
    }

    fn open_deferrals(
        &self,
        client: &SpiffeId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<usize, TokenStoreError>> {
        let read = self.reader.deferrals_of(client);
        async move {
            let all = read.await.map_err(TokenStoreError::new)?;
            Ok(all.iter().filter(|deferral| deferral.is_open(now)).count())
        }
        .boxed()
    }

    fn deferral(&self, code: &Digest) -> BoxFuture<'_, Result<Option<Deferral>, TokenStoreError>> {
        let read = self.reader.deferral(code);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn poll_deferral(
        &self,
        code: &Digest,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Polled>, TokenStoreError>> {
        let poll = PollDeferral { code: *code, now };
        async move { self.queue.run(poll).await.map_err(TokenStoreError::new) }.boxed()
    }

    fn cancel_deferral(
        &self,
        code: &Digest,
        by: &SpiffeId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Cancellation, TokenStoreError>> {
        let cancel = CancelDeferral { code: *code, by: by.clone(), now };
        async move { self.queue.run(cancel).await.map_err(TokenStoreError::new) }.boxed()
    }
}

impl ReplayStore for Store {
    fn remember(
        &self,
        proofs: Vec<SingleUse>,
    ) -> BoxFuture<'_, Result<Freshness, TokenStoreError>> {
        async move {
            if proofs.is_empty() {
                return Ok(Freshness::Fresh);
            }
            self.queue.run(Remember { proofs }).await.map_err(TokenStoreError::new)
        }
        .boxed()
    }
}
