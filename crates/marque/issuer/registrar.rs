//! Registration entries by command: recorded in the log first, then stored, then served.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use marque_attest::Fingerprint;
use marque_audit::{Event, EventKind, LogError, LogStore as _};
use marque_registry::EntryStore as _;
use marque_registry::{
    Entry, EntryId, EntrySource, EntryStoreError, NewEntry, Registry, RegistryError, Snapshot,
    Template, TrustDomainDocument,
};
use marque_spiffe::{Clock, Random, RandomError};
use marque_store::Store;
use tokio::sync::{Mutex, MutexGuard};

use crate::identities::loggable;

mod templated;
#[cfg(test)]
mod tests;

use templated::{DROPPED_AT_ONCE, Told};

/// Adds and removes registration entries.
#[derive(Debug)]
pub struct Registrar {
    registry: Arc<Registry>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Held while anything changes, so that the log, the store and the registry tell the same story.
    held: Mutex<Held>,
    /// Which templates were said to have given as many as they may.
    told: Told,
}

/// What no store has.
#[derive(Debug)]
struct Held {
    /// Those of the trust domain's folder, which no command changes.
    from_files: Vec<Arc<Entry>>,
    templates: Vec<Template>,
    /// Those that live as long as this process.
    for_this_run: Vec<Arc<Entry>>,
    /// What is known of the stored ones; nothing where they are to be read anew in any case.
    stored: Option<Stored>,
    /// Those that broke a rule when they were read, which operators have been told.
    left_out: BTreeSet<EntryId>,
}

/// What is known of the stored entries.
#[derive(Debug)]
struct Stored {
    /// How often they had been changed when they were read.
    changes: u64,
    /// When the first of those ends that templates made.
    first_end: Option<Timestamp>,
}

/// A folder's document and entries in the place of those before, ready to be put there. Nothing else changes meanwhile.
#[derive(Debug)]
pub(super) struct FolderChange<'a> {
    registry: &'a Registry,
    held: MutexGuard<'a, Held>,
    document: Arc<TrustDomainDocument>,
    from_files: Vec<Arc<Entry>>,
    templates: Vec<Template>,
    all: Vec<Arc<Entry>>,
}

/// Why an entry was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    /// The entry breaks a rule.
    #[error("the entry is refused")]
    Refused(#[source] RegistryError),
    /// There is no such entry.
    #[error("no such entry")]
    NotFound,
    /// The entry could not be stored.
    #[error("store the entry")]
    Store(#[source] EntryStoreError),
    /// The change could not be recorded, so it was not made.
    #[error("record the change in the log")]
    Log(#[source] LogError),
    /// Entries that were added by command do not fit a folder.
    #[error("entries that were added by command do not fit the folder")]
    Unfitting(Vec<(EntryId, RegistryError)>),
    /// No random number for the entry's id.
    #[error("choose an id for the entry")]
    Random(#[source] RandomError),
}

impl Registrar {
    /// A registrar over the entries of the trust domain's folder and those in the store.
    ///
    /// # Errors
    /// When an entry of the folder breaks a rule, or the store cannot be read.
    pub(super) async fn open(
        document: Arc<TrustDomainDocument>,
        (from_files, templates): (Vec<Entry>, Vec<Template>),
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, RegistrarError> {
        let from_files: Vec<Arc<Entry>> = from_files.into_iter().map(Arc::new).collect();
        let registry = Registry::with_templates(document, from_files.clone(), templates.clone())
            .map_err(RegistrarError::Refused)?;
        let registry = Arc::new(registry);
        let (for_this_run, stored, left_out) = (Vec::new(), None, BTreeSet::new());
        let held = Held { from_files, templates, for_this_run, stored, left_out };
        let (held, told) = (Mutex::new(held), Told::default());
        let registrar = Self { registry, store, clock, random, told, held };
        registrar.reconcile().await?;
        Ok(registrar)
    }

    /// The entries now.
    #[must_use]
    pub fn entries(&self) -> Arc<Snapshot> {
        self.registry.snapshot()
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Reads all stored entries anew where another replica added or removed some, so that they are served here too, and where
    /// some of templates are over.
    ///
    /// A stored entry that breaks a rule, such as a lifetime that the document has lowered since, is left out and
    /// complained of: it must not keep every other one from being served.
    pub(super) async fn reconcile(&self) -> Result<(), RegistrarError> {
        let mut held = self.held.lock().await;
        // Looked at before they are read: what changes meanwhile is read the next time.
        let changes = self.store.entry_changes().await.map_err(RegistrarError::Store)?;
        let now = self.clock.now();
        let as_before = held.stored.as_ref().is_some_and(|stored| {
            stored.changes == changes && stored.first_end.is_none_or(|end| now < end)
        });
        if as_before {
            return Ok(());
        }
        held.stored = None;
        let stored = self.store.entries().await.map_err(RegistrarError::Store)?;
        let first_end = first_end_after(now, &stored);
        let (stored, over) = self.as_templates_are(stored, self.entries().templates());
        held.left_out = self.serve(&held, stored)?;
        let dropped = self.drop_over(&over).await?;
        if over.len() <= DROPPED_AT_ONCE {
            held.stored = Some(Stored { changes, first_end });
            self.note_own_changes(&mut held, dropped, None).await;
        }
        Ok(())
    }

    /// Serves those of the folder, these and those of this run, but for what does not fit, which it gives.
    fn serve(&self, held: &Held, stored: Vec<Entry>) -> Result<BTreeSet<EntryId>, RegistrarError> {
        let Held { from_files, templates, for_this_run, stored: _, left_out: told } = held;
        let by_command = stored.into_iter().map(Arc::new).chain(for_this_run.iter().cloned());
        let by_command: Vec<Arc<Entry>> = by_command.collect();
        let all: Vec<Arc<Entry>> = from_files.iter().chain(&by_command).cloned().collect();
        if self.registry.replace_all(all).is_ok() {
            return Ok(BTreeSet::new());
        }
        let document = self.registry.document();
        let (entries, templates) = (from_files.clone(), templates.clone());
        let fitting = Registry::with_templates(document, entries, templates)
            .map_err(RegistrarError::Refused)?;
        let mut left_out = BTreeSet::new();
        for (entry, error) in fitting.add_fitting(by_command) {
            if !told.contains(entry.id()) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, entry = %entry.id(), "left out a stored entry; see `marque entry delete`");
            }
            left_out.insert(entry.id().clone());
        }
        let fitting = fitting.snapshot().entries().to_vec();
        self.registry.replace_all(fitting).map_err(RegistrarError::Refused)?;
        Ok(left_out)
    }

    /// After so many changes of the stored entries by this process, which it serves already: if nobody else made any, nothing
    /// is read anew before `end`.
    async fn note_own_changes(&self, held: &mut Held, own: u64, end: Option<Timestamp>) {
        if own > 0 && !held.left_out.is_empty() {
            // What was left out may fit when others go.
            held.stored = None;
        }
        let Some(stored) = &mut held.stored else { return };
        stored.first_end = stored.first_end.into_iter().chain(end).min();
        let now_at = self.store.entry_changes().await.ok();
        if now_at.is_some_and(|now_at| now_at == stored.changes + own) {
            stored.changes += own;
        }
    }

    /// Holds a folder's document and entries beside the entries that were added by command, which go on. Nothing is changed
    /// before [`FolderChange::make`], and nothing else changes as long as what this gives is there.
    ///
    /// # Errors
    /// [`RegistrarError::Unfitting`] where they do not go together, and where the store cannot be read.
    pub(super) async fn begin(
        &self,
        document: Arc<TrustDomainDocument>,
        (from_files, templates): (Vec<Entry>, Vec<Template>),
    ) -> Result<FolderChange<'_>, RegistrarError> {
        let held = self.held.lock().await;
        let stored = self.store.entries().await.map_err(RegistrarError::Store)?;
        let from_files: Vec<Arc<Entry>> = from_files.into_iter().map(Arc::new).collect();
        let (entries, made_by) = (from_files.clone(), templates.clone());
        let fitting = Registry::with_templates(Arc::clone(&document), entries, made_by);
        let fitting = fitting.map_err(RegistrarError::Refused)?;
        // What a template made goes with it: the next look at the store drops it.
        let (stored, _over) = self.as_templates_are(stored, fitting.snapshot().templates());
        let by_command = stored.into_iter().map(Arc::new).chain(held.for_this_run.iter().cloned());
        let mut unfitting = fitting.add_fitting(by_command.collect());
        // One that was left out before is no reason now: it stays out.
        let served = self.registry.snapshot();
        unfitting.retain(|(entry, _)| served.entry(entry.id()).is_some());
        if !unfitting.is_empty() {
            let named = unfitting.into_iter().map(|(entry, error)| (entry.id().clone(), error));
            return Err(RegistrarError::Unfitting(named.collect()));
        }
        let all = fitting.snapshot().entries().to_vec();
        Ok(FolderChange { registry: &self.registry, held, document, from_files, templates, all })
    }

    /// Adds an entry in the name of `actor`.
    ///
    /// # Errors
    /// When it breaks a rule of the trust domain, or cannot be recorded or stored.
    pub async fn create(&self, new: NewEntry, actor: &str) -> Result<Entry, RegistrarError> {
        let mut held = self.held.lock().await;
        let entry = self.admit(new, actor).await?;
        if let Err(error) = self.store.create(entry.clone()).await {
            // The log said that it comes; now it says that it did not.
            self.record(EventKind::EntryDeleted, &entry, actor).await?;
            return Err(RegistrarError::Store(error));
        }
        self.registry.add(entry.clone()).map_err(RegistrarError::Refused)?;
        self.note_own_changes(&mut held, 1, None).await;
        Ok(entry)
    }

    /// Adds an entry that lives as long as this process and is not stored: `marque dev --agent`.
    ///
    /// # Errors
    /// As [`Registrar::create`].
    pub async fn create_for_this_run(
        &self,
        new: NewEntry,
        actor: &str,
    ) -> Result<Entry, RegistrarError> {
        let mut held = self.held.lock().await;
        let entry = self.admit(new, actor).await?;
        self.registry.add(entry.clone()).map_err(RegistrarError::Refused)?;
        held.for_this_run.push(Arc::new(entry.clone()));
        Ok(entry)
    }

    /// Removes an entry that was added by command, in the name of `actor`. One that is stored and left out may be
    /// removed too.
    ///
    /// # Errors
    /// When there is none, it comes from a file, or the change cannot be recorded or stored.
    pub async fn delete(&self, id: &EntryId, actor: &str) -> Result<(), RegistrarError> {
        let mut held = self.held.lock().await;
        let snapshot = self.registry.snapshot();
        let entry = match snapshot.entry(id) {
            Some(entry) => entry.as_ref().clone(),
            None => {
                let stored = self.store.entries().await.map_err(RegistrarError::Store)?;
                stored.into_iter().find(|entry| entry.id() == id).ok_or(RegistrarError::NotFound)?
            }
        };
        if let EntrySource::File { path, line } = entry.source() {
            let (id, path, line) = (id.clone(), path.clone(), *line);
            return Err(RegistrarError::Refused(RegistryError::FromFile { id, path, line }));
        }
        if let EntrySource::Template { template } = entry.source() {
            let (id, template) = (id.clone(), template.clone());
            return Err(RegistrarError::Refused(RegistryError::FromTemplate { id, template }));
        }
        // The identity ends first: what is stored then decides only whether it stays away.
        self.registry.remove(id).map_err(RegistrarError::Refused)?;
        held.for_this_run.retain(|entry| entry.id() != id);
        self.record(EventKind::EntryDeleted, &entry, actor).await?;
        let deleted = self.store.delete(id).await.map_err(RegistrarError::Store)?;
        self.note_own_changes(&mut held, u64::from(deleted), None).await;
        Ok(())
    }

    /// Gives the entry an id, checks it against the others, and records that it comes.
    async fn admit(&self, new: NewEntry, actor: &str) -> Result<Entry, RegistrarError> {
        let mut random = [0; 10];
        self.random.fill(&mut random).map_err(RegistrarError::Random)?;
        let id = EntryId::generate(self.clock.now(), &random);
        let entry = new.into_entry(id, EntrySource::Admin).map_err(RegistrarError::Refused)?;
        self.registry.check(&entry).map_err(RegistrarError::Refused)?;
        self.record(EventKind::EntryCreated, &entry, actor).await?;
        Ok(entry)
    }

    async fn record(
        &self,
        kind: EventKind,
        entry: &Entry,
        actor: &str,
    ) -> Result<(), RegistrarError> {
        let event = self.event(kind, entry).with_actor(actor);
        self.store.append(event).await.map_err(RegistrarError::Log)?;
        Ok(())
    }

    fn event(&self, kind: EventKind, entry: &Entry) -> Event {
        // Selectors may hold what a workload was told in confidence: the log has those that the document allows, and a
        // digest by which the whole set can be told from another.
        let selectors = loggable(&self.registry.document(), entry.selectors());
        let digest = Fingerprint::of(entry.selectors());
        Event::new(kind, self.clock.now())
            .with_agent(entry.spiffe_id().clone())
            .with_detail("entry", entry.id().as_str())
            .with_detail("selectors", selectors)
            .with_detail("selectors_sha256", digest.to_string())
            .with_detail("owner", entry.owner())
    }
}

impl FolderChange<'_> {
    /// Puts them there, in one visible step.
    ///
    /// # Errors
    /// They do not go together, which was looked at before; everything is as it was then.
    pub(super) fn make(mut self) -> Result<(), RegistryError> {
        self.registry.replace_folder(self.document, (self.all, self.templates.clone()))?;
        (self.held.from_files, self.held.templates) = (self.from_files, self.templates);
        // What these templates make of the stored ones may differ, and what was left out may fit.
        self.held.stored = None;
        Ok(())
    }
}

/// When the first of these entries ends, among those of templates that have not ended yet.
fn first_end_after(now: Timestamp, stored: &[Entry]) -> Option<Timestamp> {
    let made = stored.iter().filter(|entry| matches!(entry.source(), EntrySource::Template { .. }));
    made.filter_map(Entry::expires_at).filter(|end| *end > now).min()
}
