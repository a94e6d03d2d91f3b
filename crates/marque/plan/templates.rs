//! Rules that give many identities: `[[template]]`, by id and as they are written.

use std::collections::BTreeMap;

use marque_intent::Effect;
use serde_json::Value;

use super::documents::TEMPLATE;
use super::{Change, Kind};
use crate::issuer::folder::FolderFiles;

/// What becomes of every template.
pub(super) fn changes(before: &FolderFiles, after: &FolderFiles) -> Vec<Change> {
    let (old, mut new) = (by_id(before), by_id(after));
    let mut changes = Vec::new();
    for (id, was) in old {
        let subject = told(&was, "spiffe_id");
        match new.remove(&id) {
            Some(is) => {
                let found = TEMPLATE.diff(was, is).into_iter().map(|one| Change {
                    effect: one.effect,
                    kind: Kind::Identity,
                    subject: subject.clone(),
                    path: Some(one.path),
                    sentence: format!("template `{id}`: {}", one.sentence),
                });
                changes.extend(found);
            }
            None => {
                let sentence = format!(
                    "template `{id}` is gone: nobody has an identity of `{subject}` any more"
                );
                changes.push(change(Effect::Narrower, subject, sentence));
            }
        }
    }
    for (id, is) in new {
        let subject = told(&is, "spiffe_id");
        let sentence = format!(
            "processes with {} gain identities of `{subject}`, at most {} (template `{id}` of `{}`)",
            selectors(&is),
            is.get("max_identities").unwrap_or(&Value::Null),
            told(&is, "owner"),
        );
        changes.push(change(Effect::Wider, subject, sentence));
    }
    changes
}

/// Each template by its id, as it is written.
pub(crate) fn by_id(files: &FolderFiles) -> BTreeMap<String, Value> {
    let mut templates = BTreeMap::new();
    for (_, bytes) in files.below("entries") {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let document: Option<Value> = toml::from_str::<toml::Table>(text)
            .ok()
            .and_then(|table| serde_json::to_value(table).ok());
        let found = document.as_ref().and_then(|document| document.get("template"));
        for one in found.and_then(Value::as_array).into_iter().flatten() {
            templates.insert(told(one, "id"), one.clone());
        }
    }
    templates
}

fn told(template: &Value, member: &str) -> String {
    template.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn selectors(template: &Value) -> String {
    let named = template.get("selectors").and_then(Value::as_array).into_iter().flatten();
    let named: Vec<String> =
        named.filter_map(Value::as_str).map(|one| format!("`{one}`")).collect();
    named.join(" and ")
}

fn change(effect: Effect, subject: String, sentence: String) -> Change {
    Change { effect, kind: Kind::Identity, subject, path: None, sentence }
}
