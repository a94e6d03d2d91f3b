//! Which of several identities is a process's default one: that of the first of its entries, by file and line (WA-8).
//!
//! An order that changes between entries that no process can have both of changes nothing, and is not told.

use std::collections::HashMap;

use marque_intent::Effect;
use marque_registry::{Entry, EntryId, TEMPLATE_SELECTORS};

use super::Change;
use super::identities::{Pair, change};

/// More selectors of which a process has one alone, beside [`TEMPLATE_SELECTORS`].
const ONE_EACH: [&str; 4] =
    ["k8s:container-name", "systemd:fragment_path", "unix:path", "unix:sha256"];
/// How many places are looked at, in all; an order that was turned over whole is told as that.
const MAX_LOOKS: usize = 8_000_000;
/// How many places have their lowest place of before remembered together.
const BLOCK: usize = 256;
/// How many of the identities that come second now are named.
const NAMED: usize = 3;

/// An entry at its place of now.
struct Placed<'a> {
    entry: &'a Entry,
    /// Its place of before; `None` for one that is new.
    was: Option<usize>,
    facts: Vec<(&'static str, &'a str)>,
}

/// Which entries come before others now that they came behind, or did not stand beside, where one process may have both.
pub(super) fn changes((before, after): (&[&Entry], &[&Entry]), pairs: &[Pair<'_>]) -> Vec<Change> {
    let placed = placed(before, after, pairs);
    let lowest: Vec<usize> = placed.chunks(BLOCK).map(lowest).collect();
    let (mut changes, mut looks) = (Vec::new(), 0_usize);
    for (at, first) in placed.iter().enumerate() {
        let mut second = Vec::new();
        for (block, places) in placed.chunks(BLOCK).enumerate().skip(at / BLOCK) {
            looks += 1;
            let was = first.was.unwrap_or(usize::MAX);
            if lowest.get(block).is_none_or(|lowest| *lowest >= was) {
                continue;
            }
            looks += places.len();
            let behind = places.iter().enumerate().filter(|(index, _)| block * BLOCK + index > at);
            let passed = behind.filter(|(_, other)| other.was.is_some_and(|other| other < was));
            second.extend(passed.map(|(_, other)| other).filter(|other| first.meets(other)));
        }
        if !second.is_empty() {
            changes.push(first.comes_before(&second));
        }
        if looks > MAX_LOOKS {
            let sentence = "the order of the entries is another one almost everywhere, which decides which identity of \
                            several is a process's default one: look at the files";
            changes.push(change(Effect::Unclear, first.entry, Some("order"), sentence.to_owned()));
            break;
        }
    }
    changes
}

fn placed<'a>(before: &[&'a Entry], after: &[&'a Entry], pairs: &[Pair<'a>]) -> Vec<Placed<'a>> {
    let places: HashMap<&EntryId, usize> =
        before.iter().enumerate().map(|(place, entry)| (entry.id(), place)).collect();
    let known = pairs.iter().filter_map(|(was, is)| Some((is.as_ref()?.id(), was.as_ref()?.id())));
    let known: HashMap<&EntryId, &EntryId> = known.collect();
    let placed = after.iter().map(|entry| Placed {
        entry,
        was: known.get(entry.id()).and_then(|was| places.get(was).copied()),
        facts: facts(entry),
    });
    placed.collect()
}

/// The lowest place of before.
fn lowest(block: &[Placed<'_>]) -> usize {
    block.iter().filter_map(|placed| placed.was).min().unwrap_or(usize::MAX)
}

/// The selectors of which a process has one alone.
fn facts(entry: &Entry) -> Vec<(&'static str, &str)> {
    let named = |selector: &'_ marque_spiffe::Selector| {
        TEMPLATE_SELECTORS.iter().chain(&ONE_EACH).copied().find(|name| {
            selector.as_str().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
        })
    };
    entry
        .selectors()
        .iter()
        .filter_map(|selector| Some((named(selector)?, selector.as_str())))
        .collect()
}

impl Placed<'_> {
    /// Whether one process may have both entries.
    fn meets(&self, other: &Self) -> bool {
        let apart = |(name, value): &(&str, &str)| {
            other.facts.iter().any(|(others, fact)| others == name && fact != value)
        };
        !self.facts.iter().any(apart)
    }

    fn comes_before(&self, second: &[&Self]) -> Change {
        let mut others: Vec<String> = second
            .iter()
            .take(NAMED)
            .map(|other| format!("`{}` (entry `{}`)", other.entry.spiffe_id(), other.entry.id()))
            .collect();
        if second.len() > NAMED {
            others.push(format!("{} more", second.len() - NAMED));
        }
        let sentence = format!(
            "`{}` is now the default identity of processes that also earn {}: entry `{}` comes first",
            self.entry.spiffe_id(),
            others.join(", "),
            self.entry.id()
        );
        change(Effect::Unclear, self.entry, Some("order"), sentence)
    }
}

#[cfg(test)]
mod tests {
    use marque_registry::{EntrySource, NewEntry};
    use serde_json::json;

    use super::*;
    use crate::plan::identities::pairs;

    fn entry(id: &str, selectors: &[&str]) -> Entry {
        let content: NewEntry = serde_json::from_value(json!({
            "spiffe_id": format!("spiffe://example.org/{id}"),
            "selectors": selectors,
            "role": "agent",
            "owner": "group:a",
        }))
        .unwrap();
        content.into_entry(id.parse().unwrap(), EntrySource::Admin).unwrap()
    }

    fn told(before: &[&Entry], after: &[&Entry]) -> Vec<String> {
        let pairs = pairs(before, after);
        changes((before, after), &pairs).into_iter().map(|one| one.sentence).collect()
    }

    #[test]
    fn an_entry_that_passes_another_of_which_a_process_may_have_both_is_told() {
        let (a, b) = (entry("a", &["unix:uid:1"]), entry("b", &["docker:label:app:b"]));
        let sentence = "`spiffe://example.org/b` is now the default identity of processes that also earn \
                        `spiffe://example.org/a` (entry `a`): entry `b` comes first";
        assert_eq!(told(&[&a, &b], &[&b, &a]), [sentence]);
        assert_eq!(told(&[&a], &[&b, &a]), [sentence], "a new one in front");
        for (before, after) in [
            (vec![&a, &b], vec![&a, &b]),
            (vec![&a], vec![&a, &b]),
            (vec![&a, &b], vec![&b]),
            (vec![&a, &b], vec![]),
        ] {
            assert_eq!(told(&before, &after), Vec::<String>::new());
        }
    }

    #[test]
    fn entries_of_which_no_process_has_both_have_no_order() {
        let of = |id: &str, user: &str| entry(id, &[user, "docker:label:app:a"]);
        let (a, b) = (of("a", "unix:user:a"), of("b", "unix:user:b"));
        assert!(told(&[&a, &b], &[&b, &a]).is_empty());
        let same = of("c", "unix:user:a");
        assert_eq!(told(&[&a, &b, &same], &[&same, &b, &a]).len(), 1);
        // Of some kinds a process has several.
        let (one, other) = (entry("d", &["docker:label:x:1"]), entry("e", &["docker:label:x:2"]));
        assert_eq!(told(&[&one, &other], &[&other, &one]).len(), 1);
    }

    #[test]
    fn many_are_counted_and_an_order_that_was_turned_over_comes_to_an_end() {
        let many: Vec<Entry> =
            (0..6000).map(|n| entry(&format!("n{n}"), &[&format!("docker:env:N={n}")])).collect();
        let before: Vec<&Entry> = many.iter().take(10).collect();
        let after: Vec<&Entry> =
            before.iter().copied().skip(9).chain(before.iter().copied().take(9)).collect();
        let [moved] = told(&before, &after).try_into().unwrap();
        assert!(moved.contains("(entry `n2`), 6 more: entry `n9` comes first"), "{moved}");
        let before: Vec<&Entry> = many.iter().collect();
        let after: Vec<&Entry> = many.iter().rev().collect();
        let last = told(&before, &after).pop().unwrap();
        assert!(last.contains("look at the files"), "{last}");
    }
}
