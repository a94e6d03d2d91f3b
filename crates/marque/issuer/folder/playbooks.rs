//! The playbooks of a folder, held against its document and its policies.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use marque_intent::{AlertSink, Enforcement, HumanJob, Overdue, Playbook, PlaybookSet};
use marque_policy::CedarDecisionPoint;
use marque_registry::{Finding, FindingCode, TrustDomainDocument, TrustDomainFolder};
use marque_spiffe::Environment;

use super::CheckedFolder;
use super::coded::of_playbook;

/// The playbooks of a trust domain's folder.
///
/// # Errors
/// Every finding.
pub fn playbooks(path: &Path, document: &TrustDomainDocument) -> Result<PlaybookSet, Vec<Finding>> {
    let playbooks =
        PlaybookSet::load(&path.join("playbooks"), document.name(), document.environment())
            .and_then(|playbooks| playbooks.with_exceptions(&path.join("exceptions")))
            .map(|playbooks| playbooks.with_overdue(overdue(document)));
    let playbooks = playbooks.and_then(|playbooks| {
        HumanJob::load(&path.join("roles")).map(|jobs| playbooks.with_roles(jobs))
    });
    playbooks.map_err(|found| found.into_iter().map(of_playbook).collect())
}

/// What becomes of a playbook whose review is overdue, as the document says.
pub(crate) fn overdue(document: &TrustDomainDocument) -> Overdue {
    if document.playbooks().refuses_overdue() { Overdue::Refuse } else { Overdue::Warn }
}

impl CheckedFolder {
    /// Playbooks whose review is overdue, where the trust domain refuses them. They are no reason not to serve the others:
    /// requests for them are refused one by one.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> Vec<Finding> {
        let refused =
            |playbook: &&Arc<Playbook>| self.playbooks.check_review(playbook, now).is_err();
        let finding = |playbook: &Arc<Playbook>| {
            let file = self.folder.path.join("playbooks").join(format!("{}.toml", playbook.id()));
            let message = format!(
                "its review was due on {}, and `overdue` is `refuse`",
                playbook.review_by()
            );
            Finding::about(&file, message).coded(FindingCode::PlaybookReviewOverdue)
        };
        self.playbooks.iter().filter(refused).map(finding).collect()
    }
}

/// Policies of playbooks that are not there: nobody would ever be asked for them.
pub(super) fn unknown_playbooks<'a>(
    folder: &'a TrustDomainFolder,
    playbooks: &'a PlaybookSet,
    policy: &'a CedarDecisionPoint,
) -> impl Iterator<Item = Finding> + 'a {
    let unknown = |id: &&str| !playbooks.iter().any(|playbook| playbook.id().as_str() == *id);
    policy.playbooks().filter(unknown).map(|id| {
        let path = folder.path.join("policy/playbooks").join(id);
        let finding = Finding::about(&path, format!("there is no playbook `{id}`"));
        finding.coded(FindingCode::ReferenceUnknown)
    })
}

/// Playbooks that production would only observe, with no end in the trust domain's document.
pub(super) fn observed_for_ever<'a>(
    folder: &'a TrustDomainFolder,
    playbooks: &'a PlaybookSet,
) -> impl Iterator<Item = Finding> + 'a {
    let document = &folder.document;
    let unbounded = document.environment() == Environment::Production
        && document.decisions().observe_until().is_none();
    let observed = move |playbook: &&std::sync::Arc<Playbook>| {
        unbounded && playbook.enforcement() == Enforcement::Observe
    };
    playbooks.iter().filter(observed).map(|playbook| {
        let file = folder.path.join("playbooks").join(format!("{}.toml", playbook.id()));
        let message = "`enforcement = \"observe\"` in production needs an end: `observe_until` in [decisions] of \
                       trust-domain.toml";
        Finding::about(&file, message).coded(FindingCode::PlaybookObservedForEver)
    })
}

/// A tenant is one along a whole chain, so a playbook cannot have another than its trust domain.
pub(super) fn foreign_tenants(folder: &TrustDomainFolder, playbooks: &PlaybookSet) -> Vec<Finding> {
    let tenant = folder.document.tenant().as_str();
    playbooks
        .iter()
        .filter(|playbook| playbook.tenant() != tenant)
        .map(|playbook| {
            let file = folder.path.join("playbooks").join(format!("{}.toml", playbook.id()));
            let message =
                format!("tenant `{}` is not the trust domain's `{tenant}`", playbook.tenant());
            Finding::about(&file, message).coded(FindingCode::PlaybookForeignTenant)
        })
        .collect()
}

/// Webhooks that a playbook names and the document does not have: nobody would be told.
pub(super) fn unknown_webhooks(
    folder: &TrustDomainFolder,
    playbooks: &PlaybookSet,
) -> Vec<Finding> {
    let known = |name: &str| folder.document.webhooks().iter().any(|one| one.name() == name);
    let named = playbooks.iter().flat_map(|playbook| {
        let notified = playbook.notified().iter().map(|name| ("on_complete.notify", name.as_str()));
        let alerted = match playbook.emergency().map(|emergency| &emergency.alert) {
            Some(AlertSink::Webhook(name)) => Some(("emergency.alert", name.as_str())),
            Some(AlertSink::Log) | None => None,
        };
        notified.chain(alerted).map(move |named| (playbook.id(), named))
    });
    named
        .filter(|(_, (_, name))| !known(name))
        .map(|(playbook, (path, name))| {
            let file = folder.path.join("playbooks").join(format!("{playbook}.toml"));
            let message = format!("`{path}`: there is no [[webhooks]] `{name}`");
            Finding::about(&file, message).coded(FindingCode::ReferenceUnknown)
        })
        .collect()
}
