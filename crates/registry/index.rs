//! From a caller's selectors to the entries that are satisfied by them.
//!
//! An entry matches when its selectors are a subset of the caller's. Each entry is filed under
//! *one* of its selectors, the rarest over all entries, so a lookup visits only entries that share
//! a distinctive selector with the caller, and each at most once.

use std::collections::HashMap;
use std::sync::Arc;

use marque_spiffe::{Selector, SelectorSet};

use crate::entry::Entry;

#[derive(Debug, Default)]
pub(crate) struct SelectorIndex {
    /// Positions in the snapshot's list of entries, by the selector an entry is filed under.
    filed: HashMap<Selector, Vec<usize>>,
}

impl SelectorIndex {
    pub(crate) fn new(entries: &[Arc<Entry>]) -> Self {
        let mut uses: HashMap<&Selector, usize> = HashMap::new();
        for selector in entries.iter().flat_map(|entry| entry.selectors().iter()) {
            *uses.entry(selector).or_default() += 1;
        }
        let mut filed: HashMap<Selector, Vec<usize>> = HashMap::new();
        for (position, entry) in entries.iter().enumerate() {
            let rarest = entry.selectors().iter().min_by_key(|selector| uses.get(selector));
            // INVARIANT: an entry has at least one selector, so none is left out.
            if let Some(selector) = rarest {
                filed.entry(selector.clone()).or_default().push(position);
            }
        }
        Self { filed }
    }

    /// The entries satisfied by the caller's selectors, in the list's order.
    pub(crate) fn matches(&self, entries: &[Arc<Entry>], caller: &SelectorSet) -> Vec<Arc<Entry>> {
        let mut positions: Vec<usize> = caller
            .iter()
            .filter_map(|selector| self.filed.get(selector))
            .flatten()
            .copied()
            .filter(|at| entries.get(*at).is_some_and(|e| e.selectors().is_subset(caller)))
            .collect();
        positions.sort_unstable();
        positions.iter().filter_map(|at| entries.get(*at)).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
