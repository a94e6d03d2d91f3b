//! Which entries a caller is entitled to, and under which hints.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use marque_registry::Entry;
use marque_spiffe::{Hint, SelectorSet};

use crate::error::WorkloadError;
use crate::scope::Scope;
use crate::state::IssuerState;

/// The entries in scope whose selectors the caller has, without those that ended or are stopped,
/// the default identity first (WA-8).
pub(crate) fn entitled(
    state: &IssuerState,
    selectors: &SelectorSet,
    scope: &Scope,
    now: Timestamp,
) -> Vec<Arc<Entry>> {
    if state.stops.stop_build(selectors) {
        return Vec::new();
    }
    let mut entries = state.registry.entries_for(selectors);
    entries.retain(|entry| {
        scope.admits(entry.spiffe_id())
            && !entry.has_expired(now)
            && !state.stops.stop(entry.spiffe_id())
    });
    entries
}

/// As [`entitled`], and nobody is an error.
pub(crate) fn require_entitled(
    state: &IssuerState,
    selectors: &SelectorSet,
    scope: &Scope,
    now: Timestamp,
) -> Result<Vec<Arc<Entry>>, WorkloadError> {
    let entries = entitled(state, selectors, scope, now);
    if entries.is_empty() { Err(WorkloadError::NotEntitled) } else { Ok(entries) }
}

/// When the first of the entries ends by itself.
pub(crate) fn first_end(entries: &[Arc<Entry>]) -> Option<Timestamp> {
    entries.iter().filter_map(|entry| entry.expires_at()).min()
}

/// Hands out hints so that each is unique in one response (WA-6): the first keeps it.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    given: HashSet<Hint>,
}

impl Hints {
    pub(crate) fn hint(&mut self, entry: &Entry) -> Option<Hint> {
        entry.hint().filter(|hint| self.given.insert((*hint).clone())).cloned()
    }
}
