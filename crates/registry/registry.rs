use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use marque_spiffe::{SelectorSet, SpiffeId};
use tokio::sync::watch;

use crate::document::TrustDomainDocument;
use crate::entry::{Entry, EntryId, EntrySource};
use crate::error::RegistryError;
use crate::index::SelectorIndex;

/// The entries of one trust domain, swapped whole on every change.
#[derive(Debug)]
pub struct Registry {
    document: Arc<TrustDomainDocument>,
    current: ArcSwap<Snapshot>,
    feed: watch::Sender<Arc<Snapshot>>,
    /// Held while a change is prepared, so that no two start from the same snapshot.
    changing: Mutex<()>,
}

/// The entries of one trust domain at one moment.
pub struct Snapshot {
    revision: u64,
    entries: Vec<Arc<Entry>>,
    by_id: HashMap<EntryId, Arc<Entry>>,
    by_spiffe_id: HashMap<SpiffeId, Arc<Entry>>,
    index: SelectorIndex,
}

impl Registry {
    /// A registry that starts with these entries.
    ///
    /// # Errors
    /// For the first entry that breaks a rule of the trust domain or repeats an id or SPIFFE ID.
    pub fn new(
        document: Arc<TrustDomainDocument>,
        entries: Vec<Entry>,
    ) -> Result<Self, RegistryError> {
        let entries = entries.into_iter().map(Arc::new).collect();
        let snapshot = Arc::new(Snapshot::build(1, &document, entries)?);
        let (feed, _) = watch::channel(Arc::clone(&snapshot));
        let current = ArcSwap::new(snapshot);
        Ok(Self { document, current, feed, changing: Mutex::new(()) })
    }

    /// The trust domain's document.
    pub fn document(&self) -> &Arc<TrustDomainDocument> {
        &self.document
    }

    /// The entries right now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The change feed: always the newest snapshot, none in between is promised.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.feed.subscribe()
    }

    /// Whether `entry` could be added right now: for asking before it is stored.
    ///
    /// # Errors
    /// As [`Registry::add`].
    pub fn check(&self, entry: &Entry) -> Result<(), RegistryError> {
        self.document.check(entry)?;
        self.snapshot().check_unique(entry)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When it breaks a rule of the trust domain or repeats an id or SPIFFE ID (M 1).
    pub fn add(&self, entry: Entry) -> Result<Arc<Snapshot>, RegistryError> {
        let _changing = self.lock();
        let mut entries = self.snapshot().entries.clone();
        entries.push(Arc::new(entry));
        self.publish(entries)
    }

    /// Removes an entry that came over the admin API; `None` when there is none.
    ///
    /// # Errors
    /// When the entry comes from a file: it would be back at the next start.
    pub fn remove(&self, id: &EntryId) -> Result<Option<Arc<Entry>>, RegistryError> {
        let _changing = self.lock();
        let snapshot = self.snapshot();
        let Some(entry) = snapshot.entry(id) else { return Ok(None) };
        if let EntrySource::File { path, line } = entry.source() {
            let (id, path, line) = (id.clone(), path.clone(), *line);
            return Err(RegistryError::FromFile { id, path, line });
        }
        let removed = Arc::clone(entry);
        let rest = snapshot.entries.iter().filter(|entry| entry.id() != id).cloned().collect();
        self.publish(rest)?;
        Ok(Some(removed))
    }

    /// Replaces all entries, as a reconciler does. When nothing differs, nobody is told.
    ///
    /// # Errors
    /// As [`Registry::new`]; the entries then stay as they are.
    pub fn replace_all(&self, entries: Vec<Entry>) -> Result<Arc<Snapshot>, RegistryError> {
        let _changing = self.lock();
        self.publish(entries.into_iter().map(Arc::new).collect())
    }

    fn publish(&self, entries: Vec<Arc<Entry>>) -> Result<Arc<Snapshot>, RegistryError> {
        let current = self.snapshot();
        // A revision is given once; nothing ever sets it back.
        let next = Snapshot::build(current.revision + 1, &self.document, entries)?;
        if next.entries == current.entries {
            return Ok(current);
        }
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        self.feed.send_replace(Arc::clone(&next));
        Ok(next)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // Nothing is half done when a holder panics: the snapshot is swapped whole.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Grows with every change and is never used again within the life of a [`Registry`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The entries earned by these selectors: those whose selectors are a subset of them. The
    /// first is the default identity (WA-8): as written in files, then by age.
    pub fn entries_for(&self, selectors: &SelectorSet) -> Vec<Arc<Entry>> {
        self.index.matches(&self.entries, selectors)
    }

    /// The entry with this id.
    pub fn entry(&self, id: &EntryId) -> Option<&Arc<Entry>> {
        self.by_id.get(id)
    }

    /// The entry that owns this SPIFFE ID; there is never more than one.
    pub fn entry_by_spiffe_id(&self, spiffe_id: &SpiffeId) -> Option<&Arc<Entry>> {
        self.by_spiffe_id.get(spiffe_id)
    }

    /// All entries, in the order of answers.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    fn build(
        revision: u64,
        document: &TrustDomainDocument,
        mut entries: Vec<Arc<Entry>>,
    ) -> Result<Self, RegistryError> {
        entries.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let mut snapshot = Self {
            revision,
            index: SelectorIndex::new(&entries),
            entries: Vec::new(),
            by_id: HashMap::with_capacity(entries.len()),
            by_spiffe_id: HashMap::with_capacity(entries.len()),
        };
        for entry in &entries {
            document.check(entry)?;
            snapshot.check_unique(entry)?;
            snapshot.by_id.insert(entry.id().clone(), Arc::clone(entry));
            snapshot.by_spiffe_id.insert(entry.spiffe_id().clone(), Arc::clone(entry));
        }
        snapshot.entries = entries;
        Ok(snapshot)
    }

    fn check_unique(&self, entry: &Entry) -> Result<(), RegistryError> {
        if self.by_id.contains_key(entry.id()) {
            return Err(RegistryError::DuplicateId(entry.id().clone()));
        }
        if let Some(holder) = self.by_spiffe_id.get(entry.spiffe_id()) {
            let (spiffe_id, holder) = (entry.spiffe_id().clone(), holder.id().clone());
            return Err(RegistryError::DuplicateSpiffeId { spiffe_id, holder });
        }
        Ok(())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the entries: there may be many, and selectors are not for logs.
        f.debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
