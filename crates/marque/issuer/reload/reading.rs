//! A folder as it is read, and how it differs from the one in force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marque_intent::PlaybookSet;
use marque_registry::{
    Entry, EntrySource, Finding, Snapshot, TrustDomainDocument, TrustDomainFolder,
};

use super::outcome::{Changes, ReloadCode};
use super::{DOCUMENT, NotTaken, restart};
use crate::issuer::Issuer;
use crate::issuer::folder::{self, CheckedFolder, FolderFiles};
use crate::plan::{State, TrustDomainPlan, templates};

/// Reads the folder, and as much of its neighbours as the firebreak wants to know. Nothing is said of files that changed
/// meanwhile: half of one may break any rule.
pub(super) fn read(
    root: &Path,
    path: &Path,
    served: &TrustDomainDocument,
) -> (FolderFiles, Option<Result<CheckedFolder, NotTaken>>) {
    let (files, checked) = folder::read(path);
    let invalid = |findings| NotTaken { code: ReloadCode::FolderInvalid, findings };
    let taken = |checked: CheckedFolder| {
        let document = path.join(DOCUMENT);
        let text = files.text(DOCUMENT).unwrap_or_default();
        let fixed = restart::needed(served, &checked.folder.document, (&document, text));
        if !fixed.is_empty() {
            return Err(NotTaken { code: ReloadCode::RestartRequired, findings: fixed });
        }
        let across = across_the_firebreak(root, path, &checked);
        if across.is_empty() { Ok(checked) } else { Err(invalid(across)) }
    };
    let checked = checked.map(|checked| checked.map_err(invalid).and_then(taken));
    (files, checked)
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

/// What a folder would change of what is in force.
pub(super) fn plan(before: &Issuer, now: &CheckedFolder) -> TrustDomainPlan {
    let snapshot = before.intents.registry.snapshot();
    let in_force = State {
        document: &before.document,
        entries: of_files(&snapshot).map(|entry| &**entry).collect(),
        playbooks: &before.intents.playbooks,
        policies: before.policies.iter().collect(),
        files: &before.files,
    };
    TrustDomainPlan::between(&in_force, &now.into())
}

/// Entries of the folder in force beside those of the new one. Where an entry stands is no part of what it says.
pub(super) fn changed_entries(before: &Issuer, now: &[Entry]) -> Changes {
    let snapshot = before.intents.registry.snapshot();
    let said = |entry: &Entry| (entry.content().clone(), entry.sharing().cloned());
    let of_before: BTreeMap<_, _> =
        of_files(&snapshot).map(|entry| (entry.id().to_string(), said(entry))).collect();
    let of_now: BTreeMap<_, _> =
        now.iter().map(|entry| (entry.id().to_string(), said(entry))).collect();
    Changes::between(&of_before, &of_now)
}

fn of_files(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Entry>> {
    let from_file = |entry: &&Arc<Entry>| matches!(entry.source(), EntrySource::File { .. });
    snapshot.entries().iter().filter(from_file)
}

/// Templates as they are written.
pub(super) fn changed_templates(before: &Issuer, now: &CheckedFolder) -> Changes {
    Changes::between(&templates::by_id(&before.files), &templates::by_id(&now.files))
}

pub(super) fn changed_playbooks(before: &Issuer, now: &CheckedFolder) -> Changes {
    let of = |playbooks: &PlaybookSet| -> BTreeMap<String, _> {
        playbooks.iter().map(|one| (one.id().to_string(), *one.digest())).collect()
    };
    Changes::between(&of(&before.intents.playbooks), &of(&now.playbooks))
}
