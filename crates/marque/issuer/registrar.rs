//! Registration entries by command: recorded in the log first, then stored, then served.

use std::sync::Arc;

use marque_attest::Fingerprint;
use marque_audit::{Event, EventKind, LogError, LogStore as _};
use marque_registry::EntryStore as _;
use marque_registry::{
    Entry, EntryId, EntrySource, EntryStoreError, NewEntry, Registry, RegistryError, Snapshot,
    TrustDomainDocument,
};
use marque_spiffe::{Clock, Random, RandomError};
use marque_store::Store;
use tokio::sync::Mutex;

use crate::identities::loggable;

/// Adds and removes registration entries.
#[derive(Debug)]
pub struct Registrar {
    registry: Arc<Registry>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Those of the trust domain's folder, which no command changes.
    from_files: Vec<Entry>,
    /// Those that live as long as this process. Held while anything changes, so that the log, the store and the
    /// registry tell the same story.
    for_this_run: Mutex<Vec<Entry>>,
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
        from_files: Vec<Entry>,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, RegistrarError> {
        let registry =
            Registry::new(document, from_files.clone()).map_err(RegistrarError::Refused)?;
        let registry = Arc::new(registry);
        let for_this_run = Mutex::default();
        let registrar = Self { registry, store, clock, random, from_files, for_this_run };
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

    /// Reads all stored entries anew, so that what another replica added or removed is served here too.
    ///
    /// A stored entry that breaks a rule, such as a lifetime that the document has lowered since, is left out and
    /// complained of: it must not keep every other one from being served.
    pub(super) async fn reconcile(&self) -> Result<(), RegistrarError> {
        let for_this_run = self.for_this_run.lock().await;
        let stored = self.store.entries().await.map_err(RegistrarError::Store)?;
        let all = self.from_files.iter().chain(&stored).chain(for_this_run.iter());
        if self.registry.replace_all(all.cloned().collect()).is_ok() {
            return Ok(());
        }
        let document = self.registry.document();
        let fitting =
            Registry::new(document, self.from_files.clone()).map_err(RegistrarError::Refused)?;
        for entry in stored.into_iter().chain(for_this_run.iter().cloned()) {
            let id = entry.id().clone();
            if let Err(error) = fitting.add(entry) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, entry = %id, "left out a stored entry; see `marque entry delete`");
            }
        }
        let fitting =
            fitting.snapshot().entries().iter().map(|entry| entry.as_ref().clone()).collect();
        self.registry.replace_all(fitting).map_err(RegistrarError::Refused)?;
        Ok(())
    }

    /// Adds an entry in the name of `actor`.
    ///
    /// # Errors
    /// When it breaks a rule of the trust domain, or cannot be recorded or stored.
    pub async fn create(&self, new: NewEntry, actor: &str) -> Result<Entry, RegistrarError> {
        let _changing = self.for_this_run.lock().await;
        let entry = self.admit(new, actor).await?;
        if let Err(error) = self.store.create(entry.clone()).await {
            // The log said that it comes; now it says that it did not.
            self.record(EventKind::EntryDeleted, &entry, actor).await?;
            return Err(RegistrarError::Store(error));
        }
        self.registry.add(entry.clone()).map_err(RegistrarError::Refused)?;
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
        let mut for_this_run = self.for_this_run.lock().await;
        let entry = self.admit(new, actor).await?;
        self.registry.add(entry.clone()).map_err(RegistrarError::Refused)?;
        for_this_run.push(entry.clone());
        Ok(entry)
    }

    /// Removes an entry that was added by command, in the name of `actor`. One that is stored and left out may be
    /// removed too.
    ///
    /// # Errors
    /// When there is none, it comes from a file, or the change cannot be recorded or stored.
    pub async fn delete(&self, id: &EntryId, actor: &str) -> Result<(), RegistrarError> {
        let mut for_this_run = self.for_this_run.lock().await;
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
        // The identity ends first: what is stored then decides only whether it stays away.
        self.registry.remove(id).map_err(RegistrarError::Refused)?;
        for_this_run.retain(|entry| entry.id() != id);
        self.record(EventKind::EntryDeleted, &entry, actor).await?;
        self.store.delete(id).await.map_err(RegistrarError::Store)?;
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
        // Selectors may hold what a workload was told in confidence: the log has those that the document allows, and a
        // digest by which the whole set can be told from another.
        let selectors = loggable(&self.registry.document(), entry.selectors());
        let digest = Fingerprint::of(entry.selectors());
        let event = Event::new(kind, self.clock.now())
            .with_agent(entry.spiffe_id().clone())
            .with_actor(actor)
            .with_detail("entry", entry.id().as_str())
            .with_detail("selectors", selectors)
            .with_detail("selectors_sha256", digest.to_string())
            .with_detail("owner", entry.owner());
        self.store.append(event).await.map_err(RegistrarError::Log)?;
        Ok(())
    }
}
