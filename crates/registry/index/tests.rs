use std::sync::Arc;

use marque_spiffe::{Selector, SelectorSet};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::SelectorIndex;
use crate::{Entry, EntrySource, NewEntry};

/// One of few selectors, so that sets overlap.
fn selectors(numbers: impl IntoIterator<Item = u8>) -> SelectorSet {
    numbers.into_iter().map(|n| format!("unix:gid:{n}").parse::<Selector>().unwrap()).collect()
}

fn entries(sets: Vec<std::collections::BTreeSet<u8>>) -> Vec<Arc<Entry>> {
    let entry = |(n, set)| {
        let new: NewEntry = serde_json::from_value(serde_json::json!({
            "spiffe_id": format!("spiffe://example.org/{n}"),
            "selectors": selectors(set),
            "role": "agent",
            "owner": "tests",
        }))
        .unwrap();
        let id = format!("{n}").parse().unwrap();
        Arc::new(new.into_entry(id, EntrySource::Admin).unwrap())
    };
    sets.into_iter().enumerate().map(entry).collect()
}

proptest! {
    #[test]
    fn the_index_finds_what_looking_at_every_entry_finds(
        sets in vec(btree_set(0_u8..12, 1..5), 0..40),
        caller in btree_set(0_u8..12, 0..12),
    ) {
        let (entries, caller) = (entries(sets), selectors(caller));
        let naive: Vec<_> =
            entries.iter().filter(|entry| entry.selectors().is_subset(&caller)).cloned().collect();
        prop_assert_eq!(SelectorIndex::new(&entries).matches(&entries, &caller), naive);
    }
}

#[test]
fn a_selector_that_everybody_has_costs_nothing() {
    // Everybody shares selector 0, each has one of its own.
    let entries = entries((1..=200).map(|n| [0, n].into()).collect());
    let index = SelectorIndex::new(&entries);
    assert!(index.filed.values().all(|positions| positions.len() == 1));
    assert_eq!(index.matches(&entries, &selectors([0, 7])).len(), 1);
    assert_eq!(index.matches(&entries, &selectors([0])).len(), 0);
}
