//! Nobody was refused.

use futures::future::BoxFuture;
use marque_intent::pace::{Family, Standing};
use marque_intent::{DenialFilter, DenialId, DenialRecord, Reason};

use super::super::super::door::{AdminError, Operator, PaceDoor};
use super::FakeDoor;

impl PaceDoor for FakeDoor {
    fn refusals(&self, _: DenialFilter) -> BoxFuture<'_, Result<Vec<DenialRecord>, AdminError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn refusal(&self, id: DenialId) -> BoxFuture<'_, Result<DenialRecord, AdminError>> {
        let error = AdminError::NotFound { what: "refusal", id: id.to_string() };
        Box::pin(std::future::ready(Err(error)))
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, AdminError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn release(
        &self,
        _: Family,
        _: Reason,
        _: Operator,
    ) -> BoxFuture<'_, Result<bool, AdminError>> {
        Box::pin(std::future::ready(Ok(false)))
    }
}
