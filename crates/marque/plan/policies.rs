//! What decides: policies in Cedar by their id, and whatever else lies in `policy/`.

use std::collections::BTreeMap;

use marque_intent::Effect;
use marque_policy::PolicyInfo;

use super::{Change, Kind, State};
use crate::issuer::folder::FolderFiles;

/// What becomes of every policy.
pub(super) fn changes(before: &State<'_>, after: &State<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let (old, mut new) = (by_id(before), by_id(after));
    for (id, was) in old {
        match new.remove(&id) {
            Some(is) if is.text == was.text && is.playbook == was.playbook => {}
            Some(_) => {
                let sentence = format!("policy `{id}` is another: look at both texts");
                changes.push(change(Effect::Unclear, id, sentence));
            }
            None => {
                let effect = if was.is_forbid() { Effect::Wider } else { Effect::Narrower };
                let sentence = format!("policy `{id}`, {}, is gone", described(was));
                changes.push(change(effect, id, sentence));
            }
        }
    }
    for (id, is) in new {
        let effect = if is.is_forbid() { Effect::Narrower } else { Effect::Wider };
        let sentence = format!("policy `{id}`, {}, is new", described(is));
        changes.push(change(effect, id, sentence));
    }
    changes.extend(files(before.files, after.files));
    changes
}

fn by_id<'a>(state: &State<'a>) -> BTreeMap<String, &'a PolicyInfo> {
    state.policies.iter().map(|policy| (policy.id.clone(), *policy)).collect()
}

fn described(policy: &PolicyInfo) -> String {
    let kind = match (policy.is_forbid(), policy.tier()) {
        (true, _) => "which forbids".to_owned(),
        (false, Some(tier)) => format!("which permits (`{tier}`)"),
        (false, None) => "which permits".to_owned(),
    };
    match (&policy.playbook, &policy.reason) {
        (Some(playbook), _) => format!("{kind} for playbook `{playbook}`"),
        (None, Some(reason)) => format!("{kind} ({reason})"),
        (None, None) => kind,
    }
}

/// Schemas and policies in Rego: nobody can say from their texts which is wider.
fn files(before: &FolderFiles, after: &FolderFiles) -> Vec<Change> {
    let texts = |files: &FolderFiles| -> BTreeMap<String, Vec<u8>> {
        let named = files.below("policy").filter(|(name, _)| !name.ends_with(".cedar"));
        named.map(|(name, bytes)| (format!("policy/{name}"), bytes.to_vec())).collect()
    };
    let (old, mut new) = (texts(before), texts(after));
    let mut changes = Vec::new();
    for (name, was) in old {
        let sentence = match new.remove(&name) {
            Some(is) if is == was => continue,
            Some(_) => format!("`{name}` is another: look at both texts"),
            None => format!("`{name}` is gone"),
        };
        changes.push(change(Effect::Unclear, name, sentence));
    }
    for name in new.into_keys() {
        let sentence = format!("`{name}` is new");
        changes.push(change(Effect::Unclear, name, sentence));
    }
    changes
}

fn change(effect: Effect, subject: String, sentence: String) -> Change {
    Change { effect, kind: Kind::Policy, subject, path: None, sentence }
}
