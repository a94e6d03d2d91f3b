use std::sync::{Arc, OnceLock};

use crate::document::TrustDomainDocument;
use crate::registry::{Registry, Snapshot};

/// The entries as one generation of a folder's rules sees them: those of the moment while the folder is the one in force,
/// and those of its last moment after that. So whoever still works by rules that were replaced works by the entries and
/// the document that go with them.
#[derive(Debug)]
pub struct RegistryView {
    registry: Arc<Registry>,
    generation: u64,
    last: OnceLock<Arc<Snapshot>>,
}

impl RegistryView {
    /// The view of the folder that is in force.
    pub fn of_present(registry: Arc<Registry>) -> Self {
        let generation = registry.snapshot().generation();
        Self { registry, generation, last: OnceLock::new() }
    }

    /// The view of the folder that comes next, which nobody looks through before it is in force.
    pub fn of_next(registry: Arc<Registry>) -> Self {
        let generation = registry.snapshot().generation() + 1;
        Self { registry, generation, last: OnceLock::new() }
    }

    /// The folder is about to be replaced: what is there now is its last. Nothing may change the entries between this and
    /// the replacement.
    pub fn close(&self) {
        self.last.get_or_init(|| self.registry.snapshot());
    }

    /// The entries.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let present = self.registry.snapshot();
        match self.last.get() {
            Some(last) if present.generation() != self.generation => Arc::clone(last),
            _ => present,
        }
    }

    /// The document.
    pub fn document(&self) -> Arc<TrustDomainDocument> {
        Arc::clone(self.snapshot().document())
    }
}
