//! What templates give to callers, made before anybody is told what they have.

use marque_spiffe::SelectorSet;

use crate::error::WorkloadError;
use crate::scope::Scope;
use crate::workload::{Shared, Workload};

impl Workload {
    /// Has the issuer make what templates give to a caller with these selectors. Streams and JWT-SVIDs do so by themselves.
    ///
    /// # Errors
    /// As [`crate::Issuer::settle`].
    pub async fn settle(&self, selectors: &SelectorSet) -> Result<(), WorkloadError> {
        self.shared.settle(selectors, &self.scope).await
    }

    /// Has the issuer keep what templates gave to callers whose streams are open.
    ///
    /// # Errors
    /// As [`crate::Issuer::settle`], of the first for whom it could not be done.
    pub async fn keep_alive(&self) -> Result<(), WorkloadError> {
        for (who, _) in self.shared.groups.members() {
            match self.shared.settle(&who.selectors, &who.scope).await {
                // Who has no place is told at its own call.
                Ok(()) | Err(WorkloadError::TemplateFull) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Has the issuer make what templates give to a caller, where something of it is in scope.
    pub(crate) async fn settle(
        &self,
        selectors: &SelectorSet,
        scope: &Scope,
    ) -> Result<(), WorkloadError> {
        let given = self.state().registry.derive(selectors);
        let in_scope = given.iter().filter_map(|one| one.outcome.as_ref().ok());
        if in_scope.into_iter().any(|made| scope.admits(made.spiffe_id())) {
            self.issuer().settle(selectors).await?;
        }
        Ok(())
    }
}
