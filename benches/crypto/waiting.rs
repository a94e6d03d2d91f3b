//! What the token service needs for requests that wait for an approver. Nothing that is measured waits.

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use marque_exchange::{
    AskError, AuthenticatedClient, Cancellation, Deferral, DeferralStore, IntentDesk,
    OpenedDeferral, PlaybookApproval, Polled, TokenStoreError, UseGate,
};
use marque_intent::{
    ApprovalPlan, Delegator, Denial, Digest, Grant, IdempotencyKey, Intent, IntentId,
    IntentRequest, PlaybookId,
};
use marque_spiffe::SpiffeId;

/// A desk where nobody sits, and a store with nothing in it.
#[derive(Debug)]
pub(crate) struct Nobody;

impl IntentDesk for Nobody {
    fn ask<'a>(
        &'a self,
        _: &'a AuthenticatedClient,
        _: Result<IntentRequest, Denial>,
        _: Option<IdempotencyKey>,
    ) -> BoxFuture<'a, Result<Intent, AskError>> {
        ready(Err(AskError::Unavailable("nobody is here".into()))).boxed()
    }

    fn withdraw<'a>(&'a self, _: &'a AuthenticatedClient, _: &'a IntentId) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn may_use<'a>(
        &'a self,
        _: &'a AuthenticatedClient,
        _: &'a Intent,
        _: Option<&'a Delegator>,
    ) -> BoxFuture<'a, Result<(), Denial>> {
        ready(Ok(())).boxed()
    }

    fn may_hand_on(&self, _: &SpiffeId, _: &SpiffeId) -> Result<(), Denial> {
        Ok(())
    }

    fn approval(&self, _: &SpiffeId, _: &PlaybookId) -> PlaybookApproval {
        PlaybookApproval::NotForThisAgent
    }

    fn may_approve(&self, _: &ApprovalPlan, _: &str) -> bool {
        false
    }
}

/// Grants here are bound to nothing but their clocks.
impl UseGate for Nobody {
    fn admit<'a>(&'a self, _: &'a Grant) -> BoxFuture<'a, Result<Option<Timestamp>, Denial>> {
        ready(Ok(None)).boxed()
    }
}

impl DeferralStore for Nobody {
    fn open_deferral(&self, _: Deferral) -> BoxFuture<'_, Result<OpenedDeferral, TokenStoreError>> {
        ready(Ok(OpenedDeferral::TooMany)).boxed()
    }

    fn open_deferrals(
        &self,
        _: &SpiffeId,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<usize, TokenStoreError>> {
        ready(Ok(0)).boxed()
    }

    fn deferral(&self, _: &Digest) -> BoxFuture<'_, Result<Option<Deferral>, TokenStoreError>> {
        ready(Ok(None)).boxed()
    }

    fn poll_deferral(
        &self,
        _: &Digest,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Polled>, TokenStoreError>> {
        ready(Ok(None)).boxed()
    }

    fn cancel_deferral(
        &self,
        _: &Digest,
        _: &SpiffeId,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<Cancellation, TokenStoreError>> {
        ready(Ok(Cancellation::Nothing)).boxed()
    }
}
