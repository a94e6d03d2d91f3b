//! The entries at one moment, and what they earn.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use marque_spiffe::{SelectorSet, SpiffeId};

use crate::document::TrustDomainDocument;
use crate::entry::{Entry, EntryId, EntrySource};
use crate::error::RegistryError;
use crate::index::SelectorIndex;
use crate::shared_map::SharedMap;
use crate::template::{Derivation, Template, TemplateRefusal, Templates};

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

impl Snapshot {
    /// A first snapshot, of these entries.
    pub(super) fn first(
        document: Arc<TrustDomainDocument>,
        entries: Vec<Arc<Entry>>,
        templates: Vec<Template>,
    ) -> Result<Self, RegistryError> {
        let mut first = Self {
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
        first.change(&[], entries)?;
        Ok(first)
    }

    /// The same entries under another document and other templates.
    pub(super) fn under(
        &self,
        document: Arc<TrustDomainDocument>,
        templates: Vec<Template>,
    ) -> Result<Self, RegistryError> {
        let templates = Arc::new(Templates::new(templates)?);
        Ok(Self { document, templates, generation: self.generation + 1, ..self.clone() })
    }

    /// Counts it as the next one. A revision is given once; nothing ever sets it back.
    pub(super) fn count_revision(&mut self) {
        self.revision += 1;
    }

    /// Grows with every change and is never used again within the life of a [`Registry`](super::Registry).
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
    pub(super) fn differences_to<E: Into<Arc<Entry>>>(
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
    pub(super) fn change(
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
    pub(super) fn take_up(&mut self, entry: &Arc<Entry>) -> Result<(), RegistryError> {
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
    pub(super) fn list(&mut self, new: Vec<Arc<Entry>>) {
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

    pub(super) fn check_unique(&self, entry: &Entry) -> Result<(), RegistryError> {
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
