//! Registration entries and the identities that they give, as operators reach them.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use marque_registry::{Entry, EntryId, EntryRole, NewEntry, Snapshot};
use marque_spiffe::{SelectorSet, SpiffeId};

use super::super::Issuer;
use super::refused::of_registrar;
use crate::grpc::admin::{AdminError, EntryDoor, Operator};
use crate::identities::{Denials, SharedIdentities};

impl EntryDoor for Issuer {
    fn registry(&self) -> Arc<Snapshot> {
        self.registrar.entries()
    }

    fn agents_for(&self, selectors: &SelectorSet) -> Vec<SpiffeId> {
        let own = std::slice::from_ref(self.registrar.registry());
        let registries = self.neighbours.get().map_or(own, |all| all.as_slice());
        registries.iter().flat_map(|registry| agents(&registry.snapshot(), selectors)).collect()
    }

    fn create_entry(
        &self,
        entry: NewEntry,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<Entry>, AdminError>> {
        Box::pin(async move {
            let created = self.registrar.create(entry, &operator.to_string()).await;
            created.map(Arc::new).map_err(|error| of_registrar(error, ""))
        })
    }

    fn delete_entry(
        &self,
        id: EntryId,
        operator: Operator,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let deleted = self.registrar.delete(&id, &operator.to_string()).await;
            deleted.map_err(|error| of_registrar(error, id.as_str()))
        })
    }

    fn sharing(&self) -> Arc<SharedIdentities> {
        Arc::clone(&self.sharing)
    }

    fn denials(&self) -> Arc<Denials> {
        Arc::clone(&self.denials)
    }
}

/// The agents that a process is, or would be if it asked.
fn agents(registry: &Snapshot, selectors: &SelectorSet) -> BTreeSet<SpiffeId> {
    let earned = registry.entries_for(selectors).into_iter();
    let earned = earned.filter(|entry| entry.role() == EntryRole::Agent);
    let given = registry.derive(selectors).into_iter();
    let given = given.filter(|one| one.template.role() == EntryRole::Agent);
    let given = given.filter_map(|one| one.outcome.ok().map(|made| made.spiffe_id().clone()));
    earned.map(|entry| entry.spiffe_id().clone()).chain(given).collect()
}
