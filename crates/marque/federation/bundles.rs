//! The present bundles of other trust domains, which new one may take the place of which, and until when each is used.
//!
//! A bundle that was not refreshed for too long is withdrawn: nobody verifies anything with it until it is fetched again.
//! It is still remembered, because what is fetched has to follow it, and because it vouches for its own bundle endpoint
//! (FE-7). Absent: when to look whether one has grown too old (`relationship.rs`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_registry::boundary;
use marque_spiffe::{Bundle, BundleSource, Environment, SequenceError, TrustDomain};
use tokio::sync::watch;

use super::{KeptBundles, end};

/// How many bytes the bundle documents of all other trust domains may have together: they go to workloads in one message
/// with their SVIDs, and gRPC clients take messages of 4 MiB.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The present bundle of each other trust domain.
pub(crate) type Present = Arc<BTreeMap<TrustDomain, Arc<Bundle>>>;

/// The present bundles of other trust domains.
#[derive(Debug)]
pub(crate) struct FederatedBundles {
    environment: Environment,
    /// The newest of each, withdrawn ones included.
    latest: Mutex<BTreeMap<TrustDomain, Latest>>,
    /// Those that are used.
    present: watch::Sender<Present>,
    /// Those of files that may get too old, with when each was seen first.
    first_seen: Mutex<Vec<(Arc<Bundle>, Timestamp)>>,
}

/// The newest bundle of one trust domain.
#[derive(Debug)]
struct Latest {
    bundle: Arc<Bundle>,
    /// When it is withdrawn unless it is refreshed; never, where it came from a file alone.
    until: Option<Timestamp>,
    withdrawn: bool,
}

/// What a bundle that was taken means to those who use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is the one that they have.
    Same,
    /// It is new.
    New,
    /// The one that was withdrawn is used again.
    Again,
}

/// Why a bundle does not take the place of the one before.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedBundle {
    /// It is older, or changed without saying so.
    #[error("the bundle does not follow the one before")]
    Sequence(#[source] SequenceError),
    /// Its authorities are of the other environment.
    #[error("{0}")]
    Boundary(String),
    /// The relationship has ended meanwhile.
    #[error("the relationship has ended")]
    Ended,
    /// Together with the others it would be too much to send to workloads.
    #[error("the bundles of all other trust domains would have {0} bytes, more than {MAX_BYTES}")]
    TooMuch(usize),
}

impl FederatedBundles {
    /// Begins with these, for a trust domain of this environment. They are used without an end, unless
    /// [`Self::use_until`] sets one.
    pub(crate) fn new(
        environment: Environment,
        initial: impl IntoIterator<Item = Arc<Bundle>>,
    ) -> Self {
        let latest: BTreeMap<_, _> = initial
            .into_iter()
            .map(|bundle| {
                let name = bundle.trust_domain().clone();
                (name, Latest { bundle, until: None, withdrawn: false })
            })
            .collect();
        let (present, _) = watch::channel(used(&latest));
        Self { environment, latest: Mutex::new(latest), present, first_seen: Mutex::default() }
    }

    /// Counts the time of what a file holds from when that was seen first: a start or a reload makes no bundle younger.
    pub(super) fn count_from_first_sight(
        &self,
        trust_domain: &TrustDomain,
        kept: &KeptBundles,
        (now, max_staleness): (Timestamp, Duration),
    ) {
        let Some(bundle) = self.latest(trust_domain) else { return };
        // A time that has not come yet is a clock that went back, and nothing to trust a bundle longer for.
        let at = kept.first_seen(&bundle).unwrap_or(now).min(now);
        self.use_until(trust_domain, end(at, max_staleness));
        self.first_seen.lock().unwrap_or_else(PoisonError::into_inner).push((bundle, at));
    }

    /// Keeps when each bundle of a file was seen first. One for which that fails is used all the same, and counts anew at the
    /// next start.
    pub(super) fn keep_first_seen(&self, kept: &KeptBundles) {
        let seen =
            std::mem::take(&mut *self.first_seen.lock().unwrap_or_else(PoisonError::into_inner));
        for (bundle, at) in seen {
            if let Err(error) = kept.see(&bundle, at) {
                let error = &error as &dyn std::error::Error;
                let trust_domain = bundle.trust_domain();
                tracing::error!(%trust_domain, error, "when the bundle of a file was seen first could not be kept");
            }
        }
    }

    /// The present ones, now and after each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Present> {
        self.present.subscribe()
    }

    /// The newest bundle, even where it is withdrawn: to hold the next one against, and to believe its endpoint by.
    pub(super) fn latest(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.all().get(trust_domain).map(|latest| Arc::clone(&latest.bundle))
    }

    /// Puts a bundle in the place of the one before, and says what that changed. It is withdrawn at `until`.
    pub(super) fn replace(
        &self,
        bundle: Arc<Bundle>,
        until: Timestamp,
    ) -> Result<Taken, RefusedBundle> {
        self.put(bundle, Some(until), || true)
    }

    /// [`Self::replace`] where there may be no end, as long as the relationship lasts: [`Self::forget`] waits for it, or it finds
    /// that nothing is wanted any more.
    pub(super) fn put(
        &self,
        bundle: Arc<Bundle>,
        until: Option<Timestamp>,
        lasts: impl FnOnce() -> bool,
    ) -> Result<Taken, RefusedBundle> {
        let name = bundle.trust_domain().clone();
        let across = self.environment.other();
        if bundle.names_environment(across) {
            return Err(RefusedBundle::Boundary(boundary(&name, across)));
        }
        let mut all = self.all();
        if !lasts() {
            return Err(RefusedBundle::Ended);
        }
        let taken = followed_by(&all, &name, &bundle)?;
        all.insert(name, Latest { bundle, until, withdrawn: false });
        if taken != Taken::Same {
            self.present.send_replace(used(&all));
        }
        Ok(taken)
    }

    /// Forgets the bundle: the relationship has ended, and whoever uses it is told at once (FE-8).
    pub(super) fn forget(&self, trust_domain: &TrustDomain) {
        let mut all = self.all();
        if all.remove(trust_domain).is_some_and(|latest| !latest.withdrawn) {
            self.present.send_replace(used(&all));
        }
    }

    /// Whether this bundle might take the place of the one before.
    pub(super) fn check(&self, bundle: &Arc<Bundle>) -> Result<(), RefusedBundle> {
        let across = self.environment.other();
        if bundle.names_environment(across) {
            return Err(RefusedBundle::Boundary(boundary(bundle.trust_domain(), across)));
        }
        followed_by(&self.all(), bundle.trust_domain(), bundle).map(drop)
    }

    /// Sets when the bundle that is there is withdrawn.
    pub(super) fn use_until(&self, trust_domain: &TrustDomain, until: Timestamp) {
        if let Some(latest) = self.all().get_mut(trust_domain) {
            latest.until = Some(until);
        }
    }

    /// When the bundle is to be withdrawn; `None` where there is none, where it is withdrawn already, and where it is used
    /// without an end.
    pub(super) fn ends_at(&self, trust_domain: &TrustDomain) -> Option<Timestamp> {
        let all = self.all();
        all.get(trust_domain).filter(|latest| !latest.withdrawn).and_then(|latest| latest.until)
    }

    /// Withdraws the bundle if its time is over.
    pub(super) fn withdraw_stale(&self, trust_domain: &TrustDomain, now: Timestamp) {
        let mut all = self.all();
        let Some(latest) = all.get_mut(trust_domain) else { return };
        let Some(until) = latest.until.filter(|until| !latest.withdrawn && *until <= now) else {
            return;
        };
        latest.withdrawn = true;
        tracing::error!(
            %trust_domain,
            %until,
            "a bundle was not refreshed for too long and is not used any more: no SVID of that trust domain verifies here"
        );
        self.present.send_replace(used(&all));
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<TrustDomain, Latest>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BundleSource for FederatedBundles {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.present.borrow().get(trust_domain).cloned()
    }
}

fn used(all: &BTreeMap<TrustDomain, Latest>) -> Present {
    let used = all.iter().filter(|(_, latest)| !latest.withdrawn);
    Arc::new(used.map(|(name, latest)| (name.clone(), Arc::clone(&latest.bundle))).collect())
}

/// What it means that this bundle follows those that are there.
fn followed_by(
    all: &BTreeMap<TrustDomain, Latest>,
    name: &TrustDomain,
    bundle: &Arc<Bundle>,
) -> Result<Taken, RefusedBundle> {
    if let Some(before) = all.get(name) {
        bundle.supersedes(&before.bundle).map_err(RefusedBundle::Sequence)?;
        if before.bundle == *bundle {
            return Ok(if before.withdrawn { Taken::Again } else { Taken::Same });
        }
    }
    // Withdrawn ones count: they may come back at any time.
    let others = all.iter().filter(|(other, _)| *other != name);
    let next = others.map(|(_, latest)| &latest.bundle).chain([bundle]);
    let bytes = next.map(|bundle| bundle.to_document().to_string().len()).sum();
    if bytes > MAX_BYTES { Err(RefusedBundle::TooMuch(bytes)) } else { Ok(Taken::New) }
}
