//! What the token service needs of storage for deferrals. Each method is one transaction.
//!
//! Deliberately absent: redeeming. A code is spent in the transaction that spends the use
//! ([`Redemption::deferral`](crate::Redemption)), so that neither is ever spent without the other.

use std::fmt;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::{Digest, Intent};
use marque_spiffe::SpiffeId;

use super::{Deferral, Pace};
use crate::TokenStoreError;

/// Deferrals at rest.
pub trait DeferralStore: fmt::Debug + Send + Sync {
    /// Keeps a new deferral, unless its client has [`MAX_OPEN_DEFERRALS_PER_AGENT`](super::MAX_OPEN_DEFERRALS_PER_AGENT)
    /// open. It takes the place of an open one that asks for the very same. Deferrals that ended
    /// [`DEFERRAL_RETENTION`](super::DEFERRAL_RETENTION) ago are forgotten.
    fn open_deferral(
        &self,
        deferral: Deferral,
    ) -> BoxFuture<'_, Result<OpenedDeferral, TokenStoreError>>;

    /// How many deferrals of this client are open.
    fn open_deferrals(
        &self,
        client: &SpiffeId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<usize, TokenStoreError>>;

    /// One deferral as it stands.
    fn deferral(&self, code: &Digest) -> BoxFuture<'_, Result<Option<Deferral>, TokenStoreError>>;

    /// Counts one poll ([`Deferral::polled`]), and gives the intent with every clock that is due applied.
    fn poll_deferral(
        &self,
        code: &Digest,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Polled>, TokenStoreError>>;

    /// Ends a client's own open deferral and withdraws its intent, if that may still be withdrawn.
    fn cancel_deferral(
        &self,
        code: &Digest,
        by: &SpiffeId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Cancellation, TokenStoreError>>;
}

/// What became of a new deferral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenedDeferral {
    /// It is kept.
    Kept,
    /// Its client has as many open as it may.
    TooMany,
}

/// A poll that was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Polled {
    /// The deferral after it.
    pub deferral: Deferral,
    /// Its intent.
    pub intent: Intent,
    /// Whether the poll came too early.
    pub pace: Pace,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// The deferral is cancelled now.
    Cancelled,
    /// There is no such deferral, it is somebody else's, or it has ended.
    Nothing,
}
