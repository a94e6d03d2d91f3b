use std::fmt;
use std::sync::Arc;

use marque_spiffe::{Bundle, SelectorSet};
use tokio::sync::watch;

use crate::entitlement::{first_end, require_entitled};
use crate::error::WorkloadError;
use crate::state::IssuerState;
use crate::workload::Shared;
use crate::x509::same_authorities;

/// The full state of the bundles that a caller may use.
#[derive(Debug, Clone)]
pub struct BundleUpdate {
    /// The bundle of the own trust domain.
    pub own: Arc<Bundle>,
    /// The bundles of other trust domains.
    pub federated: Vec<Arc<Bundle>>,
    /// The kill epoch that this state takes into account.
    pub epoch: u64,
}

/// Which authorities a caller shows interest in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleProfile {
    /// Of X.509-SVIDs.
    X509,
    /// Of JWT-SVIDs.
    Jwt,
}

/// A caller's stream of bundles, for FetchX509Bundles and FetchJWTBundles. It keeps nothing
/// pending, as [`crate::X509Subscription`].
pub struct BundleSubscription {
    shared: Arc<Shared>,
    state: watch::Receiver<Arc<IssuerState>>,
    selectors: SelectorSet,
    profile: Option<BundleProfile>,
    last: Option<BundleUpdate>,
    ended: bool,
}

impl BundleSubscription {
    pub(crate) fn new(shared: Arc<Shared>, selectors: SelectorSet) -> Self {
        let state = shared.subscribe();
        Self { shared, state, selectors, profile: None, last: None, ended: false }
    }

    /// Leaves out updates in which only authorities of another profile changed.
    #[must_use]
    pub fn only(mut self, profile: BundleProfile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// The next state that differs from the last, the first at once. After an error the stream has
    /// ended and gives `None`. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WorkloadError::NotEntitled`] when the caller has no identity (any more).
    pub async fn next(&mut self) -> Option<Result<BundleUpdate, WorkloadError>> {
        if self.ended {
            return None;
        }
        let outcome = self.advance().await;
        self.ended = outcome.is_err();
        Some(outcome)
    }

    /// Whether something changed since the last update was made; it may say the same again.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.state.has_changed().unwrap_or(true)
    }

    async fn advance(&mut self) -> Result<BundleUpdate, WorkloadError> {
        loop {
            let state = Arc::clone(&self.state.borrow_and_update());
            let now = self.shared.clock().now();
            let entries = require_entitled(&state, &self.selectors, now)?;
            let update = BundleUpdate {
                own: Arc::clone(state.bundles.own()),
                federated: state.bundles.federated().cloned().collect(),
                epoch: state.epoch,
            };
            if !self.last.as_ref().is_some_and(|last| last.says_the_same_as(&update, self.profile))
            {
                self.last = Some(update.clone());
                return Ok(update);
            }
            let end = async {
                match first_end(&entries) {
                    Some(end) => self.shared.clock().sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.state.changed() => {
                    changed.map_err(|_gone| WorkloadError::Unavailable)?;
                }
                () = end => {}
            }
        }
    }
}

impl fmt::Debug for BundleSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        f.debug_struct("BundleSubscription")
            .field("profile", &self.profile)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl BundleUpdate {
    fn says_the_same_as(&self, other: &Self, profile: Option<BundleProfile>) -> bool {
        let same = |a: &Arc<Bundle>, b: &Arc<Bundle>| match profile {
            Some(BundleProfile::X509) => same_authorities(a, b),
            Some(BundleProfile::Jwt) => same_jwt_authorities(a, b),
            None => same_authorities(a, b) && same_jwt_authorities(a, b),
        };
        same(&self.own, &other.own)
            && self.federated.len() == other.federated.len()
            && self.federated.iter().zip(&other.federated).all(|(a, b)| same(a, b))
    }
}

fn same_jwt_authorities(a: &Arc<Bundle>, b: &Arc<Bundle>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.trust_domain() == b.trust_domain() && a.jwt_authorities() == b.jwt_authorities())
}
