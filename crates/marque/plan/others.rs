//! Settings, calendars, rosters, roles, relations and cases, each document by its file; bundles, keys and revocation lists, which
//! are only the same or others.

use std::collections::BTreeSet;

use marque_intent::{DocumentRules, Effect};
use serde_json::Value;

use super::documents::{CALENDAR, RELATIONS, ROLE, ROSTER, TRUST_DOMAIN};
use super::{Change, Kind, State};
use crate::issuer::folder::FolderFiles;

/// A folder of documents of one kind.
struct Documents {
    folder: &'static str,
    kind: Kind,
    rules: &'static DocumentRules,
    /// What a new one does, and one that goes.
    added: Effect,
    removed: Effect,
}

const DOCUMENTS: [Documents; 4] = [
    Documents {
        folder: "calendars",
        kind: Kind::Calendar,
        rules: &CALENDAR,
        added: Effect::Narrower,
        removed: Effect::Wider,
    },
    Documents {
        folder: "rosters",
        kind: Kind::Roster,
        rules: &ROSTER,
        added: Effect::Wider,
        removed: Effect::Narrower,
    },
    Documents {
        folder: "roles",
        kind: Kind::Role,
        rules: &ROLE,
        added: Effect::Described,
        removed: Effect::Described,
    },
    Documents {
        folder: "policy/relations",
        kind: Kind::Relation,
        rules: &RELATIONS,
        added: Effect::Unclear,
        removed: Effect::Unclear,
    },
];

/// Where cases are, which decide nothing.
const CASES: [&str; 2] = ["policy/tests", "playbooks/tests"];

pub(super) fn changes(before: &State<'_>, after: &State<'_>) -> Vec<Change> {
    let mut changes =
        document((before, after), Kind::Setting, ("", "trust-domain.toml"), &TRUST_DOMAIN);
    for documents in &DOCUMENTS {
        changes.extend(of_folder(before, after, documents));
    }
    for folder in CASES {
        changes.extend(whole_files(
            (before.files, after.files),
            folder,
            Kind::Case,
            Effect::Described,
        ));
    }
    let lists = (before.files, after.files);
    changes.extend(whole_files(lists, "crls", Kind::RevocationList, Effect::Unclear));
    changes.extend(trust(before, after));
    changes
}

fn of_folder(before: &State<'_>, after: &State<'_>, documents: &Documents) -> Vec<Change> {
    let Documents { folder, kind, rules, added, removed } = documents;
    let mut changes = Vec::new();
    for name in names(before.files, after.files, folder) {
        let file = format!("{folder}/{name}");
        let (was, is) = (before.files.file(&file), after.files.file(&file));
        let change = |effect: Effect, sentence: String| Change {
            effect,
            kind: *kind,
            subject: file.clone(),
            path: None,
            sentence,
        };
        match (was, is) {
            (Some(was), Some(is)) if was == is => {}
            (Some(_), Some(_)) => {
                changes.extend(document((before, after), *kind, (folder, name), rules));
            }
            (None, _) => changes.push(change(*added, format!("`{file}` is new"))),
            (_, None) => changes.push(change(*removed, format!("`{file}` is gone"))),
        }
    }
    changes
}

/// One document that is there on both sides, field by field.
pub(super) fn document(
    (before, after): (&State<'_>, &State<'_>),
    kind: Kind,
    (folder, name): (&str, &str),
    rules: &DocumentRules,
) -> Vec<Change> {
    let file = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let read = |files: &FolderFiles| -> Option<Value> {
        let table: toml::Table = toml::from_str(files.text(&file)?).ok()?;
        serde_json::to_value(table).ok()
    };
    if before.files.file(&file) == after.files.file(&file) {
        return Vec::new();
    }
    let (Some(was), Some(is)) = (read(before.files), read(after.files)) else {
        let sentence = format!("`{file}` is another: look at both texts");
        return vec![Change { effect: Effect::Unclear, kind, subject: file, path: None, sentence }];
    };
    let found = rules.diff(was, is).into_iter().map(|one| {
        let place = if folder.is_empty() { String::new() } else { format!("`{file}`: ") };
        let sentence = format!("{place}{}", one.sentence);
        Change { effect: one.effect, kind, subject: file.clone(), path: Some(one.path), sentence }
    });
    found.collect()
}

/// Files that are the same or others, and nothing in between.
fn whole_files(
    (before, after): (&FolderFiles, &FolderFiles),
    folder: &str,
    kind: Kind,
    effect: Effect,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for name in names(before, after, folder) {
        let subject = format!("{folder}/{name}");
        changes.extend(whole_file((before, after), kind, effect, subject));
    }
    changes
}

fn whole_file(
    (before, after): (&FolderFiles, &FolderFiles),
    kind: Kind,
    effect: Effect,
    subject: String,
) -> Option<Change> {
    let sentence = match (before.file(&subject), after.file(&subject)) {
        (was, is) if was == is => return None,
        (None, _) => format!("`{subject}` is new"),
        (_, None) => format!("`{subject}` is gone"),
        _ => format!("`{subject}` holds something else"),
    };
    Some(Change { effect, kind, subject, path: None, sentence })
}

/// By what others are verified: another key is another party who is believed.
fn trust(before: &State<'_>, after: &State<'_>) -> Vec<Change> {
    let named = before.document.trust_files().into_iter().chain(after.document.trust_files());
    let named: BTreeSet<String> = named.map(|file| file.to_string_lossy().into_owned()).collect();
    let both = (before.files, after.files);
    named
        .into_iter()
        .filter_map(|file| whole_file(both, Kind::Trust, Effect::Unclear, file))
        .collect()
}

fn names<'a>(
    before: &'a FolderFiles,
    after: &'a FolderFiles,
    folder: &'a str,
) -> BTreeSet<&'a str> {
    before.below(folder).chain(after.below(folder)).map(|(name, _)| name).collect()
}
