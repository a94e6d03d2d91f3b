//! A folder as it is read, and how it differs from the one in force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marque_intent::PlaybookSet;
use marque_registry::{Entry, EntrySource, Finding, TrustDomainDocument, TrustDomainFolder};

use super::contents::Contents;
use super::outcome::{Changes, ReloadCode};
use super::{DOCUMENT, NotTaken, restart};
use crate::issuer::Issuer;
use crate::issuer::folder::{self, CheckedFolder};

/// Reads the folder, and as much of its neighbours as the firebreak wants to know. Nothing is said of files that changed
/// meanwhile: half of one may break any rule.
pub(super) fn read(
    root: &Path,
    path: &Path,
    served: &TrustDomainDocument,
) -> (Contents, Option<Result<CheckedFolder, NotTaken>>) {
    let contents = Contents::read(path);
    let invalid = |findings| NotTaken { code: ReloadCode::FolderInvalid, findings };
    let checked = folder::check(path).map_err(invalid);
    let checked = checked.and_then(|checked| {
        let document = path.join(DOCUMENT);
        let text = std::fs::read_to_string(&document).unwrap_or_default();
        let fixed = restart::needed(served, &checked.folder.document, (&document, &text));
        if !fixed.is_empty() {
            return Err(NotTaken { code: ReloadCode::RestartRequired, findings: fixed });
        }
        let across = across_the_firebreak(root, path, &checked);
        if !across.is_empty() {
            return Err(invalid(across));
        }
        Ok(checked)
    });
    let same = Contents::read(path) == contents;
    (contents, same.then_some(checked))
}

/// What this folder and those beside it say across the firebreak. A folder beside it with findings of its own is refused
/// where that is read, and no reason to refuse this one.
fn across_the_firebreak(root: &Path, path: &Path, checked: &CheckedFolder) -> Vec<Finding> {
    let beside: Vec<PathBuf> = folder::find(root).unwrap_or_default();
    let beside = beside.iter().filter(|other| other.as_path() != path);
    let beside: Vec<TrustDomainFolder> =
        beside.filter_map(|other| TrustDomainFolder::load(other).ok()).collect();
    let all: Vec<&TrustDomainFolder> = beside.iter().chain([&checked.folder]).collect();
    folder::across_the_firebreak_of(&all)
}

/// Entries of the folder in force beside those of the new one. Where an entry stands is no part of what it says.
pub(super) fn changed_entries(before: &Issuer, now: &[Entry]) -> Changes {
    let snapshot = before.intents.registry.snapshot();
    let from_file = |entry: &&Arc<Entry>| matches!(entry.source(), EntrySource::File { .. });
    let of_before = snapshot.entries().iter().filter(from_file);
    let of_before: BTreeMap<_, _> =
        of_before.map(|entry| (entry.id().to_string(), entry.content().clone())).collect();
    let of_now: BTreeMap<_, _> =
        now.iter().map(|entry| (entry.id().to_string(), entry.content().clone())).collect();
    Changes::between(&of_before, &of_now)
}

pub(super) fn changed_playbooks(before: &Issuer, now: &CheckedFolder) -> Changes {
    let of = |playbooks: &PlaybookSet| -> BTreeMap<String, _> {
        playbooks.iter().map(|one| (one.id().to_string(), *one.digest())).collect()
    };
    Changes::between(&of(&before.intents.playbooks), &of(&now.playbooks))
}
