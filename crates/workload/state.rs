use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use marque_registry::{Entry, EntryId, Snapshot};
use marque_spiffe::{Bundle, BundleSource, SelectorSet, SpiffeId, TrustDomain};
use tokio::sync::watch;

use crate::error::WorkloadError;
use crate::material::{JwtSvidMaterial, WitSvidMaterial, X509SvidMaterial};

/// Whoever holds the authorities of one trust domain.
///
/// Identity comes from the entry and never from a request: a caller of `mint` names an entry, and the
/// implementation takes SPIFFE ID, names and lifetimes from its own copy of it.
pub trait Issuer: fmt::Debug + Send + Sync {
    /// The issuer's state: always the newest, none in between is promised.
    fn state(&self) -> watch::Receiver<Arc<IssuerState>>;

    /// Makes the entries that templates give to a caller with these selectors, so that they are in the state from here
    /// on; those that it has it keeps. Where there are no templates there is nothing to do.
    ///
    /// [`WorkloadError::TemplateFull`] when the caller has no other entry than one that is one too many.
    fn settle<'a>(
        &'a self,
        _selectors: &'a SelectorSet,
    ) -> BoxFuture<'a, Result<(), WorkloadError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Mints an X.509-SVID with a fresh key for an entry.
    ///
    /// [`WorkloadError::NotEntitled`] means that the entry may not be served any more; then
    /// nothing older is served either.
    fn mint_x509_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>>;

    /// Mints a JWT-SVID for an entry; errors as above.
    fn mint_jwt_svid<'a>(
        &'a self,
        entry: &'a EntryId,
        audience: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<JwtSvidMaterial>, WorkloadError>>;

    /// Mints a WIT-SVID with a fresh key for an entry; errors as above.
    fn mint_wit_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<WitSvidMaterial>, WorkloadError>>;
}

/// Everything that decides what callers get, at one moment.
#[derive(Debug, Clone)]
pub struct IssuerState {
    /// The entries.
    pub registry: Arc<Snapshot>,
    /// The trust domain's own bundle and those of others.
    pub bundles: Arc<BundleSet>,
    /// Who is stopped.
    pub stops: Stops,
    /// The kill epoch: grows with every kill.
    pub epoch: u64,
}

/// Who is stopped by the kill switch: no entitlement, and streams end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stops {
    /// Everybody in the trust domain.
    pub all: bool,
    /// These agents.
    pub agents: BTreeSet<SpiffeId>,
    /// Whatever attests with one of these digests, 64 hexadecimal digits each, in a selector.
    pub builds: BTreeSet<String>,
}

/// The bundle of the own trust domain and those of others, never merged (TB-7), and the own revocation lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSet {
    own: Arc<Bundle>,
    /// The own one without authorities that are tainted.
    untainted: Arc<Bundle>,
    alarms: usize,
    federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    crls: Arc<[Arc<[u8]>]>,
}

impl Stops {
    /// Whether the holder of this SPIFFE ID is stopped.
    pub fn stop(&self, spiffe_id: &SpiffeId) -> bool {
        self.all || self.agents.contains(spiffe_id)
    }

    /// Whether whoever has these selectors is of a build that is stopped.
    pub fn stop_build(&self, selectors: &SelectorSet) -> bool {
        let of = |build: &String| selectors.iter().any(|one| one.value().contains(build.as_str()));
        self.builds.iter().any(of)
    }
}

impl BundleSet {
    /// A set with the own bundle and those of other trust domains. A federated bundle that claims
    /// to be of the own trust domain is left out: nobody else speaks for it.
    pub fn new(own: Arc<Bundle>, federated: impl IntoIterator<Item = Arc<Bundle>>) -> Self {
        let federated = federated
            .into_iter()
            .map(|bundle| (bundle.trust_domain().clone(), bundle))
            .filter(|(trust_domain, _)| trust_domain != own.trust_domain())
            .collect();
        let untainted = Arc::clone(&own);
        Self { own, untainted, alarms: 0, federated, crls: Arc::default() }
    }

    /// The same with these certificate revocation lists, in DER, of the own X.509 authorities.
    #[must_use]
    pub fn with_crls(mut self, crls: impl IntoIterator<Item = Arc<[u8]>>) -> Self {
        self.crls = crls.into_iter().collect();
        self
    }

    /// The same where not every own authority is to be relied on: what does not verify by `untainted` is issued anew. Every
    /// tainting and every revocation makes `alarms` another number, of which every stream hears at once.
    #[must_use]
    pub fn with_untainted(self, untainted: Arc<Bundle>, alarms: usize) -> Self {
        Self { untainted, alarms, ..self }
    }

    /// The own bundle without authorities that are tainted: SVIDs are served that verify by it.
    pub fn untainted(&self) -> &Arc<Bundle> {
        &self.untainted
    }

    /// How often own authorities were tainted or revoked, as far as it is on record.
    pub(crate) fn alarms(&self) -> usize {
        self.alarms
    }

    /// The bundle of the own trust domain.
    pub fn own(&self) -> &Arc<Bundle> {
        &self.own
    }

    /// The bundles of other trust domains, in the order of their names.
    pub fn federated(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.federated.values()
    }

    /// The bundles that callers with these entries get beside the own one: of every trust domain that one of the
    /// entries federates with, in the order of their names.
    pub fn federated_for(&self, entries: &[Arc<Entry>]) -> Vec<Arc<Bundle>> {
        let names: BTreeSet<_> = entries.iter().flat_map(|entry| entry.federates_with()).collect();
        names.into_iter().filter_map(|name| self.federated.get(name)).cloned().collect()
    }

    /// The certificate revocation lists of the own X.509 authorities, in DER.
    pub fn crls(&self) -> &[Arc<[u8]>] {
        &self.crls
    }

    /// As [`BundleSet::crls`], shared.
    pub(crate) fn shared_crls(&self) -> Arc<[Arc<[u8]>]> {
        Arc::clone(&self.crls)
    }

    /// The bundle by which callers with these entries verify an SVID of this trust domain, if they may at all.
    pub fn find_for(
        &self,
        entries: &[Arc<Entry>],
        trust_domain: &TrustDomain,
    ) -> Option<&Arc<Bundle>> {
        let allowed = trust_domain == self.own.trust_domain()
            || entries.iter().any(|entry| entry.federates_with().contains(trust_domain));
        self.find(trust_domain).filter(|_| allowed)
    }

    /// The bundle of exactly this trust domain.
    pub fn find(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        if trust_domain == self.own.trust_domain() {
            return Some(&self.own);
        }
        self.federated.get(trust_domain)
    }
}

impl BundleSource for BundleSet {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.find(trust_domain).cloned()
    }
}
