//! Registration entries and the identities that they give, as operators reach them.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_registry::{Entry, EntryId, NewEntry, Snapshot};
use marque_spiffe::{SelectorSet, SpiffeId};

use super::{AdminError, Operator};
use crate::identities::{Denials, SharedIdentities};

/// The registration entries, and who has the identities that they give.
pub trait EntryDoor {
    /// The registration entries.
    fn registry(&self) -> Arc<Snapshot>;

    /// The agents that these selectors attest as, in every trust domain that this process serves: an agent of one is no
    /// operator of another.
    fn agents_for(&self, selectors: &SelectorSet) -> Vec<SpiffeId>;

    /// Adds an entry.
    fn create_entry(
        &self,
        entry: NewEntry,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<Entry>, AdminError>>;

    /// Removes an entry that an operator added.
    fn delete_entry(
        &self,
        id: EntryId,
        operator: Operator,
    ) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Which identities are shared.
    fn sharing(&self) -> Arc<SharedIdentities>;

    /// Whom the doors of the trust domain refused lately.
    fn denials(&self) -> Arc<Denials>;
}
