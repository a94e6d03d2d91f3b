//! One trust domain's folder with everything in it, checked: what `marque check` reads is what an issuer serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use marque_exchange::IssuerUrl;
use marque_intent::{
    AlertSink, CalendarSet, Enforcement, GroupName, HumanJob, Overdue, Playbook, PlaybookSet,
    Principal, RosterFinding, Rosters,
};
use marque_policy::{CaseResult, CedarDecisionPoint, run_cases};
use marque_registry::{
    ChatPerson, Finding, FindingCode, TrustDomainDocument, TrustDomainFolder, boundary,
    chain_boundary, shared_approvers, shared_root,
};
use marque_spiffe::Environment;

use super::{change_control, cloud_findings, token_config};
use crate::webhooks::kinds;
use crate::{post_checks, rehearsal, sinks, witnesses};

mod coded;
mod files;
mod lints;
mod people;

pub use files::FolderFiles;

use coded::{of_playbook, of_policy};

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
    let playbooks = keep(self::playbooks(path, document), &mut findings, |found| found);
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
        findings.extend(foreign_tenants(&folder, playbooks));
        findings.extend(people::as_much(&folder, playbooks));
        findings.extend(unknown_playbooks(&folder, playbooks, policy));
        findings.extend(observed_for_ever(&folder, playbooks));
    }
    if let (Some(playbooks), Some(calendars)) = (&playbooks, &calendars) {
        findings.extend(change_control::unknown(&folder, playbooks, calendars));
    }
    let rosters = keep(Rosters::load(&path.join("rosters")), &mut findings, |found| {
        let RosterFinding { file, message } = found;
        Finding::about(&file, message)
    });
    findings.extend(unusable_groups(&folder));
    findings.extend(unusable_persons(&folder));
    findings.extend(unusable_url(&folder));
    findings.extend(cloud_findings::unusable(&folder));
    findings.extend(unusable_scopes(&folder));
    findings.extend(unusable_servers(&folder));
    findings.extend(unusable_events(&folder));
    findings.extend(sinks::unknown_formats(&folder));
    findings.extend(witnesses::unusable_keys(&folder));
    if let Some(playbooks) = &playbooks {
        findings.extend(unknown_webhooks(&folder, playbooks));
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

/// The one environment of a set of trust domains; an issuer process never serves two (the firebreak).
///
/// # Errors
/// When the trust domains are of both environments.
pub fn one_environment<'a>(
    folders: impl IntoIterator<Item = &'a CheckedFolder>,
) -> Result<Option<Environment>, MixedEnvironments> {
    let mut first: Option<(&str, Environment)> = None;
    for checked in folders {
        let document = &checked.folder.document;
        match first {
            None => first = Some((document.name().as_str(), document.environment())),
            Some((_, environment)) if environment == document.environment() => {}
            Some((name, environment)) => {
                return Err(MixedEnvironments {
                    first: format!("`{name}` ({environment})"),
                    second: format!("`{}` ({})", document.name(), document.environment()),
                });
            }
        }
    }
    Ok(first.map(|(_, environment)| environment))
}

/// Trust domains of both environments were given to one issuer process.
#[derive(Debug, thiserror::Error)]
#[error(
    "one issuer process serves one environment, but {first} and {second} differ; \
     run one `marque issuer` for each environment, or `marque dev` on a laptop"
)]
pub struct MixedEnvironments {
    first: String,
    second: String,
}

/// Federations and chains across the firebreak between the trust domains of one folder, whatever their documents say of
/// each other.
pub fn across_the_firebreak(folders: &[CheckedFolder]) -> Vec<Finding> {
    let folders: Vec<&TrustDomainFolder> = folders.iter().map(|checked| &checked.folder).collect();
    across_the_firebreak_of(&folders)
}

/// As [`across_the_firebreak`], of folders of which no more is known.
pub(super) fn across_the_firebreak_of(folders: &[&TrustDomainFolder]) -> Vec<Finding> {
    let environment_of = |name| {
        let documents = folders.iter().map(|folder| &folder.document);
        documents.filter(|document| document.name() == name).map(|d| d.environment()).next()
    };
    let mut findings = Vec::new();
    for TrustDomainFolder { path, document, .. } in folders {
        for federation in document.federation() {
            let other = environment_of(federation.trust_domain());
            if let Some(other) = other.filter(|other| *other != document.environment()) {
                let message = boundary(federation.trust_domain(), other);
                findings.push(Finding::at(&path.join(DOCUMENT), federation.line(), message));
            }
        }
        if let Some(login) = document.approver_login() {
            let others = folders.iter().map(|folder| &folder.document);
            let mut across = others.filter(|other| other.environment() != document.environment());
            let same = across.find(|other| {
                other.approver_login().is_some_and(|other| {
                    (other.issuer(), other.client_id()) == (login.issuer(), login.client_id())
                })
            });
            if let Some(other) = same {
                let message = shared_approvers(login.client_id(), other.environment());
                findings.push(Finding::at(&path.join(DOCUMENT), login.line(), message));
            }
        }
        for server in document.authorization_servers() {
            let others = folders.iter().map(|folder| &folder.document);
            let mut others = others.filter(|other| other.environment() != document.environment());
            if let Some(other) = others.find(|other| is_at(other, server.issuer())) {
                let message = chain_boundary(server.name(), other.environment());
                findings.push(Finding::at(&path.join(DOCUMENT), server.line(), message));
            }
        }
    }
    findings.extend(shared_roots(folders));
    findings
}

/// Roots that trust domains of both environments have pinned: they are what keeps the environments apart where no certificate
/// names one.
fn shared_roots<'a>(folders: &'a [&'a TrustDomainFolder]) -> impl Iterator<Item = Finding> + 'a {
    folders.iter().filter_map(|folder| {
        let upstream = folder.document.upstream()?;
        let environment = folder.document.environment();
        let others = folders.iter().map(|other| &other.document);
        let mut across = others.filter(|other| other.environment() != environment);
        across.find_map(|other| {
            let theirs = other.upstream()?.pinned_roots();
            let root = upstream.pinned_roots().intersection(theirs).next()?;
            let message = shared_root(root, other.environment());
            Some(Finding::at(&folder.path.join(DOCUMENT), upstream.line(), message))
        })
    })
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

/// The policies of a trust domain's folder.
///
/// # Errors
/// Every finding.
pub fn policies(path: &Path) -> Result<CedarDecisionPoint, Vec<Finding>> {
    let policies = CedarDecisionPoint::load(&path.join("policy"));
    policies.map_err(|found| found.into_iter().map(of_policy).collect())
}

/// Policies of playbooks that are not there: nobody would ever be asked for them.
fn unknown_playbooks<'a>(
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
fn observed_for_ever<'a>(
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
fn foreign_tenants(folder: &TrustDomainFolder, playbooks: &PlaybookSet) -> Vec<Finding> {
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

/// What becomes of a playbook whose review is overdue, as the document says.
pub(crate) fn overdue(document: &TrustDomainDocument) -> Overdue {
    if document.playbooks().refuses_overdue() { Overdue::Refuse } else { Overdue::Warn }
}

impl CheckedFolder {
    /// What is no finding yet: reviews that are overdue, exceptions that have ended, playbooks that are about to go, and
    /// entries that never end, have ended, or share an identity.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<Finding> {
        lints::warnings(self, now)
    }

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

/// Names in `[[webhooks]]` that no event has: the receiver would silently be told nothing of it.
fn unusable_events(folder: &TrustDomainFolder) -> Vec<Finding> {
    let webhooks = folder.document.webhooks().iter();
    let unknown = webhooks.filter_map(|webhook| {
        let name = kinds(webhook.events()).err()?;
        let message = format!("`events` in [webhooks]: `{name}` is the name of no event");
        Some(Finding::at(&folder.path.join(DOCUMENT), webhook.line(), message))
    });
    unknown.collect()
}

/// Webhooks that a playbook names and the document does not have: nobody would be told.
fn unknown_webhooks(folder: &TrustDomainFolder, playbooks: &PlaybookSet) -> Vec<Finding> {
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

/// Approver groups that no playbook could name: an approver in one would silently be in none.
fn unusable_groups(folder: &TrustDomainFolder) -> Vec<Finding> {
    let document = &folder.document;
    let of_operators = document.operators().iter().flat_map(|rule| rule.groups());
    let mapped = document.approver_login().into_iter().flat_map(|login| login.groups().values());
    let linked = document.chat_identities().iter().flat_map(|identity| match identity.who() {
        ChatPerson::Person { groups, .. } => groups.iter().collect::<Vec<_>>(),
        ChatPerson::Operator(_) => Vec::new(),
    });
    of_operators
        .chain(mapped)
        .chain(linked)
        .filter_map(|group| group.parse::<GroupName>().err().map(|error| (group, error)))
        .map(|(group, error)| {
            let message = format!("approver group `{group}`: {error}");
            Finding::about(&folder.path.join(DOCUMENT), message)
        })
        .collect()
}

/// Links of operators to people that could never be compared.
fn unusable_persons(folder: &TrustDomainFolder) -> Vec<Finding> {
    let persons = folder.document.operators().iter().flat_map(|rule| rule.persons());
    persons
        .filter(|person| {
            let named = person.split_once(':').is_some_and(|(issuer, _)| !issuer.is_empty());
            !named || format!("person:{person}").parse::<Principal>().is_err()
        })
        .map(|person| {
            let message = format!("`persons` in [operators]: `{person}` is not `<issuer>:<sub>`");
            Finding::about(&folder.path.join(DOCUMENT), message)
        })
        .collect()
}

/// An issuer identifier that the token service could not serve.
fn unusable_url(folder: &TrustDomainFolder) -> Option<Finding> {
    let url = folder.document.hosts().url()?;
    let error = url.parse::<IssuerUrl>().err()?;
    let message = format!("`url` in [issuer]: `{url}`: {error}");
    Some(Finding::about(&folder.path.join(DOCUMENT), message))
}

/// Scopes of ceilings, of resource servers and of other domains that nobody could be granted.
fn unusable_scopes(folder: &TrustDomainFolder) -> Vec<Finding> {
    let document = &folder.document;
    let clients = document.clients().iter().map(|one| ("clients", one.scopes(), one.line()));
    let servers = document.resource_servers().iter();
    let servers = servers.map(|one| ("resource_servers", one.scopes(), one.line()));
    let others = document.authorization_servers().iter();
    let others = others.map(|one| ("authorization_servers", one.scopes(), one.line()));
    clients
        .chain(servers)
        .chain(others)
        .filter_map(|(table, scopes, line)| {
            let (scope, error) = token_config::scopes(scopes).err()?;
            let message = format!("`scopes` in [{table}]: `{scope}`: {error}");
            Some(Finding::at(&folder.path.join(DOCUMENT), line, message))
        })
        .collect()
}

/// Authorization servers that could not be one, or are the trust domain's own.
fn unusable_servers(folder: &TrustDomainFolder) -> Vec<Finding> {
    let document = &folder.document;
    let servers = document.authorization_servers().iter().filter_map(|server| {
        let issuer = server.issuer();
        let message = match issuer.parse::<IssuerUrl>() {
            Err(error) => error.to_string(),
            Ok(_) if is_at(document, issuer) => "is the own one".to_owned(),
            Ok(_) => return None,
        };
        let message = format!("`issuer` in [authorization_servers]: `{issuer}`: {message}");
        Some(Finding::at(&folder.path.join(DOCUMENT), server.line(), message))
    });
    servers.collect()
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
