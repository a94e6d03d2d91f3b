//! The present bundles of other trust domains, and which new one may take the place of which.

use std::collections::BTreeMap;
use std::sync::Arc;

use marque_registry::boundary;
use marque_spiffe::{Bundle, BundleSource, Environment, SequenceError, TrustDomain};
use tokio::sync::watch;

/// How many bytes the bundle documents of all other trust domains may have together: they go to workloads in one message
/// with their SVIDs, and gRPC clients take messages of 4 MiB.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The present bundle of each other trust domain.
pub(crate) type Present = Arc<BTreeMap<TrustDomain, Arc<Bundle>>>;

/// The present bundles of other trust domains.
#[derive(Debug)]
pub(crate) struct FederatedBundles {
    environment: Environment,
    present: watch::Sender<Present>,
}

/// Why a bundle does not take the place of the one before.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RefusedBundle {
    /// It is older, or changed without saying so.
    #[error("the bundle does not follow the one before")]
    Sequence(#[source] SequenceError),
    /// Its authorities are of the other environment.
    #[error("{0}")]
    Boundary(String),
    /// Together with the others it would be too much to send to workloads.
    #[error("the bundles of all other trust domains would have {0} bytes, more than {MAX_BYTES}")]
    TooMuch(usize),
}

impl FederatedBundles {
    /// Begins with these, for a trust domain of this environment.
    pub(crate) fn new(
        environment: Environment,
        initial: impl IntoIterator<Item = Arc<Bundle>>,
    ) -> Self {
        let initial = initial.into_iter().map(|bundle| (bundle.trust_domain().clone(), bundle));
        let (present, _) = watch::channel(Arc::new(initial.collect()));
        Self { environment, present }
    }

    /// The present ones, now and after each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Present> {
        self.present.subscribe()
    }

    /// Puts a bundle in the place of the one before; says whether that changed anything.
    pub(super) fn replace(&self, bundle: Arc<Bundle>) -> Result<bool, RefusedBundle> {
        let name = bundle.trust_domain().clone();
        let across = self.environment.other();
        if bundle.names_environment(across) {
            return Err(RefusedBundle::Boundary(boundary(&name, across)));
        }
        let mut outcome = Ok(false);
        self.present.send_if_modified(|present| match followed_by(present, name, bundle) {
            Ok(Some(next)) => {
                *present = next;
                outcome = Ok(true);
                true
            }
            Ok(None) => false,
            Err(refused) => {
                outcome = Err(refused);
                false
            }
        });
        outcome
    }
}

impl BundleSource for FederatedBundles {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.present.borrow().get(trust_domain).cloned()
    }
}

/// The present bundles with this one among them, or `None` where it is there already.
fn followed_by(
    present: &Present,
    name: TrustDomain,
    bundle: Arc<Bundle>,
) -> Result<Option<Present>, RefusedBundle> {
    if let Some(before) = present.get(&name) {
        bundle.supersedes(before).map_err(RefusedBundle::Sequence)?;
        if before == &bundle {
            return Ok(None);
        }
    }
    let mut next = BTreeMap::clone(present);
    next.insert(name, bundle);
    let bytes = next.values().map(|bundle| bundle.to_document().to_string().len()).sum();
    if bytes > MAX_BYTES {
        return Err(RefusedBundle::TooMuch(bytes));
    }
    Ok(Some(Arc::new(next)))
}
