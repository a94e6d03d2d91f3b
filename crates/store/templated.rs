//! What templates make, kept within their bounds.

use marque_audit::Event;
use marque_registry::{Entry, EntryId};

use crate::transactions::{AdmitInstance, DropInstance};
use crate::{Failure, Store};

/// What came of an entry that a template made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// It is new.
    Made,
    /// It was there, and has the end that this one has.
    Renewed,
    /// The template has made as many as it may.
    Full,
    /// Another entry has its SPIFFE ID.
    Taken,
}

impl Store {
    /// Keeps what `template` made, if it has made fewer than `limit`, with its leaf; one that is there is renewed without.
    /// One transaction: of any number of replicas at once no more get through than there may be.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn admit_instance(
        &self,
        entry: Entry,
        template: EntryId,
        limit: u32,
        made: Event,
    ) -> Result<Admitted, Failure> {
        self.queue.run(AdmitInstance { entry, template, limit, made }).await
    }

    /// Takes away what a template made, with its leaf; whether it was there.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn drop_instance(&self, id: EntryId, dropped: Event) -> Result<bool, Failure> {
        self.queue.run(DropInstance { id, dropped }).await
    }
}
