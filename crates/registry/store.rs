use std::error::Error;
use std::fmt;

use futures::future::BoxFuture;

use crate::entry::{Entry, EntryId};

/// Where entries made over the admin API live. Entries from files are never stored.
///
/// Each method is one transaction, durable when it answers.
pub trait EntryStore: fmt::Debug + Send + Sync {
    /// All stored entries.
    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, EntryStoreError>>;

    /// Stores a new entry; one with its id or its SPIFFE ID must not be stored already.
    fn create(&self, entry: Entry) -> BoxFuture<'_, Result<(), EntryStoreError>>;

    /// Deletes an entry; whether it was there.
    fn delete<'a>(&'a self, id: &'a EntryId) -> BoxFuture<'a, Result<bool, EntryStoreError>>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EntryStoreError {
    /// An entry with this id or this SPIFFE ID is stored already.
    #[error("entry `{0}` or its SPIFFE ID exists already")]
    Duplicate(EntryId),
    /// A stored entry no longer reads as one.
    #[error("stored entry `{id}` cannot be read")]
    Unreadable {
        /// The row's id.
        id: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store does not answer.
    #[error("entry store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}
