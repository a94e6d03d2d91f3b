use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use marque_spiffe::{SelectorSet, SpiffeId, TrustDomain};
use tokio::sync::watch;

use crate::document::TrustDomainDocument;
use crate::entry::{Entry, EntryId, EntrySource};
use crate::error::RegistryError;
use crate::index::SelectorIndex;
use crate::shared_map::SharedMap;
use crate::template::{Derivation, Template, TemplateRefusal, Templates};

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

/// The entries of one trust domain at one moment, and the document that they fit.
#[derive(Clone)]
pub struct Snapshot {
    revision: u64,
    /// How often the folder was replaced.
    generation: u64,
    document: Arc<TrustDomainDocument>,
    /// In the order of answers.
    entries: Vec<Arc<Entry>>,
    by_id: SharedMap<EntryId, Arc<Entry>>,
    /// In the order of answers; several only where each says that it shares its identity.
    by_spiffe_id: SharedMap<SpiffeId, Vec<Arc<Entry>>>,
    index: SelectorIndex,
    templates: Arc<Templates>,
    /// How many entries each template has made.
    instances: HashMap<EntryId, usize>,
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
        let mut snapshot = Snapshot {
            revision: 1,
            generation: 0,
            document,
            entries: Vec::new(),
            by_id: SharedMap::default(),
            by_spiffe_id: SharedMap::default(),
            index: SelectorIndex::default(),
            templates: Arc::new(Templates::new(templates)?),
            instances: HashMap::default(),
        };
        snapshot.change(&[], entries.into_iter().map(Into::into).collect())?;
        let snapshot = Arc::new(snapshot);
        let (feed, _) = watch::channel(Arc::clone(&snapshot));
        let current = ArcSwap::new(snapshot);
        let also_federated = ArcSwap::default();
        Ok(Self { current, feed, also_federated, changing: Mutex::new(()) })
    }

    /// The trust domain's document right now.
    pub fn document(&self) -> Arc<TrustDomainDocument> {
        Arc::clone(&self.current.load().document)
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
        snapshot.document.check(entry)?;
        snapshot.document.check_federation(entry, &self.also_federated.load())?;
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
        let mut next = Snapshot::clone(&snapshot);
        next.document = document;
        next.templates = Arc::new(Templates::new(templates)?);
        next.generation += 1;
        self.put(next, &gone, new)
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
        // A revision is given once; nothing ever sets it back.
        next.revision += 1;
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

impl Snapshot {
    /// Grows with every change and is never used again within the life of a [`Registry`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How often document and entries were replaced together before this.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The document that the entries fit.
    pub fn document(&self) -> &Arc<TrustDomainDocument> {
        &self.document
    }

    /// The entries earned by these selectors: those whose selectors are a subset of them. The
    /// first is the default identity (WA-8): as written in files, then by age.
    /// An identity that several of them share is there once, as the first of them has it.
    pub fn entries_for(&self, selectors: &SelectorSet) -> Vec<Arc<Entry>> {
        let mut found = self.index.matches(selectors);
        found.retain(|entry| self.stands(entry, selectors));
        if found.iter().filter(|entry| entry.sharing().is_some()).count() > 1 {
            let mut seen = HashSet::new();
            found.retain(|entry| seen.insert(entry.spiffe_id().clone()));
        }
        found
    }

    /// What a template made is nobody's to whom the template would not give it now: a second value of a placeholder
    /// takes it away.
    fn stands(&self, entry: &Entry, caller: &SelectorSet) -> bool {
        let EntrySource::Template { template } = entry.source() else { return true };
        let derived = self.templates.get(template).map(|template| template.derive(caller));
        derived.is_some_and(|made| made.is_ok_and(|made| made.spiffe_id() == entry.spiffe_id()))
    }

    /// The templates, as they are written.
    pub fn templates(&self) -> &[Arc<Template>] {
        self.templates.all()
    }

    /// The template with this id.
    pub fn template(&self, id: &EntryId) -> Option<&Arc<Template>> {
        self.templates.get(id)
    }

    /// What each template whose fixed selectors the caller has would give to it, whether or not that was made yet.
    pub fn derive(&self, selectors: &SelectorSet) -> Vec<Derivation> {
        let mut all = self.templates.derive(selectors);
        for Derivation { template, outcome } in &mut all {
            let holder =
                outcome.as_ref().ok().and_then(|made| self.entry_by_spiffe_id(made.spiffe_id()));
            let own = EntrySource::Template { template: template.id().clone() };
            if let Some(holder) = holder.filter(|holder| *holder.source() != own) {
                *outcome = Err(TemplateRefusal::Taken(holder.id().clone()));
            }
        }
        all
    }

    /// How many entries a template has made that are there.
    pub fn instances_of(&self, template: &EntryId) -> usize {
        self.instances.get(template).copied().unwrap_or_default()
    }

    /// The entry with this id.
    pub fn entry(&self, id: &EntryId) -> Option<&Arc<Entry>> {
        self.by_id.get(id)
    }

    /// The entry that owns this SPIFFE ID; the first in the order of answers where several share it.
    pub fn entry_by_spiffe_id(&self, spiffe_id: &SpiffeId) -> Option<&Arc<Entry>> {
        self.by_spiffe_id.get(spiffe_id)?.first()
    }

    /// The entries with this SPIFFE ID: more than one where they share it.
    pub fn entries_by_spiffe_id(&self, spiffe_id: &SpiffeId) -> &[Arc<Entry>] {
        self.by_spiffe_id.get(spiffe_id).map_or(&[], Vec::as_slice)
    }

    /// All entries, in the order of answers.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The entries in which this snapshot and an older one differ, each as it was and as it is.
    pub fn changed_since(&self, older: &Self) -> Vec<Arc<Entry>> {
        if self.revision == older.revision {
            return Vec::new();
        }
        let (mut gone, new) = differences(&older.entries, &self.entries);
        gone.extend(new);
        gone
    }

    /// What is gone and what is new where these are all entries. One that stays as it is stays the same one: nobody takes
    /// it for changed.
    fn differences_to<E: Into<Arc<Entry>>>(
        &self,
        entries: Vec<E>,
    ) -> (Vec<Arc<Entry>>, Vec<Arc<Entry>>) {
        let mut entries: Vec<Arc<Entry>> = entries
            .into_iter()
            .map(|entry| {
                let entry = entry.into();
                let held = self.entry(entry.id());
                held.filter(|held| Arc::ptr_eq(held, &entry) || **held == entry)
                    .map_or(entry, Arc::clone)
            })
            .collect();
        entries.sort_by(|a, b| a.rank().cmp(&b.rank()));
        differences(&self.entries, &entries)
    }

    /// Takes out what is gone, then puts in what is new.
    fn change(
        &mut self,
        gone: &[Arc<Entry>],
        mut new: Vec<Arc<Entry>>,
    ) -> Result<(), RegistryError> {
        for entry in gone {
            self.by_id.remove(entry.id());
            self.release(entry);
            self.index.remove(entry.id());
            if let EntrySource::Template { template } = entry.source()
                && let Some(count) = self.instances.get_mut(template)
            {
                *count = count.saturating_sub(1);
            }
        }
        let gone: HashSet<*const Entry> = gone.iter().map(Arc::as_ptr).collect();
        self.entries.retain(|entry| !gone.contains(&Arc::as_ptr(entry)));
        new.sort_by(|a, b| a.rank().cmp(&b.rank()));
        for entry in &new {
            self.take_up(entry)?;
        }
        self.list(new);
        Ok(())
    }

    /// Puts an entry everywhere but into the list; where it breaks a rule, nowhere.
    fn take_up(&mut self, entry: &Arc<Entry>) -> Result<(), RegistryError> {
        self.document.check(entry)?;
        self.check_unique(entry)?;
        self.by_id.insert(entry.id().clone(), Arc::clone(entry));
        self.hold(entry);
        self.index.add(entry);
        if let EntrySource::Template { template } = entry.source() {
            *self.instances.entry(template.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Puts what was taken up into the list.
    fn list(&mut self, new: Vec<Arc<Entry>>) {
        match <[Arc<Entry>; 1]>::try_from(new) {
            Ok([one]) => {
                let at = self.entries.partition_point(|entry| entry.rank() < one.rank());
                self.entries.insert(at, one);
            }
            Err(several) => {
                self.entries.extend(several);
                self.entries.sort_by(|a, b| a.rank().cmp(&b.rank()));
            }
        }
    }

    fn hold(&mut self, entry: &Arc<Entry>) {
        let mut holders = self.entries_by_spiffe_id(entry.spiffe_id()).to_vec();
        let at = holders.partition_point(|holder| holder.rank() < entry.rank());
        holders.insert(at, Arc::clone(entry));
        self.by_spiffe_id.insert(entry.spiffe_id().clone(), holders);
    }

    fn release(&mut self, entry: &Entry) {
        let mut holders = self.entries_by_spiffe_id(entry.spiffe_id()).to_vec();
        holders.retain(|holder| holder.id() != entry.id());
        if holders.is_empty() {
            self.by_spiffe_id.remove(entry.spiffe_id());
        } else {
            self.by_spiffe_id.insert(entry.spiffe_id().clone(), holders);
        }
    }

    fn check_unique(&self, entry: &Entry) -> Result<(), RegistryError> {
        if self.by_id.contains_key(entry.id()) {
            return Err(RegistryError::DuplicateId(entry.id().clone()));
        }
        let mut holders = self.entries_by_spiffe_id(entry.spiffe_id()).iter();
        if let Some(holder) = holders.find(|holder| !entry.may_share_with(holder)) {
            let (spiffe_id, holder) = (entry.spiffe_id().clone(), holder.id().clone());
            return Err(RegistryError::DuplicateSpiffeId { spiffe_id, holder });
        }
        if is_instance(entry) {
            return Ok(());
        }
        if self.templates.get(entry.id()).is_some() {
            return Err(RegistryError::DuplicateId(entry.id().clone()));
        }
        if let Some(template) = self.templates.covering(entry.spiffe_id()) {
            let (spiffe_id, template) = (entry.spiffe_id().clone(), template.id().clone());
            return Err(RegistryError::Covered { spiffe_id, template });
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

/// Whether a template made it.
fn is_instance(entry: &Entry) -> bool {
    matches!(entry.source(), EntrySource::Template { .. })
}

/// What is in the one list only and what is in the other only, both in order of rank. The very same
/// entry on both sides is passed over without looking into it.
fn differences(old: &[Arc<Entry>], new: &[Arc<Entry>]) -> (Vec<Arc<Entry>>, Vec<Arc<Entry>>) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return (gone, come),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => {
                old.next();
                new.next();
                continue;
            }
            (Some(a), Some(b)) => a.rank().cmp(&b.rank()),
        };
        if order.is_le() {
            gone.extend(old.next().cloned());
        }
        if order.is_ge() {
            come.extend(new.next().cloned());
        }
    }
}

#[cfg(test)]
mod tests;
