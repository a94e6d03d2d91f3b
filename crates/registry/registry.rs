//! The entries of a trust domain as they change.

mod snapshot;

pub use snapshot::Snapshot;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use marque_spiffe::TrustDomain;
use tokio::sync::watch;

use crate::document::TrustDomainDocument;
use crate::entry::{Entry, EntryId, EntrySource};
use crate::error::RegistryError;
use crate::template::Template;

/// The entries of one trust domain, swapped whole on every change. A change costs what it changes: the
/// new snapshot shares the rest with the old.
#[derive(Debug)]
pub struct Registry {
    current: ArcSwap<Snapshot>,
    feed: watch::Sender<Arc<Snapshot>>,
    /// The trust domains beside those of the document that new entries may ask for the bundles of.
    also_federated: ArcSwap<BTreeSet<TrustDomain>>,
    /// Held while a change is prepared, so that no two start from the same snapshot.
    changing: Mutex<()>,
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
        Self::with_templates(document, entries, Vec::new())
    }

    /// As [`Registry::new`], with templates that give more entries.
    ///
    /// # Errors
    /// As [`Registry::new`], and for the first template that breaks a rule of the trust domain, overlaps with another or
    /// may give an entry's SPIFFE ID.
    pub fn with_templates<E: Into<Arc<Entry>>>(
        document: Arc<TrustDomainDocument>,
        entries: Vec<E>,
        templates: Vec<Template>,
    ) -> Result<Self, RegistryError> {
        templates.iter().try_for_each(|template| document.check(template.shape()))?;
        let entries = entries.into_iter().map(Into::into).collect();
        let snapshot = Arc::new(Snapshot::first(document, entries, templates)?);
        let (feed, _) = watch::channel(Arc::clone(&snapshot));
        let current = ArcSwap::new(snapshot);
        let also_federated = ArcSwap::default();
        Ok(Self { current, feed, also_federated, changing: Mutex::new(()) })
    }

    /// The trust domain's document right now.
    pub fn document(&self) -> Arc<TrustDomainDocument> {
        Arc::clone(self.current.load().document())
    }

    /// The entries right now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The change feed: always the newest snapshot, none in between is promised.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.feed.subscribe()
    }

    /// Sets the trust domains that are federated with beside those of the document.
    pub fn also_federate_with(&self, names: BTreeSet<TrustDomain>) {
        self.also_federated.store(Arc::new(names));
    }

    /// Whether `entry` could be added right now: for asking before it is stored.
    ///
    /// # Errors
    /// As [`Registry::add`]; and when it asks for the bundle of a trust domain that is not federated with.
    pub fn check(&self, entry: &Entry) -> Result<(), RegistryError> {
        let snapshot = self.snapshot();
        snapshot.document().check(entry)?;
        snapshot.document().check_federation(entry, &self.also_federated.load())?;
        snapshot.check_unique(entry)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When it breaks a rule of the trust domain or repeats an id or SPIFFE ID (M 1).
    pub fn add(&self, entry: Entry) -> Result<Arc<Snapshot>, RegistryError> {
        let _changing = self.lock();
        self.publish(&[], vec![Arc::new(entry)])
    }

    /// Adds those that break no rule, in one visible step. Gives the others, each with why.
    pub fn add_fitting(&self, entries: Vec<Arc<Entry>>) -> Vec<(Arc<Entry>, RegistryError)> {
        let _changing = self.lock();
        let mut next = Snapshot::clone(&self.snapshot());
        let (mut fitting, mut others) = (Vec::new(), Vec::new());
        for entry in entries {
            match next.take_up(&entry) {
                Ok(()) => fitting.push(entry),
                Err(error) => others.push((entry, error)),
            }
        }
        if !fitting.is_empty() {
            next.list(fitting);
            self.show(next);
        }
        others
    }

    /// Puts in what a template made, in place of what it made of the same SPIFFE ID before.
    ///
    /// # Errors
    /// As [`Registry::add`].
    pub fn put_instance(&self, entry: Entry) -> Result<Arc<Snapshot>, RegistryError> {
        let _changing = self.lock();
        let snapshot = self.snapshot();
        let before = snapshot.entry(entry.id()).filter(|held| held.source() == entry.source());
        let before: Vec<Arc<Entry>> = before.cloned().into_iter().collect();
        self.publish(&before, vec![Arc::new(entry)])
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
        if let EntrySource::Template { template } = entry.source() {
            let (id, template) = (id.clone(), template.clone());
            return Err(RegistryError::FromTemplate { id, template });
        }
        let removed = Arc::clone(entry);
        self.publish(std::slice::from_ref(&removed), Vec::new())?;
        Ok(Some(removed))
    }

    /// Replaces all entries, as a reconciler does. When nothing differs, nobody is told.
    ///
    /// # Errors
    /// As [`Registry::new`]; the entries then stay as they are.
    pub fn replace_all<E: Into<Arc<Entry>>>(
        &self,
        entries: Vec<E>,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let _changing = self.lock();
        let snapshot = self.snapshot();
        let (gone, new) = snapshot.differences_to(entries);
        if gone.is_empty() && new.is_empty() {
            return Ok(snapshot);
        }
        self.publish(&gone, new)
    }

    /// Replaces the document, all entries and the templates in one visible step: nobody ever sees the one with the other's. Every entry is
    /// held against the new document, those that stay too.
    ///
    /// # Errors
    /// As [`Registry::new`]; document and entries then stay as they are.
    pub fn replace_folder<E: Into<Arc<Entry>>>(
        &self,
        document: Arc<TrustDomainDocument>,
        (entries, templates): (Vec<E>, Vec<Template>),
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let _changing = self.lock();
        let snapshot = self.snapshot();
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Into::into).collect();
        entries.iter().try_for_each(|entry| document.check(entry))?;
        templates.iter().try_for_each(|template| document.check(template.shape()))?;
        let (gone, new) = snapshot.differences_to(entries);
        self.put(snapshot.under(document, templates)?, &gone, new)
    }

    fn publish(
        &self,
        gone: &[Arc<Entry>],
        new: Vec<Arc<Entry>>,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        self.put(Snapshot::clone(&self.snapshot()), gone, new)
    }

    /// Puts what `next` becomes in the place of what is there.
    fn put(
        &self,
        mut next: Snapshot,
        gone: &[Arc<Entry>],
        new: Vec<Arc<Entry>>,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        next.change(gone, new)?;
        Ok(self.show(next))
    }

    fn show(&self, mut next: Snapshot) -> Arc<Snapshot> {
        next.count_revision();
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        self.feed.send_replace(Arc::clone(&next));
        next
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // Nothing is half done when a holder panics: the snapshot is swapped whole.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
