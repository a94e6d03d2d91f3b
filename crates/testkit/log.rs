//! A log in memory, unsigned.

use std::sync::{Mutex, PoisonError};

use futures::future::{BoxFuture, ready};
use marque_audit::{Event, Leaf, LogError, LogStore, StoredCheckpoint};
use marque_spiffe::TrustDomain;
use tokio::sync::watch;

/// Leaves of one trust domain, recorded when they happened.
#[derive(Debug)]
pub struct MemoryLog {
    trust_domain: TrustDomain,
    leaves: Mutex<Vec<Leaf>>,
    size: watch::Sender<u64>,
}

impl MemoryLog {
    /// An empty log.
    ///
    /// # Panics
    /// When the name is not that of a trust domain.
    #[must_use]
    pub fn of(trust_domain: &str) -> Self {
        Self {
            trust_domain: trust_domain.parse().expect("the name of a trust domain"),
            leaves: Mutex::default(),
            size: watch::Sender::new(0),
        }
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().iter().map(|leaf| leaf.event().clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Leaf>> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogStore for MemoryLog {
    fn size(&self) -> BoxFuture<'_, Result<u64, LogError>> {
        Box::pin(ready(Ok(*self.size.borrow())))
    }

    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>> {
        let from = usize::try_from(from).expect("a place in memory");
        let page = self.lock().iter().skip(from).take(limit).cloned().collect();
        Box::pin(ready(Ok(page)))
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>> {
        Box::pin(ready(Ok(None)))
    }

    fn save_checkpoint(
        &self,
        _checkpoint: StoredCheckpoint,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(ready(Ok(())))
    }

    fn append(&self, event: Event) -> BoxFuture<'_, Result<u64, LogError>> {
        let mut leaves = self.lock();
        let seq = leaves.len() as u64;
        let recorded = event.time;
        leaves.push(Leaf::seal(event, &self.trust_domain, seq, recorded).expect("a leaf"));
        self.size.send_replace(seq + 1);
        Box::pin(ready(Ok(seq)))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }
}
