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

/// The places of the connections to one listener, whichever of its servers took them in.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: AtomicUsize,
    freed: Notify,
}

/// The place of one connection, which is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    /// Waits for one of as many places as these limits say. The server of before may wait beside the one that serves now.
    pub(super) async fn take(self: &Arc<Self>, limits: &LiveHttpLimits) -> Place {
        loop {
            // Before the look, so that nothing that changes after it is missed.
            let (changed, freed) = (limits.0.changed.notified(), self.freed.notified());
            let most = limits.now().connections.max(1);
            let one_more = |taken: usize| (taken < most).then_some(taken + 1);
            if self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok() {
                return Place(Arc::clone(self));
            }
            tokio::select! {
                () = freed => {}
                () = changed => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_waiters();
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
        let places = Arc::new(Places::default());
        let (one, two) = (places.take(&limits).await, places.take(&limits).await);
        let mut waits = Box::pin(places.take(&limits));
        assert!(waits.as_mut().now_or_never().is_none());
        limits.change(limited(3));
        let three = waits.now_or_never().expect("a third place");
        limits.change(limited(1));
        drop((one, two));
        assert!(places.take(&limits).now_or_never().is_none(), "the third is one already");
        drop(three);
        places.take(&limits).now_or_never().expect("a place again");
    }

    #[tokio::test]
    async fn a_place_that_is_free_is_for_everybody_who_waits_by_the_limits_of_each() {
        let (one, two) = (LiveHttpLimits::from(limited(1)), LiveHttpLimits::from(limited(2)));
        let places = Arc::new(Places::default());
        let (first, _second) = (places.take(&two).await, places.take(&two).await);
        let (mut by_one, mut by_two) = (Box::pin(places.take(&one)), Box::pin(places.take(&two)));
        assert!(by_one.as_mut().now_or_never().is_none());
        assert!(by_two.as_mut().now_or_never().is_none());
        drop(first);
        assert!(by_one.as_mut().now_or_never().is_none(), "one is taken still");
        by_two.now_or_never().expect("a second place");
    }
}
