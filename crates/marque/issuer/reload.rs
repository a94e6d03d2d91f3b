//! Reading a trust domain's folder anew while it is served: all of it or nothing.
//!
//! Everything that can fail comes first: files are read, checked and held against what was granted by them, clients are set
//! up, entries that were added by command are held against the new document, and the change is put on record. Then nothing
//! fails any more, and the rest is this order: the old generation's view of the entries is closed, so that a request that
//! has begun goes on by the entries, the document and the rules of before; document, entries and bundles of others are
//! replaced in one step, of which workloads are told once; the new rules are put in force, and every request that begins
//! from here on goes by them. So no request ever sees old rules with new entries or new rules with old entries. Between the
//! last two steps a request still begins by the old rules and the old entries: an identity that is new then has no rights
//! yet. At last what is open is held against the new rules, and once more when the last request of the old ones is over.
//!
//! Absent: who may ask for it, and how the files come to the folder.

mod outcome;
mod reading;
mod ready;
pub(crate) mod restart;
pub(crate) mod watch;

use std::path::Path;
use std::sync::{Arc, PoisonError};

use anyhow::Context as _;
use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_registry::{Entry, Finding, Template, TrustDomainDocument};
use metrics::{counter, gauge};

pub use self::outcome::{
    Changes, FolderStanding, FoundView, RefusedReload, ReloadCode, ReloadReport, ReloadResult,
};

use self::reading::{changed_entries, changed_playbooks, changed_templates, plan, read};
use self::ready::{Ready, unfit};
use super::desk::Drift;
use super::folder::FolderFiles;
use super::registrar::RegistrarError;
use super::served::Served;
use super::{Issuer, versions};
use crate::federation;
use crate::telemetry::described as names;

/// How often a folder is read whose files change meanwhile.
const READINGS: usize = 3;
/// The file that makes a folder a trust domain's.
const DOCUMENT: &str = "trust-domain.toml";

/// What is known of the folder in force.
#[derive(Debug)]
pub(super) struct FolderState {
    files: FolderFiles,
    loaded_at: Timestamp,
    /// The last reload, where it was refused.
    refused: Option<RefusedReload>,
}

/// A folder that was not taken, and why.
#[derive(Debug)]
struct NotTaken {
    code: ReloadCode,
    findings: Vec<Finding>,
}

/// A generation that can be put in force.
#[derive(Debug)]
struct Prepared {
    issuer: Issuer,
    entries: (Vec<Entry>, Vec<Template>),
    files: FolderFiles,
}

/// Why nothing came of a reload.
#[derive(Debug)]
enum Failed {
    /// The folder will not do.
    NotTaken(NotTaken),
    /// It could not be found out, or not be put on record.
    Unavailable(anyhow::Error),
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl Failed {
    fn because(code: ReloadCode, findings: Vec<Finding>) -> Self {
        Self::NotTaken(NotTaken { code, findings })
    }
}

impl FolderState {
    pub(super) fn new(files: FolderFiles, loaded_at: Timestamp) -> Self {
        Self { files, loaded_at, refused: None }
    }
}

impl Served {
    /// Reads the folder anew in the name of `by` and puts it in force; with `dry_run` only says what that would come to. One
    /// at a time: whoever asks meanwhile waits. Runs to its end, whatever becomes of whoever asked.
    ///
    /// # Errors
    /// It could not be found out, or not be put on record; everything is as it was.
    pub(crate) async fn reload(
        self: &Arc<Self>,
        by: String,
        dry_run: bool,
    ) -> anyhow::Result<ReloadReport> {
        let served = Arc::clone(self);
        let reloading = tokio::spawn(async move {
            let _turn = served.reloading.lock().await;
            served.reload_now(&by, dry_run).await
        });
        reloading.await.context("the reload stopped")?
    }

    async fn reload_now(&self, by: &str, dry_run: bool) -> anyhow::Result<ReloadReport> {
        let before = self.current();
        let mut report = self.empty_report();
        let prepared = match self.prepare(&before, &mut report, dry_run).await {
            Ok(prepared) => prepared,
            Err(failed) => return self.refuse(failed, report, (by, dry_run)).await,
        };
        let lasting = self.lasting();
        let Prepared { issuer: next, entries, files } = prepared;
        let begun = lasting.registrar.begin(Arc::clone(&next.document), entries).await;
        let change = match begun.map_err(|error| of_registrar(error, &before.path)) {
            Ok(change) => change,
            Err(failed) => return self.refuse(failed, report, (by, dry_run)).await,
        };
        if dry_run {
            return Ok(report);
        }
        let ready = match self.ready(&before, &next, change).await {
            Ok(ready) => ready,
            Err(failed) => return self.refuse(failed, report, (by, dry_run)).await,
        };
        let recorded = lasting.store.append(reloaded(&report, by, lasting.clock.now())).await;
        if let Err(error) = recorded {
            let failed =
                Failed::Unavailable(anyhow::Error::new(error).context("record the reload"));
            return self.refuse(failed, report, (by, dry_run)).await;
        }
        let next = self.put_in_force(&before, next, ready, files)?;
        let document_before = Arc::clone(&before.document);
        drop(before);
        report.result = ReloadResult::Reloaded;
        self.forget_bundles(&next, &document_before, by).await;
        match next.intents.review_open().await {
            Ok(Drift { ended, begun_anew }) => {
                (report.grants_ended, report.begun_anew) = (Some(ended), Some(begun_anew));
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "open grants were not held against the new rules; tried again"
                );
            }
        }
        self.count("reloaded");
        let (trust_domain, digest) = (lasting.trust_domain(), &report.digest);
        tracing::info!(%trust_domain, by, digest, "the folder was read anew and is in force");
        Ok(report)
    }

    /// Reads, checks and wires; `report` is told what differs as far as that is known, of a `dry_run` as a plan.
    async fn prepare(
        &self,
        before: &Arc<Issuer>,
        report: &mut ReloadReport,
        dry_run: bool,
    ) -> Result<Prepared, Failed> {
        for _reading in 0..READINGS {
            let (root, path) = (self.root.clone(), before.path.clone());
            let served = Arc::clone(&before.document);
            let old = Arc::clone(before);
            let read = tokio::task::spawn_blocking(move || {
                let (files, checked) = read(&root, &path, &served);
                let planned = checked.as_ref().filter(|_| dry_run);
                let planned = planned.and_then(|checked| Some(plan(&old, checked.as_ref().ok()?)));
                (files, checked, planned)
            });
            let (files, checked, planned) =
                read.await.context("the reading of the folder stopped")?;
            let Some(checked) = checked else { continue };
            report.digest = files.digest().to_string();
            report.files = self.files_in_force().changes_to(&files);
            let mut checked = checked.map_err(Failed::NotTaken)?;
            report.entries = changed_entries(before, &checked.folder.entries);
            report.templates = changed_templates(before, &checked);
            report.playbooks = changed_playbooks(before, &checked);
            report.policy_changed = *before.intents.policy.set_digest()
                != *marque_policy::DecisionPoint::set_digest(&checked.policy);
            let store = &self.lasting().store;
            if let Some(found) = versions::reused(&before.path, &checked.playbooks, store).await? {
                return Err(Failed::because(ReloadCode::FolderInvalid, vec![found]));
            }
            report.plan = planned;
            let entries = std::mem::take(&mut checked.folder.entries);
            let templates = std::mem::take(&mut checked.folder.templates);
            let (lasting, old) = (Arc::clone(self.lasting()), Arc::clone(before));
            let wire = move || {
                let issuer = Issuer::wire(checked, &lasting, Some(&old));
                (issuer, FolderFiles::digests(&old.path))
            };
            let wired = tokio::task::spawn_blocking(wire).await;
            let (issuer, after) = wired.context("the wiring of the folder stopped")?;
            if after != files {
                continue;
            }
            let issuer = issuer.map_err(|error| unfit(before, &error))?;
            let looked = issuer.federations.reconcile().await;
            looked.context("read the relationships that were added by command")?;
            return Ok(Prepared { issuer, entries: (entries, templates), files });
        }
        let message = "its files change while they are read; reload when they are all there";
        let found = Finding::about(&before.path, message);
        Err(Failed::because(ReloadCode::FolderChanging, vec![found]))
    }

    /// Nothing here can fail but what was tried before, under the same lock.
    fn put_in_force(
        &self,
        before: &Issuer,
        next: Issuer,
        ready: Ready<'_>,
        files: FolderFiles,
    ) -> anyhow::Result<Arc<Issuer>> {
        let (lasting, Ready { change, authorities, opening }) = (self.lasting(), ready);
        before.intents.registry.close();
        let foreign = Arc::clone(&next.foreign);
        let changed = lasting.minting.change_with(foreign, || {
            change.make()?;
            authorities.take_effect();
            self.doors.go_by(lasting, &before.document, &next.document);
            Ok::<(), marque_registry::RegistryError>(())
        });
        changed.context("replace document and entries")?;
        next.take_effect();
        let next = Arc::new(next);
        self.route_to(&next);
        self.put(Arc::clone(&next));
        self.doors.open(opening, self);
        *lasting.folder.lock().unwrap_or_else(PoisonError::into_inner) =
            FolderState::new(files, lasting.clock.now());
        Ok(next)
    }

    /// Forgets the bundles that are not fetched any more, and those that were set by hand of a relationship that is gone since
    /// the document `before`.
    async fn forget_bundles(&self, issuer: &Issuer, before: &TrustDomainDocument, by: &str) {
        let lasting = self.lasting();
        let forgotten = async {
            let now = lasting.clock.now();
            issuer.federations.drop_left_behind(before, by).await?;
            let by_command = federation::fetched_by_command(&lasting.store, now).await?;
            federation::prune(&issuer.document, &lasting.kept_bundles, &by_command)
        };
        if let Err(error) = forgotten.await {
            tracing::error!(
                error = &*error,
                "bundles of relationships that are gone are still kept"
            );
        }
    }

    /// Says why, everywhere where it is asked for: nothing of it changed anything.
    async fn refuse(
        &self,
        failed: Failed,
        report: ReloadReport,
        (by, dry_run): (&str, bool),
    ) -> anyhow::Result<ReloadReport> {
        let NotTaken { code, findings } = match failed {
            Failed::NotTaken(not_taken) => not_taken,
            Failed::Unavailable(error) => {
                if !dry_run {
                    self.count("failed");
                }
                return Err(error);
            }
        };
        let report = ReloadReport {
            result: ReloadResult::Refused,
            code: Some(code),
            findings: findings.iter().map(FoundView::from).collect(),
            ..report
        };
        if dry_run {
            return Ok(report);
        }
        let lasting = self.lasting();
        let first = report.findings.first().map(ToString::to_string).unwrap_or_default();
        let now = lasting.clock.now();
        lasting.folder.lock().unwrap_or_else(PoisonError::into_inner).refused =
            Some(RefusedReload { at: now, by: by.to_owned(), code, first: first.clone() });
        self.count("refused");
        let (trust_domain, count) = (lasting.trust_domain(), report.findings.len());
        tracing::warn!(%trust_domain, by, %code, count, first, "the folder is refused; what was in force stays");
        let event = Event::new(EventKind::FolderReloadRefused, now)
            .with_actor(by)
            .with_detail("code", code.as_str())
            .with_detail("findings", count)
            .with_detail("first", first)
            .with_detail("digest", report.digest.clone())
            .with_detail("digest_in_force", report.digest_before.clone());
        lasting.store.append(event).await.context("record that the folder is refused")?;
        Ok(report)
    }

    /// What the files hold now.
    async fn files(&self) -> Option<FolderFiles> {
        let path = self.current().path.clone();
        tokio::task::spawn_blocking(move || FolderFiles::digests(&path)).await.ok()
    }

    /// What they held when they were put in force.
    fn files_in_force(&self) -> FolderFiles {
        self.lasting().folder.lock().unwrap_or_else(PoisonError::into_inner).files.clone()
    }

    fn empty_report(&self) -> ReloadReport {
        let digest = self.files_in_force().digest().to_string();
        ReloadReport {
            result: ReloadResult::WouldReload,
            code: None,
            findings: Vec::new(),
            digest_before: digest.clone(),
            digest,
            files: Changes::default(),
            entries: Changes::default(),
            templates: Changes::default(),
            playbooks: Changes::default(),
            plan: None,
            policy_changed: false,
            grants_ended: None,
            begun_anew: None,
        }
    }

    fn count(&self, result: &'static str) {
        let trust_domain = self.lasting().trust_domain().to_string();
        counter!(names::FOLDER_RELOADS, "trust_domain" => trust_domain, "result" => result)
            .increment(1);
    }
}

impl Issuer {
    /// How the folder in force stands to the files of now.
    pub(super) async fn folder_standing(&self) -> FolderStanding {
        let path = self.path.clone();
        let files = tokio::task::spawn_blocking(move || FolderFiles::digests(&path)).await;
        let state = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        FolderStanding {
            digest: state.files.digest().to_string(),
            loaded_at: state.loaded_at,
            differs: files.is_ok_and(|files| files != state.files),
            refused: state.refused.clone(),
        }
    }
}

impl super::Lasting {
    /// What is measured of the folder when somebody looks.
    pub(super) fn measure_folder(&self) {
        let state = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let (loaded, refused) = (state.loaded_at, state.refused.is_some());
        drop(state);
        let label = || self.trust_domain().to_string();
        gauge!(names::FOLDER_LOADED, "trust_domain" => label())
            .set(loaded.as_duration().as_secs_f64());
        gauge!(names::FOLDER_REFUSED, "trust_domain" => label()).set(f64::from(u8::from(refused)));
    }
}

fn of_registrar(error: RegistrarError, folder: &Path) -> Failed {
    match error {
        RegistrarError::Unfitting(unfitting) => {
            let finding = |(id, error): (_, marque_registry::RegistryError)| {
                let message = format!(
                    "the entry `{id}`, which was added by command, does not fit: {error}; remove it with \
                     `marque entry delete {id}`, or change the folder so that it fits"
                );
                Finding::about(folder, message)
            };
            let findings = unfitting.into_iter().map(finding).collect();
            Failed::because(ReloadCode::StoredEntryConflict, findings)
        }
        error => Failed::Unavailable(error.into()),
    }
}

fn reloaded(report: &ReloadReport, by: &str, now: Timestamp) -> Event {
    let ReloadReport { digest_before, digest, files, entries, templates, .. } = report;
    let ReloadReport { playbooks, policy_changed, .. } = report;
    Event::new(EventKind::FolderReloaded, now)
        .with_actor(by)
        .with_detail("digest", digest.clone())
        .with_detail("digest_before", digest_before.clone())
        .with_detail("files", files.recorded())
        .with_detail("entries", entries.recorded())
        .with_detail("templates", templates.recorded())
        .with_detail("playbooks", playbooks.recorded())
        .with_detail("policy_changed", *policy_changed)
}
