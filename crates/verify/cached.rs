//! One document of the issuer, kept for a while: fetched by one caller at a time, not too often, and not believed for ever.
//!
//! Deliberately absent: a task that runs all the time. Whoever needs the document has it fetched when its time has come.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

use crate::{Clock, Outage};

/// How long a document is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// After this age it is fetched again at its next use; meanwhile, and while that fails, the old one is good.
    pub refresh_after: Duration,
    /// After this age it is good for nothing: whoever needs it gets a refusal.
    pub stale_after: Duration,
}

/// A document that was fetched, and how long it is good.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    pub(crate) document: T,
    pub(crate) freshness: Freshness,
}

#[derive(Debug)]
pub(crate) struct Cached<T> {
    state: RwLock<State<T>>,
    /// Held by the one who fetches.
    turn: Arc<Mutex<()>>,
    /// The least time between two attempts to fetch it.
    retry_after: Duration,
    /// Tells when an attempt ended, which may be long after the request that it is for.
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct State<T> {
    held: Option<Held<T>>,
    /// When the last attempt ended, and whether it failed.
    tried: Option<(Timestamp, bool)>,
}

#[derive(Debug)]
struct Held<T> {
    document: Arc<T>,
    freshness: Freshness,
    fetched: Timestamp,
}

impl<T: Send + Sync + 'static> Cached<T> {
    pub(crate) fn new(retry_after: Duration, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = RwLock::new(State { held: None, tried: None });
        Arc::new(Self { state, turn: Arc::default(), retry_after, clock })
    }

    /// The document, brought by `load` where there is none or its time has come.
    pub(crate) async fn get<F>(
        self: &Arc<Self>,
        now: Timestamp,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<T>, Outage>
    where
        F: Future<Output = Result<Loaded<T>, Outage>> + Send + 'static,
    {
        if let Some((document, fresh)) = self.good(now) {
            // Nobody waits for a newer one while the old one is good.
            if !fresh && let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
                drop(self.begin(turn, now, load));
            }
            return Ok(document);
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        match self.good(now) {
            Some((document, _fresh)) => Ok(document),
            None => ended(self.begin(turn, now, load)).await,
        }
    }

    /// A newer document than `known`, for a caller who misses something in that one: what came meanwhile, or what
    /// `load` brings. `None` where the last attempt is too young and brought nothing else.
    pub(crate) async fn newer<F>(
        self: &Arc<Self>,
        known: &Arc<T>,
        now: Timestamp,
        load: impl FnOnce() -> F,
    ) -> Result<Option<Arc<T>>, Outage>
    where
        F: Future<Output = Result<Loaded<T>, Outage>> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some((document, _)) = self.good(now).filter(|(good, _)| !Arc::ptr_eq(good, known)) {
            return Ok(Some(document));
        }
        match self.tried_lately() {
            Some(false) => Ok(None),
            Some(true) | None => ended(self.begin(turn, now, load)).await.map(Some),
        }
    }

    /// Whether there is a document that is not too old.
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.good(now).is_some()
    }

    /// Begins to fetch, if no attempt failed lately. It goes on when the caller goes away, so that nobody can keep the
    /// document from coming by asking for it and leaving.
    fn begin<F>(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        now: Timestamp,
        load: impl FnOnce() -> F,
    ) -> Option<JoinHandle<Result<Arc<T>, Outage>>>
    where
        F: Future<Output = Result<Loaded<T>, Outage>> + Send + 'static,
    {
        if self.tried_lately() == Some(true) {
            return None;
        }
        let (cached, load) = (Arc::clone(self), load());
        Some(tokio::spawn(async move {
            // What is too old when it comes is no document, or everybody would fetch it anew.
            let loaded = load.await.and_then(|loaded| match loaded.freshness.stale_after {
                Duration::ZERO => Err(Outage::Document),
                _ => Ok(loaded),
            });
            let ended = cached.clock.now();
            cached.write(|state| state.tried = Some((ended, loaded.is_err())));
            let Loaded { document, freshness } = loaded?;
            let document = Arc::new(document);
            let held = Held { document: Arc::clone(&document), freshness, fetched: now };
            cached.write(|state| state.held = Some(held));
            drop(turn);
            Ok(document)
        }))
    }

    /// Whether the last attempt failed, unless it is so long ago that there may be another.
    fn tried_lately(&self) -> Option<bool> {
        let (at, failed) = self.read(|state| state.tried)?;
        within(at, self.clock.now(), self.retry_after).then_some(failed)
    }

    /// The document, if it is not too old, and whether it is so young that nobody has to fetch it again.
    fn good(&self, now: Timestamp) -> Option<(Arc<T>, bool)> {
        self.read(|state| {
            let held = state.held.as_ref()?;
            let Freshness { refresh_after, stale_after, .. } = held.freshness;
            within(held.fetched, now, stale_after)
                .then(|| (Arc::clone(&held.document), within(held.fetched, now, refresh_after)))
        })
    }

    fn read<R>(&self, look: impl FnOnce(&State<T>) -> R) -> R {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn ended<T>(task: Option<JoinHandle<Result<Arc<T>, Outage>>>) -> Result<Arc<T>, Outage> {
    match task {
        Some(task) => task.await.unwrap_or(Err(Outage::Unreachable)),
        None => Err(Outage::Unreachable),
    }
}

/// Whether `now` is less than `span` after `then`, and not before it: a clock that stepped back proves no freshness.
fn within(then: Timestamp, now: Timestamp, span: Duration) -> bool {
    let age = now.duration_since(then);
    !age.is_negative() && SignedDuration::try_from(span).is_ok_and(|span| age < span)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_893_456_000, 0);
    const RETRY: Duration = Duration::from_secs(10);

    /// A clock that a fetch can move, and how many fetches there were.
    #[derive(Debug)]
    struct Scene {
        now: RwLock<Timestamp>,
        fetches: AtomicUsize,
    }

    impl Clock for Scene {
        fn now(&self) -> Timestamp {
            *self.now.read().unwrap()
        }
    }

    impl Scene {
        fn begin() -> (Arc<Self>, Arc<Cached<u8>>) {
            let scene = Arc::new(Self { now: RwLock::new(NOW), fetches: AtomicUsize::new(0) });
            let cached = Cached::new(RETRY, Arc::clone(&scene) as _);
            (scene, cached)
        }

        fn pass(&self, seconds: u64) {
            let mut now = self.now.write().unwrap();
            *now = now.checked_add(Duration::from_secs(seconds)).unwrap();
        }

        /// Asks now for what a fetch of so many seconds brings, good for so many more.
        async fn ask(
            self: &Arc<Self>,
            cached: &Arc<Cached<u8>>,
            takes: u64,
            brings: Result<u64, Outage>,
        ) -> Result<Arc<u8>, Outage> {
            let scene = Arc::clone(self);
            let load = move || {
                let scene = Arc::clone(&scene);
                async move {
                    scene.fetches.fetch_add(1, Ordering::Relaxed);
                    scene.pass(takes);
                    let stale_after = Duration::from_secs(brings?);
                    let freshness = Freshness { refresh_after: stale_after, stale_after };
                    Ok(Loaded { document: 7, freshness })
                }
            };
            cached.get(self.now(), load).await
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn after_an_attempt_that_took_long_nobody_tries_again_at_once() {
        let (scene, cached) = Scene::begin();
        let failed = Err(Outage::Unreachable);
        assert!(scene.ask(&cached, 20, failed).await.is_err());
        assert!(scene.ask(&cached, 20, failed).await.is_err());
        scene.pass(9);
        assert!(scene.ask(&cached, 20, failed).await.is_err());
        assert_eq!(scene.fetches(), 1, "it ended nine seconds ago");
        scene.pass(1);
        assert!(scene.ask(&cached, 20, failed).await.is_err());
        assert_eq!(scene.fetches(), 2);
    }

    #[tokio::test]
    async fn a_document_that_is_too_old_when_it_comes_is_none_and_is_not_asked_for_at_once_again() {
        let (scene, cached) = Scene::begin();
        for outage in [Outage::Document, Outage::Unreachable, Outage::Unreachable] {
            assert_eq!(scene.ask(&cached, 0, Ok(0)).await.unwrap_err(), outage);
            scene.pass(3);
        }
        assert_eq!(scene.fetches(), 1);
        scene.pass(1);
        assert!(scene.ask(&cached, 0, Ok(1)).await.is_ok());
        assert_eq!(scene.fetches(), 2);
    }
}
