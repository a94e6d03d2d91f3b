use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use marque_spiffe::{Bundle, Hint, SelectorSet};

use crate::entitlement::Hints;
use crate::error::WorkloadError;
use crate::follow::{Following, Update};
use crate::group::{Answers, Entitlement, Group};
use crate::material::X509SvidMaterial;
use crate::workload::Shared;

/// The full state of a caller's X.509-SVIDs (WA-2).
#[derive(Debug, Clone)]
pub struct X509Update {
    /// At least one; the first is the default identity.
    pub svids: Vec<X509Identity>,
    /// The bundle of the own trust domain.
    pub bundle: Arc<Bundle>,
    /// The bundles of the other trust domains that the caller's entries federate with.
    pub federated: Vec<Arc<Bundle>>,
    /// The certificate revocation lists of the own X.509 authorities, in DER.
    pub crls: Arc<[Arc<[u8]>]>,
    /// The kill epoch that this state takes into account.
    pub epoch: u64,
}

/// One identity of a caller.
#[derive(Debug, Clone)]
pub struct X509Identity {
    /// The SVID, shared by all callers with this identity.
    pub material: Arc<X509SvidMaterial>,
    /// Unique in one update.
    pub hint: Option<Hint>,
}

/// A caller's stream of X.509-SVIDs. It keeps nothing pending: a caller that is slow gets the
/// newest state, and none that came before it.
#[derive(Debug)]
pub struct X509Subscription(Following<X509Update>);

impl X509Subscription {
    pub(crate) fn new(following: Following<X509Update>) -> Self {
        Self(following)
    }

    /// The next state that differs from the last: the first at once, then whenever an entry, a
    /// bundle, an SVID or a kill changes it. After an error the stream has ended and gives `None`.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WorkloadError::NotEntitled`] when the caller has no identity (any more), and others when
    /// an SVID that it should have cannot be had: an update without it would make the caller
    /// take another identity for its default.
    pub async fn next(&mut self) -> Option<Result<X509Update, WorkloadError>> {
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

impl Update for X509Update {
    type View = ();

    fn says_the_same_as(&self, other: &Self, (): &()) -> bool {
        let Self { svids, bundle, federated, crls, epoch: _ } = self;
        svids.len() == other.svids.len()
            && svids
                .iter()
                .zip(&other.svids)
                .all(|(a, b)| Arc::ptr_eq(&a.material, &b.material) && a.hint == b.hint)
            && same_authorities(bundle, &other.bundle)
            && *crls == other.crls
            && federated.len() == other.federated.len()
            && federated.iter().zip(&other.federated).all(|(a, b)| same_authorities(a, b))
    }

    fn at_epoch(&self, epoch: u64) -> Self {
        Self { epoch, ..self.clone() }
    }

    fn answers(group: &Group) -> &Answers<Self> {
        &group.x509
    }

    async fn make(
        shared: &Shared,
        entitlement: &Entitlement,
    ) -> Result<(Self, Timestamp), WorkloadError> {
        let Entitlement { state, entries, first_end, bundles_since: _ } = entitlement;
        let minted = entries.iter().map(|entry| shared.x509_svid(state, entry));
        let mut hints = Hints::default();
        let mut look_again = first_end.unwrap_or(Timestamp::MAX);
        let mut svids = Vec::with_capacity(entries.len());
        for (entry, current) in entries.iter().zip(try_join_all(minted).await?) {
            let Some(current) = current else { continue };
            look_again = look_again.min(current.look_again);
            svids.push(X509Identity { material: current.material, hint: hints.hint(entry) });
        }
        if svids.is_empty() {
            return Err(WorkloadError::NotEntitled);
        }
        let update = Self {
            svids,
            bundle: Arc::clone(state.bundles.own()),
            federated: state.bundles.federated_for(entries),
            crls: state.bundles.shared_crls(),
            epoch: state.epoch,
        };
        Ok((update, look_again))
    }
}

pub(crate) fn same_authorities(a: &Arc<Bundle>, b: &Arc<Bundle>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.trust_domain() == b.trust_domain() && a.x509_authorities() == b.x509_authorities())
}
