//! The log, the authorities and the entries.

use futures::FutureExt;
use futures::future::BoxFuture;
use marque_audit::{Event, Hash, Leaf, LogError, LogStore, StoredCheckpoint};
use marque_authority::{
    AuthorityOrder, AuthorityRecord, AuthorityStore, AuthorityStoreError, OrderRefusal,
};
use marque_registry::{Entry, EntryId, EntryStore, EntryStoreError};
use tokio::sync::watch;

use super::Store;
use crate::Failure;
use crate::reader::unavailable;
use crate::transactions::{
    Append, CHANGES, CreateEntry, DeleteEntry, OrderAuthority, SaveCheckpoint,
};

impl LogStore for Store {
    fn size(&self) -> BoxFuture<'_, Result<u64, LogError>> {
        async move { self.reader.head().await.map(|head| head.size).map_err(unavailable) }.boxed()
    }

    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>> {
        self.reader.leaves(from, limit)
    }

    fn hashes(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Hash>, LogError>> {
        self.reader.hashes(from, limit)
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>> {
        self.reader.checkpoint()
    }

    fn save_checkpoint(&self, checkpoint: StoredCheckpoint) -> BoxFuture<'_, Result<(), LogError>> {
        async move { self.queue.run(SaveCheckpoint { checkpoint }).await.map_err(unavailable) }
            .boxed()
    }

    fn append(&self, event: Event) -> BoxFuture<'_, Result<u64, LogError>> {
        async move {
            self.queue.run(Append { event }).await.map_err(|failure| match failure {
                Failure::Event(error) => LogError::Refused(Box::new(error)),
                other => unavailable(other),
            })
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.shared.size.subscribe()
    }
}

impl AuthorityStore for Store {
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>> {
        async move { self.reader.authorities().await.map_err(AuthorityStoreError::new) }.boxed()
    }

    fn order(
        &self,
        order: AuthorityOrder,
    ) -> BoxFuture<'_, Result<Result<(), OrderRefusal>, AuthorityStoreError>> {
        async move {
            self.queue.run(OrderAuthority { order }).await.map_err(AuthorityStoreError::new)
        }
        .boxed()
    }
}

impl Store {
    /// How often the stored entries were changed, by whichever replica: as long as it is the same they are the same.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn entry_changes(&self) -> Result<u64, EntryStoreError> {
        let (kind, key) = CHANGES;
        let found = self.reader.kept(kind, Some(key), 1).await.map_err(entries)?;
        Ok(found.first().map_or(0, |row| row.version))
    }
}

impl EntryStore for Store {
    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, EntryStoreError>> {
        async move { self.reader.entries().await.map_err(entries) }.boxed()
    }

    fn create(&self, entry: Entry) -> BoxFuture<'_, Result<(), EntryStoreError>> {
        async move {
            let id = entry.id().clone();
            let free = self.queue.run(CreateEntry { entry }).await.map_err(entries)?;
            if free { Ok(()) } else { Err(EntryStoreError::Duplicate(id)) }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a EntryId) -> BoxFuture<'a, Result<bool, EntryStoreError>> {
        async move { self.queue.run(DeleteEntry { id: id.clone() }).await.map_err(entries) }.boxed()
    }
}

fn entries(failure: Failure) -> EntryStoreError {
    match failure {
        Failure::Damaged { table: _, key, source } => {
            EntryStoreError::Unreadable { id: key, source: Box::new(source) }
        }
        other => EntryStoreError::Unavailable(Box::new(other)),
    }
}
