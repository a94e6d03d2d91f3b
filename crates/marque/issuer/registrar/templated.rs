//! Entries that templates make: for a caller when it is first seen, within the template's bound, until nobody asked for
//! them for the template's window.
//!
//! They are stored, so that all replicas and the next start know them and count them together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_registry::{
    Derivation, Derived, Entry, EntryId, EntrySource, EntryStoreError, Snapshot, Template,
};
use marque_spiffe::SelectorSet;
use marque_store::{Admitted, Failure};
use marque_workload::WorkloadError;
use metrics::{counter, gauge};

use super::{Registrar, RegistrarError};
use crate::error::TEMPLATE_FULL;
use crate::telemetry::described as names;
use crate::telemetry::number;

/// How long one leaf about a template that is full tells of all that it refuses.
const QUIET: Duration = Duration::from_secs(60);
/// How many ends are recorded in one turn; the rest in the next.
pub(super) const DROPPED_AT_ONCE: usize = 1_000;

/// When it was last recorded of each template that it is full.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<EntryId, Timestamp>>);

impl Told {
    /// Whether it is to be recorded again.
    fn is_due(&self, template: &EntryId, now: Timestamp) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = told.get(template).is_some_and(|at| now < *at + QUIET);
        if !quiet {
            told.insert(template.clone(), now);
        }
        !quiet
    }
}

impl Registrar {
    /// Makes what templates give to a caller, and renews what it was given and still uses.
    ///
    /// # Errors
    /// [`WorkloadError::TemplateFull`] or [`WorkloadError::Unavailable`] when the caller has no entry at all for that.
    pub(in crate::issuer) async fn settle(
        &self,
        caller: &SelectorSet,
    ) -> Result<(), WorkloadError> {
        loop {
            let snapshot = self.entries();
            if let Some(settled) = self.settle_by(&snapshot, caller).await {
                return settled;
            }
        }
    }

    /// By the templates of one reading of the folder; `None` where another took its place meanwhile, and its templates count.
    async fn settle_by(
        &self,
        snapshot: &Snapshot,
        caller: &SelectorSet,
    ) -> Option<Result<(), WorkloadError>> {
        let mut refused = None;
        for Derivation { template, outcome } in snapshot.derive(caller) {
            let Ok(derived) = outcome else { continue };
            let now = self.clock.now();
            if template.has_expired(now) || !is_due(&self.entries(), &template, &derived, now) {
                continue;
            }
            match self.admit_instance(snapshot.generation(), &template, derived, now).await {
                Ok(None) => return None,
                Ok(Some(Admitted::Full)) => refused = Some(WorkloadError::TemplateFull),
                Ok(Some(Admitted::Made | Admitted::Renewed | Admitted::Taken)) => {}
                Err(error) => {
                    let error = &*error as &dyn std::error::Error;
                    tracing::error!(error, template = %template.id(), "what a template gives could not be kept");
                    refused = Some(WorkloadError::Unavailable);
                }
            }
        }
        let has_another = || {
            let now = self.clock.now();
            self.entries().entries_for(caller).iter().any(|entry| !entry.has_expired(now))
        };
        if self.entries().generation() != snapshot.generation() {
            return None;
        }
        Some(match refused {
            Some(refused) if !has_another() => Err(refused),
            _ => Ok(()),
        })
    }

    /// Makes or renews what a template of this `generation` of the folder gives; `None` where that is not in force any more.
    async fn admit_instance(
        &self,
        generation: u64,
        template: &Template,
        derived: Derived,
        now: Timestamp,
    ) -> Result<Option<Admitted>, Box<dyn std::error::Error + Send + Sync>> {
        // Held while anything changes, as for every other entry: a folder is read anew before this or behind it.
        let mut held = self.held.lock().await;
        let registry = self.entries();
        if registry.generation() != generation {
            return Ok(None);
        }
        if !is_due(&registry, template, &derived, now) {
            return Ok(Some(Admitted::Renewed));
        }
        let entry = template.instance(derived, now)?;
        let limit = template.max_identities();
        let alive = registry.instances_of(template.id());
        // Those who come again and again cost no transaction each.
        let is_new = registry.entry(entry.id()).is_none();
        if is_new && alive >= usize::try_from(limit).unwrap_or(usize::MAX) {
            self.refused(template, &entry, now).await?;
            return Ok(Some(Admitted::Full));
        }
        let made = self.event(EventKind::EntryCreated, &entry);
        let made = made.with_detail("template", template.id().as_str());
        let admitted =
            self.store.admit_instance(entry.clone(), template.id().clone(), limit, made).await?;
        match admitted {
            Admitted::Made | Admitted::Renewed => {
                let end = entry.expires_at();
                self.registry.put_instance(entry)?;
                self.note_own_changes(&mut held, 1, end).await;
            }
            Admitted::Full => self.refused(template, &entry, now).await?,
            Admitted::Taken => {}
        }
        Ok(Some(admitted))
    }

    async fn refused(
        &self,
        template: &Template,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), marque_audit::LogError> {
        let document = self.registry.document();
        let trust_domain = document.name();
        let (label, id) = (trust_domain.to_string(), template.id().to_string());
        counter!(names::TEMPLATE_REFUSALS, "trust_domain" => label, "template" => id).increment(1);
        if !self.told.is_due(template.id(), now) {
            return Ok(());
        }
        let limit = template.max_identities();
        tracing::warn!(%trust_domain, template = %template.id(), limit, "a template has given as many identities as it may");
        let event = Event::new(EventKind::EntryRefused, now)
            .with_agent(entry.spiffe_id().clone())
            .with_denial(TEMPLATE_FULL, "identity")
            .with_detail("template", template.id().as_str())
            .with_detail("limit", limit)
            .with_detail("owner", template.owner());
        self.store.append(event).await?;
        Ok(())
    }

    /// Of what is stored, what is to be served, made as the templates of now make it; and what is over: nobody asked for
    /// it any more. What these templates give to nobody is neither: it is over when its window is.
    pub(super) fn as_templates_are(
        &self,
        stored: Vec<Entry>,
        templates: &[Arc<Template>],
    ) -> (Vec<Entry>, Vec<Entry>) {
        let now = self.clock.now();
        let (mut kept, mut over) = (Vec::new(), Vec::new());
        for entry in stored {
            let EntrySource::Template { template } = entry.source() else {
                kept.push(entry);
                continue;
            };
            let template = templates.iter().find(|known| known.id() == template);
            let template = template.filter(|_| !entry.has_expired(now));
            match template.and_then(|template| template.remade(&entry)) {
                Some(entry) if !entry.has_expired(now) => kept.push(entry),
                _ if entry.has_expired(now) => over.push(entry),
                // Another replica may have the template that gave it: it is not served here, and not taken from there.
                _ => {}
            }
        }
        (kept, over)
    }

    /// Takes what is over out of the store, with a leaf for each: [`DROPPED_AT_ONCE`] at most. How many were there.
    pub(super) async fn drop_over(&self, over: &[Entry]) -> Result<u64, RegistrarError> {
        let unavailable = |failure: Failure| {
            RegistrarError::Store(EntryStoreError::Unavailable(Box::new(failure)))
        };
        let mut gone = 0;
        for entry in over.iter().take(DROPPED_AT_ONCE) {
            let dropped =
                self.event(EventKind::EntryDeleted, entry).with_detail("reason", "unused");
            let dropped = self.store.drop_instance(entry.id().clone(), dropped).await;
            gone += u64::from(dropped.map_err(unavailable)?);
        }
        Ok(gone)
    }

    /// Sets how many identities each template has given.
    pub(in crate::issuer) fn measure(&self) {
        let snapshot = self.entries();
        for template in snapshot.templates() {
            let label = self.registry.document().name().to_string();
            let alive = number(snapshot.instances_of(template.id()) as u64);
            let id = template.id().to_string();
            gauge!(names::TEMPLATE_IDENTITIES, "trust_domain" => label, "template" => id)
                .set(alive);
        }
    }
}

/// Whether what a template gives is not there, or more than half of its window is over.
fn is_due(snapshot: &Snapshot, template: &Template, derived: &Derived, now: Timestamp) -> bool {
    let Some(held) = snapshot.entry_by_spiffe_id(derived.spiffe_id()) else { return true };
    let source = EntrySource::Template { template: template.id().clone() };
    if *held.source() != source {
        return false;
    }
    let Ok(renewed) = template.instance(derived.clone(), now) else { return false };
    let (until, renewed) = (held.expires_at(), renewed.expires_at());
    // One that ends with its template is not renewed for ever.
    until < renewed && until.is_none_or(|until| until <= now + template.window() / 2)
}
