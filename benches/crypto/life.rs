//! A store in which no token has a life after its issue: nothing of it is measured here.

use std::ops::Range;

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use marque_exchange::{
    RevocationOutcome, SuspectQuery, Suspects, TokenId, TokenLifeStore, TokenRecord,
    TokenRevocation, TokenStoreError, TokenUse,
};
use marque_intent::{Denial, Intent, IntentId};

#[derive(Debug)]
pub(crate) struct NoLife;

type Answer<'a, T> = BoxFuture<'a, Result<T, TokenStoreError>>;

impl TokenLifeStore for NoLife {
    fn revoke_token(&self, _: TokenRevocation) -> Answer<'_, RevocationOutcome> {
        ready(Ok(RevocationOutcome::Unknown)).boxed()
    }

    fn use_token(&self, _: TokenUse) -> Answer<'_, Result<(), Denial>> {
        ready(Ok(Ok(()))).boxed()
    }

    fn heard(&self, _: &IntentId, _: Timestamp) -> Answer<'_, ()> {
        ready(Ok(())).boxed()
    }

    fn tokens_of(&self, _: &IntentId) -> Answer<'_, Vec<TokenRecord>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn tokens(&self, _: Vec<TokenId>) -> Answer<'_, Vec<(TokenRecord, Intent)>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn places(&self) -> Answer<'_, Range<u64>> {
        ready(Ok(0..0)).boxed()
    }

    fn suspects(&self, _: SuspectQuery) -> Answer<'_, Suspects> {
        ready(Ok(Suspects { recorded_epoch: 0, tokens: Vec::new() })).boxed()
    }

    fn prune(&self, _: Timestamp, _: usize) -> Answer<'_, usize> {
        ready(Ok(0)).boxed()
    }
}
