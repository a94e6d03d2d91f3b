use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::future::try_join_all;
use jiff::Timestamp;
use marque_registry::{Entry, EntryId};
use marque_spiffe::{
    Clock, Hint, JwtSvid, SelectorSet, SpiffeId, SpiffeIdPattern, UnverifiedJwtSvid,
};
use moka::sync::Cache;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::bundles::BundleSubscription;
use crate::entitlement::{Hints, entitled, require_entitled};
use crate::error::WorkloadError;
use crate::follow::{Following, Update};
use crate::group::{Entitlement, Group, Who, lock};
use crate::groups::{Groups, drive};
use crate::jwt::check_audience;
use crate::material::{JwtSvidMaterial, WitSvidMaterial, X509SvidMaterial};
use crate::scope::Scope;
use crate::slot::{Current, Need, Slot};
use crate::state::{BundleSet, Issuer, IssuerState};
use crate::turn::Turn;
use crate::wit::WitSubscription;
use crate::x509::X509Subscription;

/// How much is kept; whatever is beyond is minted again when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadLimits {
    /// How many X.509-SVIDs.
    pub x509_svids: u64,
    /// How many WIT-SVIDs.
    pub wit_svids: u64,
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
    pub(crate) scope: Scope,
}

/// What every subscription needs.
pub(crate) struct Shared {
    issuer: Arc<dyn Issuer>,
    clock: Arc<dyn Clock>,
    state: watch::Receiver<Arc<IssuerState>>,
    x509: Cache<EntryId, Arc<Slot<X509SvidMaterial>>>,
    jwt: Cache<(EntryId, Vec<String>), Arc<Slot<JwtSvidMaterial>>>,
    wit: Cache<EntryId, Arc<Slot<WitSvidMaterial>>>,
    pub(crate) groups: Arc<Groups>,
    /// Started with the first subscription: before that there is nobody to wake.
    driver: OnceLock<Driver>,
    splay: Mutex<Duration>,
    /// How many streams there have been.
    streams: AtomicU64,
    /// The newest bundles, and since when they are known.
    newest_bundles: Mutex<(Arc<BundleSet>, Timestamp)>,
}

/// The task that wakes groups, for as long as there is somebody to wake.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Default for WorkloadLimits {
    fn default() -> Self {
        Self { x509_svids: 16 * 1024, wit_svids: 16 * 1024, jwt_svid_bytes: 64 * 1024 * 1024 }
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
        Self::with_splay(issuer, clock, limits, Duration::ZERO)
    }

    /// As [`Workload::with_limits`], and a change that concerns every stream, such as one of the
    /// bundle, is spread over `splay`: each stream hears of it at a time of its own. What concerns a
    /// caller in particular, be it an entry, a renewal or a kill, never waits, nor does a first
    /// update.
    pub fn with_splay(
        issuer: Arc<dyn Issuer>,
        clock: Arc<dyn Clock>,
        limits: WorkloadLimits,
        splay: Duration,
    ) -> Self {
        let WorkloadLimits { x509_svids, wit_svids, jwt_svid_bytes } = limits;
        let state = issuer.state();
        let x509 = Cache::builder().max_capacity(x509_svids).time_to_idle(FORGET_AFTER).build();
        let wit = Cache::builder().max_capacity(wit_svids).time_to_idle(FORGET_AFTER).build();
        let jwt = Cache::builder()
            .weigher(|(_, audience): &(EntryId, Vec<String>), _| {
                let bytes = JWT_SVID_BYTES + audience.iter().map(String::len).sum::<usize>();
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .max_capacity(jwt_svid_bytes)
            .time_to_idle(FORGET_AFTER)
            .build();
        let bundles = Arc::clone(&state.borrow().bundles);
        let shared = Arc::new(Shared {
            newest_bundles: Mutex::new((bundles, clock.now())),
            issuer,
            clock,
            state,
            x509,
            jwt,
            wit,
            groups: Arc::default(),
            driver: OnceLock::new(),
            splay: Mutex::new(splay),
            streams: AtomicU64::new(0),
        });
        Self { shared, scope: Scope::default() }
    }

    /// Spreads changes that concern every stream over another `splay`, for the streams that open from here on.
    pub fn spread_over(&self, splay: Duration) {
        *lock(&self.shared.splay) = splay;
    }

    /// How many open streams have an identity that `hit` takes away.
    pub fn would_lose(&self, hit: impl Fn(&SpiffeId) -> bool) -> usize {
        let (state, now) = (self.shared.state.borrow().clone(), self.shared.clock.now());
        let loses = |who: &Who| {
            let entries = entitled(&state, &who.selectors, &who.scope, now);
            entries.iter().any(|entry| hit(entry.spiffe_id()))
        };
        self.shared
            .groups
            .members()
            .iter()
            .filter(|(who, _)| loses(who))
            .map(|(_, count)| count)
            .sum()
    }

    /// The same, SVIDs that are kept included, for somebody who may see no identity but those that match a pattern: an
    /// identity that does not is not there, also where the default one is chosen and hints are handed out.
    #[must_use]
    pub fn limited_to(&self, identities: Arc<[SpiffeIdPattern]>) -> Self {
        Self { shared: Arc::clone(&self.shared), scope: Scope::of(identities) }
    }

    /// A stream of the caller's X.509-SVIDs.
    pub fn subscribe_x509(&self, selectors: SelectorSet) -> X509Subscription {
        X509Subscription::new(self.follow(selectors, None))
    }

    /// A stream of the caller's WIT-SVIDs: of the identity named, or of all of them.
    pub fn subscribe_wit(
        &self,
        selectors: SelectorSet,
        spiffe_id: Option<SpiffeId>,
    ) -> WitSubscription {
        WitSubscription::new(self.follow(selectors, spiffe_id))
    }

    /// A stream of the bundles that the caller may use.
    pub fn subscribe_bundles(&self, selectors: SelectorSet) -> BundleSubscription {
        BundleSubscription::new(self.follow(selectors, None))
    }

    /// JWT-SVIDs for these audiences: of the identity named, or of all of the caller's (WA-10), the
    /// default first and each hint once.
    ///
    /// # Errors
    /// [`WorkloadError::NotEntitled`] when the caller has no identity or not the one named;
    /// [`WorkloadError::AudienceNotAllowed`] when none of those may have one for these audiences.
    pub async fn jwt_svids(
        &self,
        selectors: &SelectorSet,
        audience: &[String],
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<Vec<(Arc<JwtSvidMaterial>, Option<Hint>)>, WorkloadError> {
        check_audience(audience)?;
        self.settle(selectors).await?;
        let shared = &self.shared;
        let state = shared.state();
        let entries = self.named_for(&state, selectors, audience, spiffe_id)?;
        let minted = entries.iter().map(|entry| shared.jwt_svid(&state, entry, audience));
        let minted = try_join_all(minted).await?;
        // Minting takes time: who was stopped meanwhile gets nothing.
        let still = self.named_for(&shared.state(), selectors, audience, spiffe_id)?;
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
    /// alone (WA-12): the own one, or one that an entry of the caller federates with.
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
        let entries = require_entitled(&state, selectors, &self.scope, now)?;
        let svid = UnverifiedJwtSvid::parse(token).map_err(WorkloadError::InvalidToken)?;
        let bundle = state
            .bundles
            .find_for(&entries, svid.trust_domain())
            .ok_or_else(|| WorkloadError::UnknownTrustDomain(svid.trust_domain().clone()))?;
        svid.verify(bundle, audience, now).map_err(WorkloadError::InvalidToken)
    }

    /// The entries that the caller is entitled to right now, the default first.
    pub fn identities(&self, selectors: &SelectorSet) -> Vec<Arc<Entry>> {
        entitled(&self.shared.state(), selectors, &self.scope, self.shared.clock.now())
    }

    fn follow<U: Update>(&self, selectors: SelectorSet, wanted: Option<SpiffeId>) -> Following<U> {
        let who = Who { selectors, scope: self.scope.clone(), wanted };
        Following::new(Arc::clone(&self.shared), self.shared.join(who))
    }

    /// As [`Self::named`], those that may have a JWT-SVID for these audiences.
    fn named_for(
        &self,
        state: &IssuerState,
        selectors: &SelectorSet,
        audience: &[String],
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<Vec<Arc<Entry>>, WorkloadError> {
        let mut entries = self.named(state, selectors, spiffe_id)?;
        entries.retain(|entry| entry.allows_audiences(audience));
        if entries.is_empty() { Err(WorkloadError::AudienceNotAllowed) } else { Ok(entries) }
    }

    /// The caller's entries, or the one with this SPIFFE ID among them.
    fn named(
        &self,
        state: &IssuerState,
        selectors: &SelectorSet,
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<Vec<Arc<Entry>>, WorkloadError> {
        let now = self.shared.clock.now();
        let mut entries = require_entitled(state, selectors, &self.scope, now)?;
        if let Some(spiffe_id) = spiffe_id {
            entries.retain(|entry| entry.spiffe_id() == spiffe_id);
        }
        if entries.is_empty() { Err(WorkloadError::NotEntitled) } else { Ok(entries) }
    }
}

impl Shared {
    /// The group of whoever is asking like this, which from now on is woken by changes.
    fn join(&self, who: Who) -> Arc<Group> {
        self.driver.get_or_init(|| Driver::start(&self.groups, &self.clock, &self.state));
        self.groups.join(who)
    }

    /// What a group is entitled to by the newest state.
    pub(crate) fn entitlement(&self, group: &Group) -> Result<Arc<Entitlement>, WorkloadError> {
        self.state.has_changed().map_err(|_gone| WorkloadError::Unavailable)?;
        let now = self.clock.now();
        let since = |state: &IssuerState| self.bundles_since(state, now);
        let entitlement = group.entitlement(|| self.state(), now, since);
        if entitlement.entries.is_empty() {
            Err(WorkloadError::NotEntitled)
        } else {
            Ok(entitlement)
        }
    }

    /// Since when the bundles of a state are known here.
    fn bundles_since(&self, state: &IssuerState, now: Timestamp) -> Timestamp {
        let mut newest = lock(&self.newest_bundles);
        let (bundles, since) = &mut *newest;
        if !Arc::ptr_eq(bundles, &state.bundles) {
            if *bundles != state.bundles {
                *since = now;
            }
            *bundles = Arc::clone(&state.bundles);
        }
        *since
    }

    /// The next stream's place in the splay.
    pub(crate) fn next_turn(&self) -> Turn {
        let splay = *lock(&self.splay);
        Turn::of(self.streams.fetch_add(1, Ordering::Relaxed), splay)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn issuer(&self) -> &dyn Issuer {
        &*self.issuer
    }

    pub(crate) fn wit_slot(&self, entry: &EntryId) -> Arc<Slot<WitSvidMaterial>> {
        self.wit.get_with_by_ref(entry, || Arc::new(Slot::new()))
    }

    pub(crate) async fn x509_svid(
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

    pub(crate) fn need<'a>(&'a self, state: &'a IssuerState, entry: &'a Arc<Entry>) -> Need<'a> {
        let (bundles, document) = (&*state.bundles, state.registry.document());
        Need { entry, bundles, document, clock: &*self.clock }
    }

    /// How many X.509-SVIDs and how many JWT-SVIDs are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (u64, u64) {
        self.x509.run_pending_tasks();
        self.jwt.run_pending_tasks();
        (self.x509.entry_count(), self.jwt.entry_count())
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn state(&self) -> Arc<IssuerState> {
        Arc::clone(&self.state.borrow())
    }
}

impl Driver {
    /// Starts to wake groups for whatever changes from now on.
    fn start(
        groups: &Arc<Groups>,
        clock: &Arc<dyn Clock>,
        states: &watch::Receiver<Arc<IssuerState>>,
    ) -> Self {
        let states = states.clone();
        let seen = Arc::clone(&states.borrow());
        let driving = drive(Arc::clone(groups), Arc::clone(clock), states, seen);
        Self(tokio::spawn(driving).abort_handle())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An issuer's state names selectors, and those are not for logs.
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// An entry that the issuer no longer serves is left out; every other failure fails the whole.
pub(crate) fn unless_refused<T>(
    outcome: Result<T, WorkloadError>,
) -> Result<Option<T>, WorkloadError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(WorkloadError::NotEntitled) => Ok(None),
        Err(error) => Err(error),
    }
}
