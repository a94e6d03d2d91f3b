//! Refusals and the standings that come of them, as operators reach them.

use futures::future::BoxFuture;
use marque_intent::pace::{Family, Standing};
use marque_intent::{DenialFilter, DenialId, DenialRecord, Reason};

use super::{AdminError, Operator};

/// Refused requests, and the families of agents that had too many of them.
pub trait PaceDoor {
    /// Refusals of requests, newest first.
    fn refusals(
        &self,
        filter: DenialFilter,
    ) -> BoxFuture<'_, Result<Vec<DenialRecord>, AdminError>>;

    /// One refusal of a request.
    fn refusal(&self, id: DenialId) -> BoxFuture<'_, Result<DenialRecord, AdminError>>;

    /// The families of agents that are in quarantine or had a cooldown in the last day.
    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, AdminError>>;

    /// Lets a family ask again; whether it was held.
    fn release(
        &self,
        family: Family,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<bool, AdminError>>;
}
