use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use marque_registry::Entry;
use marque_spiffe::{Hint, SelectorSet, SpiffeId};

use crate::entitlement::Hints;
use crate::error::WorkloadError;
use crate::follow::{Following, Update};
use crate::group::{Answers, Entitlement, Group};
use crate::material::WitSvidMaterial;
use crate::slot::Current;
use crate::state::IssuerState;
use crate::workload::{Shared, unless_refused};

/// The full state of a caller's WIT-SVIDs (WA-2).
#[derive(Debug, Clone)]
pub struct WitUpdate {
    /// At least one; the first is the default identity.
    pub svids: Vec<WitIdentity>,
    /// The kill epoch that this state takes into account.
    pub epoch: u64,
}

/// One identity of a caller.
#[derive(Debug, Clone)]
pub struct WitIdentity {
    /// The SVID and its key, shared by all callers with this identity.
    pub material: Arc<WitSvidMaterial>,
    /// Unique in one update.
    pub hint: Option<Hint>,
}

/// A caller's stream of WIT-SVIDs. It keeps nothing pending, as [`crate::X509Subscription`].
#[derive(Debug)]
pub struct WitSubscription(Following<WitUpdate>);

impl WitSubscription {
    pub(crate) fn new(following: Following<WitUpdate>) -> Self {
        Self(following)
    }

    /// The next state that differs from the last: the first at once, then whenever an entry, an SVID
    /// or a kill changes it. After an error the stream has ended and gives `None`.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WorkloadError::NotEntitled`] when the caller has no identity, or not the one it named (any
    /// more), and others when an SVID that it should have cannot be had.
    pub async fn next(&mut self) -> Option<Result<WitUpdate, WorkloadError>> {
        self.0.next().await
    }

    /// The identity that the caller named.
    pub fn wanted(&self) -> Option<&SpiffeId> {
        self.0.who().wanted.as_ref()
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

impl Shared {
    async fn wit_svid(
        &self,
        state: &IssuerState,
        entry: &Arc<Entry>,
    ) -> Result<Option<Current<WitSvidMaterial>>, WorkloadError> {
        let slot = self.wit_slot(entry.id());
        let mint = || self.issuer().mint_wit_svid(entry.id());
        unless_refused(slot.current(self.need(state, entry), mint).await)
    }
}

impl Update for WitUpdate {
    type View = ();

    fn says_the_same_as(&self, other: &Self, (): &()) -> bool {
        let Self { svids, epoch: _ } = self;
        svids.len() == other.svids.len()
            && svids
                .iter()
                .zip(&other.svids)
                .all(|(a, b)| Arc::ptr_eq(&a.material, &b.material) && a.hint == b.hint)
    }

    fn at_epoch(&self, epoch: u64) -> Self {
        Self { epoch, ..self.clone() }
    }

    fn answers(group: &Group) -> &Answers<Self> {
        &group.wit
    }

    async fn make(
        shared: &Shared,
        entitlement: &Entitlement,
    ) -> Result<(Self, Timestamp), WorkloadError> {
        let Entitlement { state, entries, first_end, bundles_since: _ } = entitlement;
        let minted = entries.iter().map(|entry| shared.wit_svid(state, entry));
        let mut hints = Hints::default();
        let mut look_again = first_end.unwrap_or(Timestamp::MAX);
        let mut svids = Vec::with_capacity(entries.len());
        for (entry, current) in entries.iter().zip(try_join_all(minted).await?) {
            let Some(current) = current else { continue };
            look_again = look_again.min(current.look_again);
            svids.push(WitIdentity { material: current.material, hint: hints.hint(entry) });
        }
        if svids.is_empty() {
            return Err(WorkloadError::NotEntitled);
        }
        Ok((Self { svids, epoch: state.epoch }, look_again))
    }
}
