//! Registration entries that were made over the admin API.

use marque_registry::{Entry, EntryId};

use crate::Failure;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

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
