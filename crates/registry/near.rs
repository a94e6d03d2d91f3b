//! The entries that a caller almost satisfies, and what it lacks of each: for an operator who asks why a process got no
//! identity.
//!
//! Looks at every entry, so it is for questions by hand and never for answering workloads.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use marque_spiffe::{Selector, SelectorSet};

use crate::entry::Entry;
use crate::registry::Snapshot;

/// An entry that the caller has at least one selector of, and not all.
#[derive(Clone, PartialEq, Eq)]
pub struct NearEntry {
    /// The entry.
    pub entry: Arc<Entry>,
    /// What the caller lacks; never empty.
    pub missing: Vec<Missing>,
}

/// One selector that an entry asks for and the caller does not have.
#[derive(Clone, PartialEq, Eq)]
pub struct Missing {
    /// What the entry asks for.
    pub selector: Selector,
    /// What the caller has in its place: its selectors of the same name, such as another `unix:path`.
    pub found: Vec<Selector>,
}

impl Snapshot {
    /// Up to `limit` entries that come close to these selectors: those that lack least first, then those that share most,
    /// then in the order of answers. Entries that the caller satisfies, or shares nothing with, are not among them.
    pub fn near(&self, selectors: &SelectorSet, limit: usize) -> Vec<NearEntry> {
        let mut near: Vec<(usize, usize, NearEntry)> = self
            .entries()
            .iter()
            .filter_map(|entry| {
                let missing: Vec<Missing> = entry
                    .selectors()
                    .iter()
                    .filter(|selector| !selectors.contains(selector))
                    .map(|selector| Missing::of(selector, selectors))
                    .collect();
                let shared = entry.selectors().len() - missing.len();
                let entry = Arc::clone(entry);
                (shared > 0 && !missing.is_empty()).then_some((
                    missing.len(),
                    shared,
                    NearEntry { entry, missing },
                ))
            })
            .collect();
        // Stable, so that the order of answers decides between equals.
        near.sort_by_key(|(missing, shared, _)| (*missing, Reverse(*shared)));
        near.into_iter().take(limit).map(|(_, _, entry)| entry).collect()
    }
}

impl Missing {
    fn of(selector: &Selector, caller: &SelectorSet) -> Self {
        let found = caller.iter().filter(|other| name(other) == name(selector)).cloned().collect();
        Self { selector: selector.clone(), found }
    }
}

/// Kind and name of a selector: `unix`, `path` of `unix:path:/usr/bin/a`.
fn name(selector: &Selector) -> (&str, &str) {
    let value = selector.value();
    (selector.kind(), value.split_once(':').map_or(value, |(name, _value)| name))
}

impl fmt::Debug for NearEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        let Self { entry, missing } = self;
        f.debug_struct("NearEntry")
            .field("entry", entry.id())
            .field("missing", &missing.len())
            .finish()
    }
}

impl fmt::Debug for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Missing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{EntrySource, NewEntry, Registry, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("folder/tests/trust-domain.toml");

    fn set(texts: &[&str]) -> SelectorSet {
        texts.iter().map(|text| text.parse::<Selector>().unwrap()).collect()
    }

    fn snapshot(entries: &[(&str, &[&str])]) -> Arc<Snapshot> {
        let document = TrustDomainDocument::parse(Path::new("t"), DOCUMENT).unwrap();
        let trust_domain = document.name().clone();
        let entries = entries.iter().map(|(name, selectors)| {
            let new: NewEntry = serde_json::from_value(serde_json::json!({
                "spiffe_id": format!("spiffe://{trust_domain}/{name}"),
                "selectors": selectors,
                "role": "agent",
                "owner": "tests",
                "expires_at": "2031-01-01T00:00:00Z",
            }))
            .unwrap();
            new.into_entry(name.parse().unwrap(), EntrySource::Admin).unwrap()
        });
        Registry::new(Arc::new(document), entries.collect()).unwrap().snapshot()
    }

    fn names(near: &[NearEntry]) -> Vec<&str> {
        near.iter().map(|near| near.entry.id().as_str()).collect()
    }

    #[test]
    fn the_entry_that_lacks_least_comes_first_and_says_what_was_found_instead() {
        let snapshot = snapshot(&[
            ("far", &["unix:uid:1", "unix:gid:9", "unix:path:/bin/b"]),
            ("close", &["unix:uid:1", "unix:gid:1", "unix:path:/bin/b"]),
            ("closer", &["unix:uid:1", "unix:path:/bin/c", "unix:gid:1", "unix:user:a"]),
            ("satisfied", &["unix:uid:1"]),
            ("strange", &["unix:uid:2"]),
        ]);
        let caller = set(&["unix:uid:1", "unix:gid:1", "unix:path:/bin/a", "unix:user:a"]);
        let near = snapshot.near(&caller, 10);
        assert_eq!(names(&near), ["closer", "close", "far"]);
        let [missing] = near[1].missing.as_slice() else { panic!("{}", near[1].missing.len()) };
        assert_eq!(missing.selector.as_str(), "unix:path:/bin/b");
        assert_eq!(missing.found, [set(&["unix:path:/bin/a"]).iter().next().unwrap().clone()]);
    }

    #[test]
    fn a_selector_of_a_kind_that_was_not_found_at_all_has_nothing_in_its_place() {
        let snapshot = snapshot(&[("a", &["unix:uid:1", "docker:label:a:b"])]);
        let near = snapshot.near(&set(&["unix:uid:1"]), 10);
        assert!(near[0].missing[0].found.is_empty());
    }

    #[test]
    fn no_more_than_the_limit_are_named() {
        let snapshot =
            snapshot(&[("a", &["unix:uid:1", "unix:gid:1"]), ("b", &["unix:uid:1", "unix:gid:2"])]);
        assert_eq!(names(&snapshot.near(&set(&["unix:uid:1"]), 1)), ["a"]);
    }

    #[test]
    fn what_is_near_prints_no_selector() {
        let snapshot = snapshot(&[("a", &["unix:uid:1", "unix:path:/canary"])]);
        let near = snapshot.near(&set(&["unix:uid:1"]), 1);
        assert!(!format!("{near:?} {:?}", near[0].missing).contains("canary"));
    }
}
