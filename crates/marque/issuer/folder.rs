//! One trust domain's folder with everything in it, checked: what `marque check` reads is what an issuer serves.

mod coded;
mod files;
mod firebreak;
mod lints;
mod people;
mod playbooks;
mod unusable;

pub use files::FolderFiles;
pub(super) use firebreak::across_the_firebreak_of;
pub use firebreak::{MixedEnvironments, across_the_firebreak, one_environment};
pub(crate) use playbooks::overdue;
pub use playbooks::playbooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_intent::{CalendarSet, PlaybookSet, RosterFinding, Rosters};
use marque_policy::{CaseResult, CedarDecisionPoint, run_cases};
use marque_registry::{Finding, FindingCode, TrustDomainDocument, TrustDomainFolder};

use self::coded::{of_playbook, of_policy};
use super::{change_control, cloud_findings};
use crate::{post_checks, rehearsal, sinks, witnesses};

/// The document that makes a folder a trust domain's.
const DOCUMENT: &str = "trust-domain.toml";

/// A trust domain's folder without a finding.
#[derive(Debug)]
pub struct CheckedFolder {
    /// The document and the registration entries.
    pub folder: TrustDomainFolder,
    /// The playbooks.
    pub playbooks: PlaybookSet,
    /// The blackout calendars.
    pub calendars: CalendarSet,
    /// The policy sets.
    pub policy: CedarDecisionPoint,
    /// Who is on duty when.
    pub rosters: Rosters,
    /// Its files, as they were when all of it was read from them.
    pub files: FolderFiles,
}

impl CheckedFolder {
    /// What is no finding yet: reviews that are overdue, exceptions that have ended, playbooks that are about to go, and
    /// entries that never end, have ended, or share an identity.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<Finding> {
        lints::warnings(self, now)
    }
}

/// Reads one trust domain's folder.
///
/// # Errors
/// Every finding, with file and line.
pub fn check(path: &Path) -> Result<CheckedFolder, Vec<Finding>> {
    let (_files, checked) = read(path);
    checked.unwrap_or_else(|| {
        let finding = Finding::about(path, "its files changed while they were read; try again");
        Err(vec![finding.coded(FindingCode::FileUnreadable)])
    })
}

/// Reads one trust domain's folder: its files, and what came of checking them, which is nothing where one of them changed
/// meanwhile: half of a file may break any rule.
pub(super) fn read(path: &Path) -> (FolderFiles, Option<Result<CheckedFolder, Vec<Finding>>>) {
    let files = FolderFiles::read(path);
    let checked = checked(path, files.clone());
    let same = FolderFiles::digests(path) == files;
    (files, same.then_some(checked))
}

fn checked(path: &Path, files: FolderFiles) -> Result<CheckedFolder, Vec<Finding>> {
    let folder = TrustDomainFolder::load(path).map_err(|mut findings| {
        findings.extend(lints::beside_the_document(path));
        findings
    })?;
    let mut findings = Vec::new();
    let document = &folder.document;
    let playbooks = keep(playbooks::playbooks(path, document), &mut findings, |found| found);
    let policy = keep(policies(path), &mut findings, |found| found);
    let calendars = keep(CalendarSet::load(&path.join("calendars")), &mut findings, of_playbook);
    if let (Some(playbooks), Some(policy)) = (&playbooks, &policy) {
        match run_cases(&path.join("policy"), policy, playbooks) {
            Ok(results) => {
                let failed = results.iter().filter_map(CaseResult::finding).map(of_policy);
                findings.extend(failed.map(|finding| finding.coded(FindingCode::CaseFailed)));
            }
            Err(found) => findings.extend(found.into_iter().map(of_policy)),
        }
        match rehearsal::run_cases(&path.join("playbooks/tests"), playbooks, policy) {
            Ok(results) => {
                findings.extend(results.iter().filter_map(rehearsal::CaseResult::finding));
            }
            Err(found) => findings.extend(found),
        }
        findings.extend(playbooks::foreign_tenants(&folder, playbooks));
        findings.extend(people::as_much(&folder, playbooks));
        findings.extend(playbooks::unknown_playbooks(&folder, playbooks, policy));
        findings.extend(playbooks::observed_for_ever(&folder, playbooks));
    }
    if let (Some(playbooks), Some(calendars)) = (&playbooks, &calendars) {
        findings.extend(change_control::unknown(&folder, playbooks, calendars));
    }
    let rosters = keep(Rosters::load(&path.join("rosters")), &mut findings, |found| {
        let RosterFinding { file, message } = found;
        Finding::about(&file, message)
    });
    findings.extend(unusable::groups(&folder));
    findings.extend(unusable::persons(&folder));
    findings.extend(unusable::url(&folder));
    findings.extend(cloud_findings::unusable(&folder));
    findings.extend(unusable::scopes(&folder));
    findings.extend(unusable::servers(&folder));
    findings.extend(unusable::events(&folder));
    findings.extend(sinks::unknown_formats(&folder));
    findings.extend(witnesses::unusable_keys(&folder));
    if let Some(playbooks) = &playbooks {
        findings.extend(playbooks::unknown_webhooks(&folder, playbooks));
        findings.extend(post_checks::unbelievable(&folder, playbooks));
    }
    let files = keep(files.with_trust(path, document), &mut findings, |one| one);
    match (playbooks, calendars, policy, rosters, files) {
        (Some(playbooks), Some(calendars), Some(policy), Some(rosters), Some(files))
            if findings.is_empty() =>
        {
            Ok(CheckedFolder { folder, playbooks, calendars, policy, rosters, files })
        }
        _ => Err(findings),
    }
}

/// The folders of trust domains at `path`: itself if it holds a `trust-domain.toml`, else each folder in it that does.
///
/// # Errors
/// When there is none, or the folder cannot be read.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, Finding> {
    if path.join(DOCUMENT).is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let finding = |message: String| {
        Finding::about(path, message).coded(FindingCode::FolderWithoutTrustDomain)
    };
    let entries = std::fs::read_dir(path)
        .map_err(|error| finding(format!("cannot read the folder: {error}")))?;
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| finding(format!("cannot read the folder: {error}")))?;
        if entry.path().join(DOCUMENT).is_file() {
            folders.push(entry.path());
        }
    }
    if folders.is_empty() {
        return Err(finding(format!("no trust domain here: no folder in it holds a `{DOCUMENT}`")));
    }
    folders.sort();
    Ok(folders)
}

/// Whether this is the issuer identifier of the trust domain, as far as its document says.
fn is_at(document: &TrustDomainDocument, issuer: &str) -> bool {
    match document.hosts().url() {
        Some(url) => url == issuer,
        None => local_url(document.hosts().listen()) == issuer,
    }
}

/// The issuer identifier where the document names none: `localhost` with the listener's port.
pub(super) fn local_url(listener: SocketAddr) -> String {
    format!("https://localhost:{}", listener.port())
}

/// The policies of a trust domain's folder.
///
/// # Errors
/// Every finding.
pub fn policies(path: &Path) -> Result<CedarDecisionPoint, Vec<Finding>> {
    let policies = CedarDecisionPoint::load(&path.join("policy"));
    policies.map_err(|found| found.into_iter().map(of_policy).collect())
}

fn keep<T, F>(
    result: Result<T, Vec<F>>,
    findings: &mut Vec<Finding>,
    finding: impl Fn(F) -> Finding,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(found) => {
            findings.extend(found.into_iter().map(finding));
            None
        }
    }
}

#[cfg(test)]
mod tests;
