//! The places of connections, of which there may come to be more or less while they are open; and the limits that say how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::HttpLimits;

/// The limits of HTTP servers, which may change while they serve.
#[derive(Debug, Clone)]
pub struct LiveHttpLimits(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    now: ArcSwap<HttpLimits>,
    changed: Notify,
}

impl From<HttpLimits> for LiveHttpLimits {
    fn from(limits: HttpLimits) -> Self {
        Self(Arc::new(Kept { now: ArcSwap::from_pointee(limits), changed: Notify::new() }))
    }
}

impl LiveHttpLimits {
    /// The limits of now.
    #[must_use]
    pub fn now(&self) -> Arc<HttpLimits> {
        self.0.now.load_full()
    }

    /// Has these limits hold: from the next connection on, and what bounds a request from the next request on.
    pub fn change(&self, limits: HttpLimits) {
        self.0.now.store(Arc::new(limits));
        self.0.changed.notify_waiters();
    }
}

/// The places of one server's connections.
#[derive(Debug)]
pub(super) struct Places {
    limits: LiveHttpLimits,
    taken: AtomicUsize,
    freed: Notify,
}

/// The place of one connection, which is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    pub(super) fn new(limits: LiveHttpLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// Waits for a place. One at a time waits.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            // Before the look, so that nothing that changes after it is missed.
            let changed = self.limits.0.changed.notified();
            if self.taken.load(Ordering::Acquire) < self.limits.now().connections.max(1) {
                self.taken.fetch_add(1, Ordering::AcqRel);
                return Place(Arc::clone(self));
            }
            tokio::select! {
                () = self.freed.notified() => {}
                () = changed => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn limited(connections: usize) -> HttpLimits {
        HttpLimits { connections, ..HttpLimits::default() }
    }

    #[tokio::test]
    async fn there_are_as_many_places_as_the_limit_of_the_moment_says() {
        let limits = LiveHttpLimits::from(limited(2));
        let places = Places::new(limits.clone());
        let (one, two) = (places.take().await, places.take().await);
        let mut waits = Box::pin(places.take());
        assert!(waits.as_mut().now_or_never().is_none());
        limits.change(limited(3));
        let three = waits.now_or_never().expect("a third place");
        limits.change(limited(1));
        drop((one, two));
        assert!(places.take().now_or_never().is_none(), "the third is one already");
        drop(three);
        places.take().now_or_never().expect("a place again");
    }
}
