//! Registration entries as plans see them: those that they ask for, of however many there are.

use std::collections::{BTreeMap, BTreeSet};

use marque_registry::{Entry, EntryId};
use marque_spiffe::SpiffeId;

/// What is looked at.
#[derive(Debug, Default)]
pub(crate) struct EntryKeys {
    pub(crate) ids: BTreeSet<EntryId>,
    pub(crate) spiffe_ids: BTreeSet<SpiffeId>,
    /// Templates of which it is counted how many entries they have made.
    pub(crate) templates: BTreeSet<EntryId>,
}

/// What there is of it.
#[derive(Debug, Default)]
pub(crate) struct FoundEntries {
    /// Ids with their SPIFFE IDs.
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) of_templates: BTreeMap<EntryId, usize>,
}

impl EntryKeys {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { ids, spiffe_ids, templates } = self;
        ids.is_empty() && spiffe_ids.is_empty() && templates.is_empty()
    }
}

impl FoundEntries {
    pub(super) fn has(&self, id: &EntryId) -> bool {
        self.names.contains_key(id.as_str())
    }

    pub(super) fn has_for(&self, spiffe_id: &SpiffeId) -> bool {
        self.names.values().any(|taken| taken == spiffe_id.as_str())
    }

    pub(super) fn instances_of(&self, template: &EntryId) -> usize {
        self.of_templates.get(template).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        let (id, spiffe_id) = (entry.id().to_string(), entry.spiffe_id().to_string());
        if self.names.insert(id, spiffe_id).is_none() {
            self.count(entry.id(), |made| made + 1);
        }
    }

    pub(super) fn remove(&mut self, id: &EntryId) {
        if self.names.remove(id.as_str()).is_some() {
            self.count(id, |made| made.saturating_sub(1));
        }
    }

    fn count(&mut self, id: &EntryId, change: impl Fn(usize) -> usize) {
        for (template, made) in &mut self.of_templates {
            if id.is_of_template(template) {
                *made = change(*made);
            }
        }
    }
}
