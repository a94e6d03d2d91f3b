use std::sync::Arc;

use jiff::Timestamp;
use marque_spiffe::{Bundle, SelectorSet};

use crate::error::WorkloadError;
use crate::follow::{Following, Update};
use crate::group::{Answers, Entitlement, Group};
use crate::workload::Shared;
use crate::x509::same_authorities;

/// The full state of the bundles that a caller may use.
#[derive(Debug, Clone)]
pub struct BundleUpdate {
    /// The bundle of the own trust domain.
    pub own: Arc<Bundle>,
    /// The bundles of the other trust domains that the caller's entries federate with.
    pub federated: Vec<Arc<Bundle>>,
    /// The certificate revocation lists of the own X.509 authorities, in DER.
    pub crls: Arc<[Arc<[u8]>]>,
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
    /// Of WIT-SVIDs.
    Wit,
}

/// A caller's stream of bundles, for FetchX509Bundles, FetchJWTBundles and FetchWITBundles. It keeps
/// nothing pending, as [`crate::X509Subscription`].
#[derive(Debug)]
pub struct BundleSubscription(Following<BundleUpdate>);

impl BundleSubscription {
    pub(crate) fn new(following: Following<BundleUpdate>) -> Self {
        Self(following)
    }

    /// Leaves out updates in which only authorities of another profile changed.
    #[must_use]
    pub fn only(mut self, profile: BundleProfile) -> Self {
        self.0.set_view(Some(profile));
        self
    }

    /// The profile that it is narrowed to.
    pub fn profile(&self) -> Option<BundleProfile> {
        *self.0.view()
    }

    /// The next state that differs from the last, the first at once. After an error the stream has
    /// ended and gives `None`. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WorkloadError::NotEntitled`] when the caller has no identity (any more).
    pub async fn next(&mut self) -> Option<Result<BundleUpdate, WorkloadError>> {
        self.0.next().await
    }

    /// Whether something that concerns the caller changed since the last update was made; it may
    /// say the same again.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.0.is_stale()
    }

    /// What the caller attested as when it subscribed.
    pub fn selectors(&self) -> &SelectorSet {
        &self.0.who().selectors
    }
}

impl Update for BundleUpdate {
    type View = Option<BundleProfile>;

    fn says_the_same_as(&self, other: &Self, profile: &Option<BundleProfile>) -> bool {
        let same = |a: &Arc<Bundle>, b: &Arc<Bundle>| match profile {
            Some(BundleProfile::X509) => same_authorities(a, b),
            Some(BundleProfile::Jwt) => same_jwt_authorities(a, b),
            Some(BundleProfile::Wit) => same_wit_authorities(a, b),
            None => {
                same_authorities(a, b) && same_jwt_authorities(a, b) && same_wit_authorities(a, b)
            }
        };
        let crls = matches!(profile, Some(BundleProfile::Jwt | BundleProfile::Wit))
            || self.crls == other.crls;
        crls && same(&self.own, &other.own)
            && self.federated.len() == other.federated.len()
            && self.federated.iter().zip(&other.federated).all(|(a, b)| same(a, b))
    }

    fn at_epoch(&self, epoch: u64) -> Self {
        Self { epoch, ..self.clone() }
    }

    fn answers(group: &Group) -> &Answers<Self> {
        &group.bundles
    }

    async fn make(
        _shared: &Shared,
        entitlement: &Entitlement,
    ) -> Result<(Self, Timestamp), WorkloadError> {
        let Entitlement { state, entries, first_end, bundles_since: _ } = entitlement;
        let update = Self {
            own: Arc::clone(state.bundles.own()),
            federated: state.bundles.federated_for(entries),
            crls: state.bundles.shared_crls(),
            epoch: state.epoch,
        };
        Ok((update, first_end.unwrap_or(Timestamp::MAX)))
    }
}

fn same_jwt_authorities(a: &Arc<Bundle>, b: &Arc<Bundle>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.trust_domain() == b.trust_domain() && a.jwt_authorities() == b.jwt_authorities())
}

fn same_wit_authorities(a: &Arc<Bundle>, b: &Arc<Bundle>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.trust_domain() == b.trust_domain() && a.wit_authorities() == b.wit_authorities())
}
