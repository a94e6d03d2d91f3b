//! The entries of the stage's registry.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_registry::{Entry, EntryId, EntryRole, EntrySource, NewEntry, Snapshot};
use marque_spiffe::{SelectorSet, SpiffeId};

use super::super::super::door::{AdminError, EntryDoor, Operator};
use super::FakeDoor;
use crate::identities::{Denials, SharedIdentities};

impl EntryDoor for FakeDoor {
    fn registry(&self) -> Arc<Snapshot> {
        self.registry.snapshot()
    }

    fn agents_for(&self, selectors: &SelectorSet) -> Vec<SpiffeId> {
        let entries = self.registry.snapshot().entries_for(selectors);
        let agents = entries.iter().filter(|entry| entry.role() == EntryRole::Agent);
        agents.map(|entry| entry.spiffe_id().clone()).collect()
    }

    fn create_entry(
        &self,
        entry: NewEntry,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<Entry>, AdminError>> {
        Box::pin(async move {
            self.actors.lock().unwrap().push(operator.to_string());
            let id: EntryId = format!("e{}", self.actors.lock().unwrap().len()).parse().unwrap();
            let entry = entry.into_entry(id, EntrySource::Admin)?;
            self.registry.add(entry.clone())?;
            Ok(Arc::new(entry))
        })
    }

    fn delete_entry(
        &self,
        id: EntryId,
        operator: Operator,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            self.actors.lock().unwrap().push(operator.to_string());
            let removed = self.registry.remove(&id)?;
            removed
                .map(|_| ())
                .ok_or_else(|| AdminError::NotFound { what: "entry", id: id.to_string() })
        })
    }

    fn sharing(&self) -> Arc<SharedIdentities> {
        Arc::clone(&self.sharing)
    }

    fn denials(&self) -> Arc<Denials> {
        Arc::clone(&self.denials)
    }
}
