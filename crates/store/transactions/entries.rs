//! Registration entries that were made over the admin API or by templates.

use marque_audit::Event;
use marque_registry::{Entry, EntryId};

use crate::transaction::{Keys, Plan, Transaction, View, Writes};
use crate::{Admitted, Failure};

/// Keeps an entry; the answer says whether its id and its SPIFFE ID were free.
#[derive(Debug)]
pub(crate) struct CreateEntry {
    pub(crate) entry: Entry,
}

impl Transaction for CreateEntry {
    type Answer = bool;

    fn keys(&self, keys: &mut Keys) {
        keys.entries = true;
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        if view.has_entry(self.entry.id().as_str()) || view.has_entry_for(self.entry.spiffe_id()) {
            return Ok(Plan::nothing(false));
        }
        let writes = Writes { created_entries: vec![self.entry.clone()], ..Writes::default() };
        Ok(Plan { answer: true, writes })
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
        keys.entries = true;
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        if !view.has_entry(self.id.as_str()) {
            return Ok(Plan::nothing(false));
        }
        let writes = Writes { deleted_entries: vec![self.id.clone()], ..Writes::default() };
        Ok(Plan { answer: true, writes })
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
        keys.entries = true;
    }

    fn plan(&self, view: &View) -> Result<Plan<Admitted>, Failure> {
        let Self { entry, template, limit, made } = self;
        let created_entries = vec![entry.clone()];
        if view.has_entry(entry.id().as_str()) {
            let deleted_entries = vec![entry.id().clone()];
            let writes = Writes { deleted_entries, created_entries, ..Writes::default() };
            return Ok(Plan { answer: Admitted::Renewed, writes });
        }
        if view.has_entry_for(entry.spiffe_id()) {
            return Ok(Plan::nothing(Admitted::Taken));
        }
        let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
        if view.instances_of(template) >= limit {
            return Ok(Plan::nothing(Admitted::Full));
        }
        let writes = Writes { created_entries, events: vec![made.clone()], ..Writes::default() };
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
        keys.entries = true;
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        if !view.has_entry(self.id.as_str()) {
            return Ok(Plan::nothing(false));
        }
        let deleted_entries = vec![self.id.clone()];
        let events = vec![self.dropped.clone()];
        Ok(Plan { answer: true, writes: Writes { deleted_entries, events, ..Writes::default() } })
    }
}
