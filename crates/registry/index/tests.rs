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
            "expires_at": "2031-01-01T00:00:00Z",
        }))
        .unwrap();
        let id = format!("{n}").parse().unwrap();
        Arc::new(new.into_entry(id, EntrySource::Admin).unwrap())
    };
    sets.into_iter().enumerate().map(entry).collect()
}

fn index(entries: &[Arc<Entry>]) -> SelectorIndex {
    let mut index = SelectorIndex::default();
    entries.iter().for_each(|entry| index.add(entry));
    index
}

fn looked_at_one_by_one(entries: &[Arc<Entry>], caller: &SelectorSet) -> Vec<Arc<Entry>> {
    let mut found: Vec<_> =
        entries.iter().filter(|entry| entry.selectors().is_subset(caller)).cloned().collect();
    found.sort_by(|a, b| a.rank().cmp(&b.rank()));
    found
}

proptest! {
    #[test]
    fn the_index_finds_what_looking_at_every_entry_finds(
        sets in vec(btree_set(0_u8..12, 1..5), 0..40),
        gone in btree_set(0_usize..40, 0..20),
        caller in btree_set(0_u8..12, 0..12),
    ) {
        let (entries, caller) = (entries(sets), selectors(caller));
        let whole = index(&entries);
        let mut changed = whole.clone();
        let (mut left, mut at) = (entries.clone(), 0);
        left.retain(|_| { at += 1; !gone.contains(&(at - 1)) });
        for entry in gone.iter().filter_map(|at| entries.get(*at)) {
            changed.remove(entry.id());
        }
        prop_assert_eq!(changed.matches(&caller), looked_at_one_by_one(&left, &caller));
        // The copy was changed, not what it was made from.
        prop_assert_eq!(whole.matches(&caller), looked_at_one_by_one(&entries, &caller));
    }
}

#[test]
fn a_selector_that_everybody_has_costs_nothing() {
    // Everybody shares selector 0, each has one of its own.
    let entries = entries((1..=200).map(|n| [0, n].into()).collect());
    let index = index(&entries);
    assert!(index.filed.values().all(|list| list.len() == 1));
    assert_eq!(index.matches(&selectors([0, 7])).len(), 1);
    assert_eq!(index.matches(&selectors([0])).len(), 0);
}
