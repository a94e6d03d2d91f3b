//! Who earns which identity: entries by id, and those with a new id by their SPIFFE ID.

use std::collections::{BTreeMap, HashMap};

use marque_intent::Effect;
use marque_registry::{Entry, EntryId};
use marque_spiffe::SpiffeId;
use serde_json::{Map, Value};

use super::documents::ENTRY;
use super::{Change, Kind};

/// An entry as it was and as it is; one of the two where it comes or goes.
pub(super) type Pair<'a> = (Option<&'a Entry>, Option<&'a Entry>);

/// The entries of two states, each beside what it was.
pub(super) fn pairs<'a>(before: &[&'a Entry], after: &[&'a Entry]) -> Vec<Pair<'a>> {
    let mut old: BTreeMap<&EntryId, &Entry> = by_id(before);
    let mut new: BTreeMap<&EntryId, &Entry> = by_id(after);
    let mut pairs = Vec::new();
    old.retain(|id, was| match new.get(id).copied() {
        // The id of another identity is another entry that happens to be called so.
        Some(is) if is.spiffe_id() == was.spiffe_id() => {
            pairs.push((Some(*was), Some(is)));
            new.remove(id);
            false
        }
        _ => true,
    });
    let mut renamed: HashMap<&SpiffeId, &Entry> =
        new.values().map(|entry| (entry.spiffe_id(), *entry)).collect();
    for was in old.into_values() {
        let is = renamed.remove(was.spiffe_id());
        if let Some(is) = is {
            new.remove(is.id());
        }
        pairs.push((Some(was), is));
    }
    pairs.extend(new.into_values().map(|is| (None, Some(is))));
    pairs
}

/// What becomes of every identity.
pub(super) fn changes(pairs: &[Pair<'_>]) -> Vec<Change> {
    let mut changes = Vec::new();
    for pair in pairs {
        match *pair {
            (Some(was), Some(is)) => {
                if was.id() != is.id() {
                    let sentence = format!("entry `{}` is now called `{}`", was.id(), is.id());
                    changes.push(change(Effect::Described, is, Some("id"), sentence));
                }
                compare(was, is, &mut changes);
            }
            (Some(was), None) => changes.push(change(Effect::Narrower, was, None, lost(was))),
            (None, Some(is)) => changes.push(change(Effect::Wider, is, None, gained(is))),
            (None, None) => {}
        }
    }
    changes
}

fn by_id<'a>(entries: &[&'a Entry]) -> BTreeMap<&'a EntryId, &'a Entry> {
    entries.iter().map(|entry| (entry.id(), *entry)).collect()
}

fn gained(entry: &Entry) -> String {
    format!(
        "processes with {} gain `{}` as {} (entry `{}` of `{}`)",
        selectors(entry),
        entry.spiffe_id(),
        entry.role(),
        entry.id(),
        entry.owner()
    )
}

fn lost(entry: &Entry) -> String {
    format!(
        "processes with {} lose `{}` (entry `{}` of `{}`)",
        selectors(entry),
        entry.spiffe_id(),
        entry.id(),
        entry.owner()
    )
}

fn compare(was: &Entry, is: &Entry, changes: &mut Vec<Change>) {
    if was.content() == is.content() && was.sharing() == is.sharing() {
        return;
    }
    if was.selectors() != is.selectors() {
        // Fewer selectors are more processes.
        let effect = if is.selectors().is_subset(was.selectors()) {
            Effect::Wider
        } else if was.selectors().is_subset(is.selectors()) {
            Effect::Narrower
        } else {
            Effect::Unclear
        };
        let sentence = format!(
            "`{}` was for processes with {} and is for those with {}",
            is.spiffe_id(),
            selectors(was),
            selectors(is)
        );
        changes.push(change(effect, is, Some("selectors"), sentence));
    }
    for found in ENTRY.diff(members(was), members(is)) {
        let sentence = format!("`{}`: {}", is.spiffe_id(), found.sentence);
        changes.push(change(found.effect, is, Some(&found.path), sentence));
    }
}

/// All that an entry says, but for what is told in a sentence of its own.
fn members(entry: &Entry) -> Value {
    let mut members = match serde_json::to_value(entry.content()) {
        Ok(Value::Object(members)) => members,
        // INVARIANT: an entry is written as an object, and every member of it as a text or a list of them.
        _ => Map::new(),
    };
    members.remove("spiffe_id");
    members.remove("selectors");
    if let Some(Value::Object(rights)) = members.remove("delegation") {
        members.extend(rights);
    }
    if let Some(reason) = entry.sharing() {
        members.insert("shared".to_owned(), Value::Bool(true));
        members.insert("reason".to_owned(), Value::String(reason.to_string()));
    }
    Value::Object(members)
}

pub(super) fn change(
    effect: Effect,
    entry: &Entry,
    path: Option<&str>,
    sentence: String,
) -> Change {
    Change {
        effect,
        kind: Kind::Identity,
        subject: entry.spiffe_id().to_string(),
        path: path.map(ToOwned::to_owned),
        sentence,
    }
}

fn selectors(entry: &Entry) -> String {
    let named: Vec<String> = entry.selectors().iter().map(|one| format!("`{one}`")).collect();
    named.join(" and ")
}
