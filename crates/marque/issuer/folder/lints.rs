//! What is no reason not to serve a folder, and what somebody should look at all the same.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use marque_intent::{CalendarSet, ExceptionStanding, HumanJob, Overdue, Rosters};
use marque_registry::{Entry, EntrySource, Finding, FindingCode, Template};

use super::super::cloud_findings;
use super::coded::of_playbook;
use super::{CheckedFolder, policies};

/// What can be said of a folder whose document or entries do not read: all that needs neither.
pub(super) fn beside_the_document(path: &Path) -> Vec<Finding> {
    let calendars = CalendarSet::load(&path.join("calendars")).err().unwrap_or_default();
    let roles = HumanJob::load(&path.join("roles")).err().unwrap_or_default();
    let rosters = Rosters::load(&path.join("rosters")).err().unwrap_or_default();
    let policies = policies(path).err().unwrap_or_default();
    let rosters = rosters.into_iter().map(|found| Finding::about(&found.file, found.message));
    let documents = calendars.into_iter().chain(roles).map(of_playbook);
    documents.chain(rosters).chain(policies).collect()
}

pub(super) fn warnings(checked: &CheckedFolder, now: Timestamp) -> Vec<Finding> {
    let mut warnings = cloud_findings::doubtful(&checked.folder);
    warnings.extend(name_constraints(checked));
    warnings.extend(entries(&checked.folder.entries, now));
    warnings.extend(templates(&checked.folder.templates, now));
    warnings.extend(patterns(checked));
    warnings.extend(playbooks(checked, now));
    warnings.extend(exceptions(checked, now));
    warnings.extend(calendars(checked, now));
    warnings
}

/// Who breaks where roots constrain names.
fn name_constraints(checked: &CheckedFolder) -> Option<Finding> {
    checked.folder.document.authorities().name_constraints.then(|| {
        let message = "`name_constraints` in [authorities]: clients on rustls-webpki 0.103 (Rust: rustls, tonic, reqwest, hyper) refuse \
                       every X.509-SVID below such a root; those of Go and OpenSSL keep the constraint";
        let file = checked.folder.path.join(super::DOCUMENT);
        Finding::about(&file, message).coded(FindingCode::AuthorityNameConstraints)
    })
}

/// Entries that never end (M 25), that have ended, and that share an identity (M 1).
fn entries(entries: &[Entry], now: Timestamp) -> Vec<Finding> {
    let mut warnings = Vec::new();
    let mut shared: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        let what = format!("entry `{}`", entry.id());
        warnings.extend(ending(what, (entry.source(), entry.expires_at()), now));
        shared.entry(entry.spiffe_id().as_str()).or_default().push(entry);
    }
    for (spiffe_id, sharing) in shared.into_iter().filter(|(_, sharing)| sharing.len() > 1) {
        for entry in sharing {
            let Some(reason) = entry.sharing() else { continue };
            let message = format!(
                "entry `{}` of `{}` shares `{spiffe_id}`: {reason}",
                entry.id(),
                entry.owner()
            );
            warnings.extend(at(entry.source(), message, FindingCode::EntryShared));
        }
    }
    warnings
}

/// Templates that never end (M 25), and that have ended: what they give ends by itself, and they give it again.
fn templates(templates: &[Template], now: Timestamp) -> Vec<Finding> {
    let found = templates.iter().filter_map(|template| {
        let what = format!("template `{}`", template.id());
        ending(what, (template.source(), template.expires_at()), now)
    });
    found.collect()
}

/// What is to be said of when something ends.
fn ending(
    what: String,
    (source, end): (&EntrySource, Option<Timestamp>),
    now: Timestamp,
) -> Option<Finding> {
    match end {
        None => {
            let message = format!("{what} never ends: it has no `expires_at`");
            at(source, message, FindingCode::EntryNoExpiry)
        }
        Some(end) if end <= now => {
            at(source, format!("{what} ended at {end}"), FindingCode::EntryExpired)
        }
        Some(_) => None,
    }
}

fn at(source: &EntrySource, message: String, code: FindingCode) -> Option<Finding> {
    match source {
        EntrySource::File { path, line } => Some(Finding::at(path, *line, message).coded(code)),
        EntrySource::Admin | EntrySource::Template { .. } => None,
    }
}

/// Patterns of the document that begin with a wildcard: those of playbooks are refused.
fn patterns(checked: &CheckedFolder) -> Vec<Finding> {
    let document = &checked.folder.document;
    let brokers = document.brokers().iter().flat_map(|rule| rule.identities().iter());
    let brokers = brokers.map(|pattern| ("`identities` in [brokers]", pattern.as_str()));
    let readers = document.audit().readers().iter();
    let readers = readers.map(|pattern| ("`readers` in [audit]", pattern.as_str()));
    let streams = document.ssf_streams().iter().flat_map(|stream| stream.agents());
    let streams = streams.map(|pattern| ("`agents` in [ssf_streams]", pattern.as_str()));
    let heard = document.ssf_transmitters().iter().flat_map(|one| one.agents());
    let heard = heard.map(|pattern| ("`agents` in [ssf_transmitters]", pattern.as_str()));
    let everybody = |(_, pattern): &(&str, &str)| {
        let mut segments = pattern.trim_start_matches("spiffe://").split('/');
        segments.nth(1) == Some("*")
    };
    let file = checked.folder.path.join(super::DOCUMENT);
    let found = brokers.chain(readers).chain(streams).chain(heard).filter(everybody);
    let told = found.map(|(place, pattern)| {
        let message = format!("{place}: `{pattern}` begins with `*` and so names everybody");
        Finding::about(&file, message).coded(FindingCode::PatternNamesEverybody)
    });
    told.collect()
}

fn playbooks(checked: &CheckedFolder, now: Timestamp) -> Vec<Finding> {
    let mut warnings = Vec::new();
    for playbook in checked.playbooks.iter() {
        let file = checked.folder.path.join("playbooks").join(format!("{}.toml", playbook.id()));
        if playbook.is_overdue(now) && checked.playbooks.overdue() == Overdue::Warn {
            let message = format!("its review was due on {}", playbook.review_by());
            let finding = Finding::about(&file, message);
            warnings.push(finding.coded(FindingCode::PlaybookReviewOverdue));
        }
        let warning = playbook.warning().map(|told| Finding::about(&file, told));
        warnings.extend(warning.map(|finding| finding.coded(FindingCode::PlaybookDeprecated)));
    }
    warnings
}

fn exceptions(checked: &CheckedFolder, now: Timestamp) -> Vec<Finding> {
    let mut warnings = Vec::new();
    for exception in checked.playbooks.exceptions() {
        let (message, code) = match exception.standing(now) {
            ExceptionStanding::Live | ExceptionStanding::NotBegun => continue,
            ExceptionStanding::Ended => {
                let end = exception.expires_at();
                let message = format!("ended at {end} and does nothing; delete it");
                (message, FindingCode::ExceptionEnded)
            }
            ExceptionStanding::ReviewOverdue => {
                let message = format!("its review was due on {}", exception.review_by());
                (message, FindingCode::ExceptionReviewOverdue)
            }
        };
        let folder = checked.folder.path.join("exceptions");
        let file = folder.join(format!("{}.toml", exception.id()));
        warnings.push(Finding::about(&file, message).coded(code));
    }
    warnings
}

fn calendars(checked: &CheckedFolder, now: Timestamp) -> Vec<Finding> {
    let overdue = checked.calendars.iter().filter(|calendar| calendar.is_overdue(now));
    let told = overdue.map(|calendar| {
        let folder = checked.folder.path.join("calendars");
        let message = format!("its review was due on {}", calendar.review_by());
        let finding = Finding::about(&folder.join(format!("{}.toml", calendar.name())), message);
        finding.coded(FindingCode::CalendarReviewOverdue)
    });
    told.collect()
}
