use std::fmt;
use std::sync::Arc;

use marque_spiffe::{Bundle, Hint, SelectorSet};
use tokio::sync::watch;

use crate::error::WorkloadError;
use crate::material::X509SvidMaterial;
use crate::state::IssuerState;
use crate::workload::Shared;

/// The full state of a caller's X.509-SVIDs (WA-2).
#[derive(Debug, Clone)]
pub struct X509Update {
    /// At least one; the first is the default identity.
    pub svids: Vec<X509Identity>,
    /// The bundle of the own trust domain.
    pub bundle: Arc<Bundle>,
    /// The bundles of other trust domains.
    pub federated: Vec<Arc<Bundle>>,
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
pub struct X509Subscription {
    shared: Arc<Shared>,
    state: watch::Receiver<Arc<IssuerState>>,
    selectors: SelectorSet,
    last: Option<X509Update>,
    ended: bool,
}

impl X509Subscription {
    pub(crate) fn new(shared: Arc<Shared>, selectors: SelectorSet) -> Self {
        let state = shared.subscribe();
        Self { shared, state, selectors, last: None, ended: false }
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

    async fn advance(&mut self) -> Result<X509Update, WorkloadError> {
        loop {
            let state = Arc::clone(&self.state.borrow_and_update());
            let outcome = self.shared.x509_update(&state, &self.selectors).await;
            // Minting takes time: what was true before it is checked again (WA-14).
            if self.state.has_changed().map_err(|_gone| WorkloadError::Unavailable)? {
                continue;
            }
            let (update, look_again) = outcome?;
            if !self.last.as_ref().is_some_and(|last| last.says_the_same_as(&update)) {
                self.last = Some(update.clone());
                return Ok(update);
            }
            tokio::select! {
                changed = self.state.changed() => {
                    changed.map_err(|_gone| WorkloadError::Unavailable)?;
                }
                () = self.shared.clock().sleep_until(look_again) => {}
            }
        }
    }
}

impl fmt::Debug for X509Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        f.debug_struct("X509Subscription").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl X509Update {
    /// Whether a client could tell the two apart. The epoch is not shown to clients.
    fn says_the_same_as(&self, other: &Self) -> bool {
        let Self { svids, bundle, federated, epoch: _ } = self;
        svids.len() == other.svids.len()
            && svids
                .iter()
                .zip(&other.svids)
                .all(|(a, b)| Arc::ptr_eq(&a.material, &b.material) && a.hint == b.hint)
            && same_authorities(bundle, &other.bundle)
            && federated.len() == other.federated.len()
            && federated.iter().zip(&other.federated).all(|(a, b)| same_authorities(a, b))
    }
}

pub(crate) fn same_authorities(a: &Arc<Bundle>, b: &Arc<Bundle>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.trust_domain() == b.trust_domain() && a.x509_authorities() == b.x509_authorities())
}
