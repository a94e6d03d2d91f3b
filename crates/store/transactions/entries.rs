//! Registration entries that were made over the admin API or by templates.

use marque_audit::Event;
use marque_registry::{Entry, EntryId};
use serde_json::Value;

use crate::kept::FOR_GOOD;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};
use crate::{Admitted, Failure, Kept};

/// Kind and key of the row whose version rises with every change of the stored entries: who has read all of them learns by
/// it whether there is anything to read again.
pub(crate) const CHANGES: (&str, &str) = ("entries", "changes");

/// Keeps an entry; the answer says whether its id and its SPIFFE ID were free.
#[derive(Debug)]
pub(crate) struct CreateEntry {
    pub(crate) entry: Entry,
}

impl Transaction for CreateEntry {
    type Answer = bool;

    fn keys(&self, keys: &mut Keys) {
        look_at(keys, &self.entry);
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        if view.has_entry(self.entry.id()) || view.has_entry_for(self.entry.spiffe_id()) {
            return Ok(Plan::nothing(false));
        }
        let created_entries = vec![self.entry.clone()];
        Ok(Plan { answer: true, writes: Writes { created_entries, ..changes(view)? } })
    }
}

/// Deletes an entry; the answer says whether it was there.
#[derive(Debug)]
pub(crate) struct DeleteEntry {
    pub(crate) id: EntryId,
}

impl Transaction for DeleteEntry {
    type Answer = bool;

    fn keys(&self, keys: &mut Keys) {
        look_at_id(keys, &self.id);
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        if !view.has_entry(&self.id) {
            return Ok(Plan::nothing(false));
        }
        let deleted_entries = vec![self.id.clone()];
        Ok(Plan { answer: true, writes: Writes { deleted_entries, ..changes(view)? } })
    }
}

/// Keeps what a template made, within the template's bound, or renews it; the leaf says that it came.
#[derive(Debug)]
pub(crate) struct AdmitInstance {
    pub(crate) entry: Entry,
    pub(crate) template: EntryId,
    /// How many the template may have.
    pub(crate) limit: u32,
    pub(crate) made: Event,
}

impl Transaction for AdmitInstance {
    type Answer = Admitted;

    fn keys(&self, keys: &mut Keys) {
        look_at(keys, &self.entry);
        keys.entries.templates.insert(self.template.clone());
    }

    fn plan(&self, view: &View) -> Result<Plan<Admitted>, Failure> {
        let Self { entry, template, limit, made } = self;
        let created_entries = vec![entry.clone()];
        if view.has_entry(entry.id()) {
            let deleted_entries = vec![entry.id().clone()];
            let writes = Writes { deleted_entries, created_entries, ..changes(view)? };
            return Ok(Plan { answer: Admitted::Renewed, writes });
        }
        if view.has_entry_for(entry.spiffe_id()) {
            return Ok(Plan::nothing(Admitted::Taken));
        }
        let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
        if view.instances_of(template) >= limit {
            return Ok(Plan::nothing(Admitted::Full));
        }
        let writes = Writes { created_entries, events: vec![made.clone()], ..changes(view)? };
        Ok(Plan { answer: Admitted::Made, writes })
    }
}

/// Takes away what a template made; the leaf says so where it was there.
#[derive(Debug)]
pub(crate) struct DropInstance {
    pub(crate) id: EntryId,
    pub(crate) dropped: Event,
}

impl Transaction for DropInstance {
    type Answer = bool;

    fn keys(&self, keys: &mut Keys) {
        look_at_id(keys, &self.id);
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        if !view.has_entry(&self.id) {
            return Ok(Plan::nothing(false));
        }
        let deleted_entries = vec![self.id.clone()];
        let events = vec![self.dropped.clone()];
        Ok(Plan { answer: true, writes: Writes { deleted_entries, events, ..changes(view)? } })
    }
}

fn look_at(keys: &mut Keys, entry: &Entry) {
    look_at_id(keys, entry.id());
    keys.entries.spiffe_ids.insert(entry.spiffe_id().clone());
}

fn look_at_id(keys: &mut Keys, id: &EntryId) {
    keys.entries.ids.insert(id.clone());
    let (kind, key) = CHANGES;
    keys.kept.insert((kind.to_owned(), key.to_owned()));
}

/// The next version of the row that tells of changes.
fn changes(view: &View) -> Result<Writes, Failure> {
    let (kind, key) = CHANGES;
    let row = Kept {
        kind: kind.to_owned(),
        key: key.to_owned(),
        version: view.kept(kind, key)?.map_or(0, |row| row.version) + 1,
        until: FOR_GOOD,
        document: Value::Null,
    };
    Ok(Writes { kept: vec![row], ..Writes::default() })
}
