//! Refusals and the standings that come of them, as operators reach them.

use futures::future::BoxFuture;
use marque_intent::pace::{Family, Standing};
use marque_intent::{DenialFilter, DenialId, DenialRecord, IntentStore, Reason, Release};

use super::super::Issuer;
use crate::grpc::admin::{AdminError, Operator, PaceDoor};

impl PaceDoor for Issuer {
    fn refusals(
        &self,
        filter: DenialFilter,
    ) -> BoxFuture<'_, Result<Vec<DenialRecord>, AdminError>> {
        Box::pin(async move { Ok(IntentStore::denials(&*self.store, filter).await?) })
    }

    fn refusal(&self, id: DenialId) -> BoxFuture<'_, Result<DenialRecord, AdminError>> {
        Box::pin(async move {
            let found = self.store.denial(id.clone()).await?;
            found.ok_or_else(|| AdminError::NotFound { what: "refusal", id: id.to_string() })
        })
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, AdminError>> {
        Box::pin(async move { Ok(IntentStore::standings(&*self.store).await?) })
    }

    fn release(
        &self,
        family: Family,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<bool, AdminError>> {
        let (actor, now) = (operator.to_string(), self.clock.now());
        let order = Release { family, actor, reason, now };
        Box::pin(async move { Ok(IntentStore::release(&*self.store, order).await?) })
    }
}
