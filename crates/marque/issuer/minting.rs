//! The issuer as a node in the same process sees it: its state, and SVIDs for its entries.
//!
//! The state is put together anew whenever the registry, the authorities, the kill switch or a federated bundle changes. Nothing is minted for an entry that
//! is gone, has ended or is stopped, whatever the caller believes; what is minted is recorded before it leaves.

mod downstream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_authority::{
    Authority, JwtSvidTemplate, MintedWitSvid, MintedX509Svid, WitSvidTemplate, X509SvidTemplate,
};
use marque_exchange::IssuerUrl;
use marque_intent::kill::{KillScope, KillState, StopPoint};
use marque_registry::{Entry, EntryId, Registry, Snapshot};
use marque_spiffe::{Clock, SelectorSet, SpiffeId};
use marque_workload::{
    BundleSet, Issuer, IssuerState, JwtSvidMaterial, PrivateKey, Stops, WitSvidMaterial,
    WorkloadError, X509SvidMaterial,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Registrar;
use super::foreign::Foreign;
use super::store::kill_watch;
use crate::discovery::svid_issuer;
use crate::federation::HandsOn;

use marque_store::Store;

/// The shortest life that an SVID is worth minting for.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);

/// The in-process issuer of one trust domain.
#[derive(Debug)]
pub(super) struct InProcessIssuer {
    authority: Arc<Authority>,
    registrar: Arc<Registrar>,
    registry: Arc<Registry>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    foreign: watch::Sender<Arc<Foreign>>,
    /// The issuer of access tokens, below which that of JWT-SVIDs may be.
    issuer_url: IssuerUrl,
    state: watch::Sender<Arc<IssuerState>>,
    /// Held while what the state is put together from changes, so that nobody is told of a part of the change.
    telling: Mutex<()>,
}

impl InProcessIssuer {
    /// The state that workloads follow.
    pub(super) fn follow_state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.subscribe()
    }

    /// What goes to workloads beside the own bundle.
    pub(super) fn foreign(&self) -> Arc<Foreign> {
        Arc::clone(&self.foreign.borrow())
    }

    pub(super) fn new(
        authority: Arc<Authority>,
        registrar: Arc<Registrar>,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        issuer_url: IssuerUrl,
    ) -> Self {
        let registry = Arc::clone(registrar.registry());
        let kills = kill_watch(&store).borrow().clone();
        let foreign = Arc::new(Foreign::none(authority.environment()));
        let bundles = foreign.with(authority.trusted());
        let (state, _) = watch::channel(Arc::new(state_of(registry.snapshot(), bundles, &kills)));
        let (foreign, telling) = (watch::Sender::new(foreign), Mutex::default());
        Self { authority, registrar, registry, store, clock, foreign, issuer_url, state, telling }
    }

    /// Changes the registry by `change` and goes on with `foreign`; workloads are told of both at once.
    ///
    /// # Errors
    /// Those of `change`; everything then stays as it is.
    pub(super) fn change_with<E>(
        &self,
        foreign: Arc<Foreign>,
        change: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let telling = self.lock();
        change()?;
        self.foreign.send_replace(foreign);
        self.tell(&telling);
        Ok(())
    }

    /// Is up to date when this comes back, and stays so by the future that it gives, until `stop`: it follows the registry,
    /// the authorities, the kill switch and the bundles of others.
    pub(super) fn follow(
        self: Arc<Self>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let mut entries = self.registry.subscribe();
        let mut kills = kill_watch(&self.store);
        let mut foreign = self.foreign.subscribe();
        let mut others = foreign.borrow_and_update().bundles().subscribe();
        let mut keys = self.authority.subscribe();
        self.update();
        async move {
            loop {
                let changed = tokio::select! {
                    () = stop.cancelled() => return,
                    changed = entries.changed() => changed,
                    changed = kills.changed() => changed,
                    // Its sender goes with the rules that it belongs to: those of now have another.
                    _gone_or_changed = others.changed() => {
                        others = foreign.borrow_and_update().bundles().subscribe();
                        Ok(())
                    }
                    changed = foreign.changed() => {
                        others = foreign.borrow_and_update().bundles().subscribe();
                        changed
                    }
                    changed = keys.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                self.update();
            }
        }
    }

    /// Tells workloads what holds now.
    fn update(&self) {
        self.tell(&self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, _telling: &MutexGuard<'_, ()>) {
        let bundles = self.foreign().with(self.authority.trusted());
        let kills = Arc::clone(&kill_watch(&self.store).borrow());
        let now = state_of(self.registry.snapshot(), bundles, &kills);
        self.state.send_replace(Arc::new(now));
    }

    /// The entry, if it may be served right now.
    fn entry(&self, id: &EntryId) -> Result<Arc<Entry>, WorkloadError> {
        let snapshot = self.registry.snapshot();
        let entry = snapshot.entry(id).ok_or(WorkloadError::NotEntitled)?;
        let kills = Arc::clone(&kill_watch(&self.store).borrow());
        let stopped = kills.stops_agent(entry.spiffe_id(), StopPoint::Issue).is_some();
        // An SVID that would end within a second is none.
        let ended = entry.has_expired(self.clock.now() + SHORTEST_LIFETIME);
        if stopped || ended {
            return Err(WorkloadError::NotEntitled);
        }
        Ok(Arc::clone(entry))
    }

    /// `wanted`, but never past the end of the entry.
    fn lifetime(&self, entry: &Entry, wanted: Duration, now: Timestamp) -> Duration {
        match entry.expires_at() {
            Some(end) => {
                Duration::try_from(end.duration_since(now)).unwrap_or_default().min(wanted)
            }
            None => wanted,
        }
    }

    /// Mints an X.509-SVID for an endpoint of the trust domain itself, which no entry names.
    pub(super) async fn mint_endpoint_svid(
        &self,
        spiffe_id: &SpiffeId,
    ) -> Result<Arc<X509SvidMaterial>, WorkloadError> {
        let template = X509SvidTemplate {
            spiffe_id: spiffe_id.clone(),
            lifetime: self.registry.document().x509_svid_lifetime(),
            dns_names: Vec::new(),
        };
        let minted = self
            .authority
            .mint_x509_svid(&template, self.clock.now())
            .map_err(|error| WorkloadError::Mint(Box::new(error)))?;
        let event = Event::new(EventKind::SvidIssued, self.clock.now())
            .with_agent(spiffe_id.clone())
            .with_expires_at(minted.not_after)
            .with_detail("svid", "x509-svid")
            .with_detail("endpoint", spiffe_id.as_str().rsplit('/').next().unwrap_or_default());
        self.append(event).await?;
        Ok(Arc::new(material(minted)))
    }

    async fn record(
        &self,
        entry: &Entry,
        kind: &str,
        audience: &[String],
        end: Timestamp,
    ) -> Result<(), WorkloadError> {
        let event = Event::new(EventKind::SvidIssued, self.clock.now())
            .with_agent(entry.spiffe_id().clone())
            .with_audience(audience.iter().cloned())
            .with_expires_at(end)
            .with_detail("svid", kind)
            .with_detail("entry", entry.id().as_str());
        self.append(event).await
    }

    async fn append(&self, event: Event) -> Result<(), WorkloadError> {
        match self.store.append(event).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an SVID could not be recorded"
                );
                Err(WorkloadError::Unavailable)
            }
        }
    }
}

impl HandsOn for InProcessIssuer {
    fn hand_on(&self) {
        self.update();
    }
}

impl Issuer for InProcessIssuer {
    fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.subscribe()
    }

    fn settle<'a>(
        &'a self,
        selectors: &'a SelectorSet,
    ) -> BoxFuture<'a, Result<(), WorkloadError>> {
        Box::pin(async move {
            self.registrar.settle(selectors).await?;
            if self.state.borrow().registry.revision() < self.registry.snapshot().revision() {
                self.update();
            }
            Ok(())
        })
    }

    fn mint_x509_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let entry = self.entry(entry)?;
            let now = self.clock.now();
            let document = self.registry.document();
            let wanted = entry.x509_lifetime().unwrap_or_else(|| document.x509_svid_lifetime());
            let template = X509SvidTemplate {
                spiffe_id: entry.spiffe_id().clone(),
                lifetime: self.lifetime(&entry, wanted, now),
                dns_names: entry.dns_names().to_vec(),
            };
            let minted = self
                .authority
                .mint_x509_svid(&template, now)
                .map_err(|error| WorkloadError::Mint(Box::new(error)))?;
            self.record(&entry, "x509-svid", &[], minted.not_after).await?;
            Ok(Arc::new(material(minted)))
        })
    }

    fn mint_jwt_svid<'a>(
        &'a self,
        entry: &'a EntryId,
        audience: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<JwtSvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let entry = self.entry(entry)?;
            if !entry.allows_audiences(audience) {
                return Err(WorkloadError::AudienceNotAllowed);
            }
            let now = self.clock.now();
            let document = self.registry.document();
            let wanted = entry.jwt_lifetime().unwrap_or_else(|| document.jwt_svid_lifetime());
            let template = JwtSvidTemplate {
                spiffe_id: entry.spiffe_id().clone(),
                audience: audience.to_vec(),
                lifetime: self.lifetime(&entry, wanted, now),
            };
            let issuer = svid_issuer(&document, &self.issuer_url);
            let minted = match issuer.map_err(|error| WorkloadError::Mint(Box::new(error)))? {
                Some(issuer) => self.authority.mint_jwt_svid_of(issuer.as_str(), &template, now),
                None => self.authority.mint_jwt_svid(&template, now),
            };
            let minted = minted.map_err(|error| WorkloadError::Mint(Box::new(error)))?;
            self.record(&entry, "jwt-svid", audience, minted.expires_at).await?;
            Ok(Arc::new(JwtSvidMaterial {
                spiffe_id: minted.spiffe_id,
                token: minted.token,
                issued_at: minted.issued_at,
                expires_at: minted.expires_at,
            }))
        })
    }

    fn mint_wit_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<WitSvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let entry = self.entry(entry)?;
            let now = self.clock.now();
            // An entry whose X.509-SVIDs are to be short means the keys that come with them, and these do as well.
            let wanted = self.registry.document().wit_svid_lifetime();
            let wanted = entry.x509_lifetime().map_or(wanted, |own| own.min(wanted));
            let template = WitSvidTemplate {
                spiffe_id: entry.spiffe_id().clone(),
                lifetime: self.lifetime(&entry, wanted, now),
            };
            let minted = self
                .authority
                .mint_wit_svid(&template, now)
                .map_err(|error| WorkloadError::Mint(Box::new(error)))?;
            self.record(&entry, "wit-svid", &[], minted.expires_at).await?;
            let MintedWitSvid { spiffe_id, token, private_key, issued_at, expires_at } = minted;
            Ok(Arc::new(WitSvidMaterial { spiffe_id, token, private_key, issued_at, expires_at }))
        })
    }
}

fn material(minted: MintedX509Svid) -> X509SvidMaterial {
    let MintedX509Svid { spiffe_id, chain, private_key, not_before, not_after } = minted;
    let private_key = Zeroizing::new(private_key.expose_der().to_vec());
    let private_key = PrivateKey::from_pkcs8_der(private_key);
    X509SvidMaterial { spiffe_id, chain, private_key, not_before, not_after }
}

fn state_of(registry: Arc<Snapshot>, bundles: BundleSet, kills: &KillState) -> IssuerState {
    let mut stops = Stops::default();
    for kill in kills.kills.iter().filter(|kill| kill.mode.stops(StopPoint::Issue)) {
        match &kill.scope {
            KillScope::Agent(agent) => {
                stops.agents.insert(agent.clone());
            }
            KillScope::TrustDomain | KillScope::All => stops.all = true,
            KillScope::Sponsor(_) | KillScope::Build(_) => {
                let alone = kills.only(kill);
                let all = registry.entries().iter().map(|entry| entry.spiffe_id());
                let stopped = |id: &&SpiffeId| alone.stops_agent(id, StopPoint::Issue).is_some();
                stops.agents.extend(all.filter(stopped).cloned());
            }
            // These end grants and tokens; the identity of the agents that had them stands.
            KillScope::Credential(_)
            | KillScope::Key(_)
            | KillScope::Grant(_)
            | KillScope::Task(_)
            | KillScope::Session(_)
            | KillScope::PlaybookVersion(_)
            | KillScope::Playbook(_)
            | KillScope::Tool(_)
            | KillScope::Delegator(_)
            | KillScope::Tenant(_) => {}
        }
    }
    stops.builds =
        kills.builds(StopPoint::Issue).map(|build| hex::encode(build.as_bytes())).collect();
    IssuerState { registry, bundles: Arc::new(bundles), stops, epoch: kills.epoch }
}
