use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use jiff::Timestamp;
use marque_registry::{Entry, EntryId};
use marque_spiffe::{Clock, Hint, JwtSvid, SelectorSet, SpiffeId, UnverifiedJwtSvid};
use moka::sync::Cache;
use tokio::sync::watch;

use crate::bundles::BundleSubscription;
use crate::entitlement::{Hints, entitled, first_end, require_entitled};
use crate::error::WorkloadError;
use crate::jwt::check_audience;
use crate::material::{JwtSvidMaterial, X509SvidMaterial};
use crate::slot::{Current, Need, Slot};
use crate::state::{Issuer, IssuerState};
use crate::x509::{X509Identity, X509Subscription, X509Update};

/// How much is kept; whatever is beyond is minted again when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadLimits {
    /// How many X.509-SVIDs.
    pub x509_svids: u64,
    /// How many bytes of JWT-SVIDs and their audiences, which callers choose.
    pub jwt_svid_bytes: u64,
}

/// What one JWT-SVID is reckoned to take beside its audiences.
const JWT_SVID_BYTES: usize = 2048;

/// SVIDs (and with them private keys) that nobody asked for this long are forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// What callers are entitled to, of one trust domain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workload {
    pub(crate) shared: Arc<Shared>,
}

/// What every subscription needs.
pub(crate) struct Shared {
    issuer: Arc<dyn Issuer>,
    clock: Arc<dyn Clock>,
    state: watch::Receiver<Arc<IssuerState>>,
    x509: Cache<EntryId, Arc<Slot<X509SvidMaterial>>>,
    jwt: Cache<(EntryId, Vec<String>), Arc<Slot<JwtSvidMaterial>>>,
}

impl Default for WorkloadLimits {
    fn default() -> Self {
        Self { x509_svids: 16 * 1024, jwt_svid_bytes: 64 * 1024 * 1024 }
    }
}

impl Workload {
    /// Serves the identities of this issuer.
    pub fn new(issuer: Arc<dyn Issuer>, clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(issuer, clock, WorkloadLimits::default())
    }

    /// As [`Workload::new`], with limits of one's own.
    pub fn with_limits(
        issuer: Arc<dyn Issuer>,
        clock: Arc<dyn Clock>,
        limits: WorkloadLimits,
    ) -> Self {
        let WorkloadLimits { x509_svids, jwt_svid_bytes } = limits;
        let state = issuer.state();
        let x509 = Cache::builder().max_capacity(x509_svids).time_to_idle(FORGET_AFTER).build();
        let jwt = Cache::builder()
            .weigher(|(_, audience): &(EntryId, Vec<String>), _| {
                let bytes = JWT_SVID_BYTES + audience.iter().map(String::len).sum::<usize>();
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .max_capacity(jwt_svid_bytes)
            .time_to_idle(FORGET_AFTER)
            .build();
        Self { shared: Arc::new(Shared { issuer, clock, state, x509, jwt }) }
    }

    /// A stream of the caller's X.509-SVIDs.
    pub fn subscribe_x509(&self, selectors: SelectorSet) -> X509Subscription {
        X509Subscription::new(Arc::clone(&self.shared), selectors)
    }

    /// A stream of the bundles that the caller may use.
    pub fn subscribe_bundles(&self, selectors: SelectorSet) -> BundleSubscription {
        BundleSubscription::new(Arc::clone(&self.shared), selectors)
    }

    /// JWT-SVIDs for these audiences: of the identity named, or of all of the caller's (WA-10), the
    /// default first and each hint once.
    ///
    /// # Errors
    /// [`WorkloadError::NotEntitled`] when the caller has no identity or not the one named.
    pub async fn jwt_svids(
        &self,
        selectors: &SelectorSet,
        audience: &[String],
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<Vec<(Arc<JwtSvidMaterial>, Option<Hint>)>, WorkloadError> {
        check_audience(audience)?;
        let shared = &self.shared;
        let state = shared.state();
        let entries = shared.named(&state, selectors, spiffe_id)?;
        let minted = entries.iter().map(|entry| shared.jwt_svid(&state, entry, audience));
        let minted = try_join_all(minted).await?;
        // Minting takes time: who was stopped meanwhile gets nothing.
        let still = shared.named(&shared.state(), selectors, spiffe_id)?;
        let mut hints = Hints::default();
        let svids: Vec<_> = entries
            .iter()
            .zip(minted)
            .filter(|(entry, _)| still.iter().any(|other| other.id() == entry.id()))
            .filter_map(|(entry, svid)| Some((svid?, hints.hint(entry))))
            .collect();
        if svids.is_empty() { Err(WorkloadError::NotEntitled) } else { Ok(svids) }
    }

    /// Verifies somebody's JWT-SVID for the caller, by the bundle of the token's own trust domain
    /// alone (WA-12).
    ///
    /// # Errors
    /// [`WorkloadError::NotEntitled`] when the caller itself has no identity.
    pub fn validate_jwt_svid(
        &self,
        selectors: &SelectorSet,
        token: &str,
        audience: &str,
    ) -> Result<JwtSvid, WorkloadError> {
        let state = self.shared.state();
        let now = self.shared.clock.now();
        require_entitled(&state, selectors, now)?;
        let svid = UnverifiedJwtSvid::parse(token).map_err(WorkloadError::InvalidToken)?;
        let bundle = state
            .bundles
            .find(svid.trust_domain())
            .ok_or_else(|| WorkloadError::UnknownTrustDomain(svid.trust_domain().clone()))?;
        svid.verify(bundle, audience, now).map_err(WorkloadError::InvalidToken)
    }

    /// The entries that the caller is entitled to right now, the default first.
    pub fn identities(&self, selectors: &SelectorSet) -> Vec<Arc<Entry>> {
        entitled(&self.shared.state(), selectors, self.shared.clock.now())
    }
}

impl Shared {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.clone()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The caller's X.509 state, and when to look at it again.
    pub(crate) async fn x509_update(
        &self,
        state: &IssuerState,
        selectors: &SelectorSet,
    ) -> Result<(X509Update, Timestamp), WorkloadError> {
        let entries = require_entitled(state, selectors, self.clock.now())?;
        let minted = entries.iter().map(|entry| self.x509_svid(state, entry));
        let mut hints = Hints::default();
        let mut look_again = first_end(&entries).unwrap_or(Timestamp::MAX);
        let mut svids = Vec::with_capacity(entries.len());
        for (entry, current) in entries.iter().zip(try_join_all(minted).await?) {
            let Some(current) = current else { continue };
            look_again = look_again.min(current.look_again);
            svids.push(X509Identity { material: current.material, hint: hints.hint(entry) });
        }
        if svids.is_empty() {
            return Err(WorkloadError::NotEntitled);
        }
        let update = X509Update {
            svids,
            bundle: Arc::clone(state.bundles.own()),
            federated: state.bundles.federated().cloned().collect(),
            epoch: state.epoch,
        };
        Ok((update, look_again))
    }

    async fn x509_svid(
        &self,
        state: &IssuerState,
        entry: &Arc<Entry>,
    ) -> Result<Option<Current<X509SvidMaterial>>, WorkloadError> {
        let slot = self.x509.get_with_by_ref(entry.id(), || Arc::new(Slot::new()));
        let mint = || self.issuer.mint_x509_svid(entry.id());
        unless_refused(slot.current(self.need(state, entry), mint).await)
    }

    async fn jwt_svid(
        &self,
        state: &IssuerState,
        entry: &Arc<Entry>,
        audience: &[String],
    ) -> Result<Option<Arc<JwtSvidMaterial>>, WorkloadError> {
        let key = (entry.id().clone(), audience.to_vec());
        let slot = self.jwt.get_with(key, || Arc::new(Slot::new()));
        let mint = || self.issuer.mint_jwt_svid(entry.id(), audience);
        let current = unless_refused(slot.current(self.need(state, entry), mint).await)?;
        Ok(current.map(|current| current.material))
    }

    fn need<'a>(&'a self, state: &'a IssuerState, entry: &'a Arc<Entry>) -> Need<'a> {
        Need { entry, bundle: state.bundles.own(), clock: &*self.clock }
    }

    /// How many X.509-SVIDs and how many JWT-SVIDs are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (u64, u64) {
        self.x509.run_pending_tasks();
        self.jwt.run_pending_tasks();
        (self.x509.entry_count(), self.jwt.entry_count())
    }

    fn state(&self) -> Arc<IssuerState> {
        Arc::clone(&self.state.borrow())
    }

    /// The caller's entries, or the one with this SPIFFE ID among them.
    fn named(
        &self,
        state: &IssuerState,
        selectors: &SelectorSet,
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<Vec<Arc<Entry>>, WorkloadError> {
        let mut entries = require_entitled(state, selectors, self.clock.now())?;
        if let Some(spiffe_id) = spiffe_id {
            entries.retain(|entry| entry.spiffe_id() == spiffe_id);
        }
        if entries.is_empty() { Err(WorkloadError::NotEntitled) } else { Ok(entries) }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An issuer's state names selectors, and those are not for logs.
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// An entry that the issuer no longer serves is left out; every other failure fails the whole.
fn unless_refused<T>(outcome: Result<T, WorkloadError>) -> Result<Option<T>, WorkloadError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(WorkloadError::NotEntitled) => Ok(None),
        Err(error) => Err(error),
    }
}
