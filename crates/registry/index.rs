//! From a caller's selectors to the entries that are satisfied by them.
//!
//! An entry matches when its selectors are a subset of the caller's. Each entry is filed under
//! *one* of its selectors, that under which the fewest are filed already, so a lookup visits only
//! entries that share a distinctive selector with the caller, and each at most once.

use std::sync::Arc;

use marque_spiffe::{Selector, SelectorSet};

use crate::entry::{Entry, EntryId};
use crate::shared_map::SharedMap;

#[derive(Debug, Clone, Default)]
pub(crate) struct SelectorIndex {
    /// Entries by the selector that they are filed under, in no order.
    filed: SharedMap<Selector, Vec<Arc<Entry>>>,
    /// Under which selector an entry is filed.
    places: SharedMap<EntryId, Selector>,
}

impl SelectorIndex {
    /// Adds an entry whose id is not in the index.
    pub(crate) fn add(&mut self, entry: &Arc<Entry>) {
        let filed = |selector: &&Selector| self.filed.get(*selector).map_or(0, Vec::len);
        // INVARIANT: an entry has at least one selector, so none is left out.
        let Some(selector) = entry.selectors().iter().min_by_key(filed).cloned() else { return };
        let mut list = self.filed.get(&selector).cloned().unwrap_or_default();
        list.push(Arc::clone(entry));
        self.places.insert(entry.id().clone(), selector.clone());
        self.filed.insert(selector, list);
    }

    pub(crate) fn remove(&mut self, id: &EntryId) {
        let Some(selector) = self.places.get(id).cloned() else { return };
        self.places.remove(id);
        let mut list = self.filed.get(&selector).cloned().unwrap_or_default();
        list.retain(|entry| entry.id() != id);
        if list.is_empty() {
            self.filed.remove(&selector);
        } else {
            self.filed.insert(selector, list);
        }
    }

    /// The entries satisfied by the caller's selectors, in the order of answers.
    pub(crate) fn matches(&self, caller: &SelectorSet) -> Vec<Arc<Entry>> {
        let mut found: Vec<Arc<Entry>> = caller
            .iter()
            .filter_map(|selector| self.filed.get(selector))
            .flatten()
            .filter(|entry| entry.selectors().is_subset(caller))
            .cloned()
            .collect();
        found.sort_unstable_by(|a, b| a.rank().cmp(&b.rank()));
        found
    }
}

#[cfg(test)]
mod tests;
