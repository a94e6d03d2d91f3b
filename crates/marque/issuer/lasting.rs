//! What of a trust domain lives as long as the process, whatever becomes of its folder: keys, store, kill switch, log, the
//! state that workloads follow, and whatever is remembered in memory alone.
//!
//! Absent: every rule that the folder says.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::Context as _;
use jiff::Timestamp;
use marque_audit::{LogStore, LogTree, VerifierKey};
use marque_authority::{Authority, AuthorityConfig, SigningGuard, UpstreamRule};
use marque_exchange::{EnvironmentLookup, IssuerUrl, NonceSecret, OAuthError, SignedStatusList};
use marque_keys::{KeyAlgorithm, KeyManager};
use marque_registry::{
    DownstreamSettings, Entry, JwtSvidAlgorithm, Registry, Template, TrustDomainDocument,
};
use marque_spiffe::{Clock, Environment, Random, TrustDomain};
use marque_store::Store;
use marque_workload::{Workload, WorkloadLimits};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::Neighbours;
use super::builds::Builds;
use super::desk::{PostureBoard, SlowRoom};
use super::endings;
use super::figures::Figures;
use super::folder::FolderFiles;
use super::keys::CheckpointKey;
use super::kill::KillSwitch;
use super::minting::InProcessIssuer;
use super::readiness::Looked;
use super::registrar::Registrar;
use super::reload::FolderState;
use super::served::Served;
use super::signing_guard;
use crate::approvers::{LoginSecret, Looks};
use crate::discovery;
use crate::federation::{KeptBundles, News};
use crate::identities::{Denials, Lost, Presence, SharedIdentities};
use crate::payloads::{PayloadKey, Payloads};
use crate::telemetry::inventory::Textfile;

/// What lives as long as the process that serves a trust domain.
#[derive(Debug)]
pub struct Lasting {
    pub(super) authority: Arc<Authority>,
    pub(super) status_lists: Builds<Result<Option<Arc<SignedStatusList>>, Arc<OAuthError>>>,
    pub(super) registrar: Arc<Registrar>,
    pub(super) kill_switch: Arc<KillSwitch>,
    pub(super) store: Arc<Store>,
    pub(super) minting: Arc<InProcessIssuer>,
    pub(super) workload: OnceLock<Workload>,
    pub(super) sharing: Arc<SharedIdentities>,
    pub(super) denials: Arc<Denials>,
    pub(super) checkpoint_key: Arc<CheckpointKey>,
    pub(super) keys: Arc<dyn KeyManager>,
    pub(super) log_key: VerifierKey,
    pub(super) log_tree: Arc<LogTree>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) environments: Arc<dyn EnvironmentLookup>,
    pub(super) neighbours: Neighbours,
    pub(super) started_at: Timestamp,
    pub(super) issuer_url: IssuerUrl,
    /// Whether the log could be read and signed when that was last tried.
    pub(super) ready: AtomicBool,
    pub(super) looked: Looked,
    pub(super) figures: Figures,
    pub(super) inventory: OnceLock<Textfile>,
    pub(super) presence: Arc<Presence>,
    /// Which agents' last processes exited, for whoever ends their grants.
    pub(super) lost: Mutex<Option<UnboundedReceiver<Lost>>>,
    pub(super) payloads: Arc<Payloads>,
    pub(super) postures: Arc<PostureBoard>,
    pub(super) slow: Arc<SlowRoom>,
    pub(super) looks: Arc<Looks>,
    pub(super) nonce_secret: NonceSecret,
    pub(super) login_secret: Arc<LoginSecret>,
    pub(super) kept_bundles: KeptBundles,
    /// That a relationship with another trust domain changed.
    pub(super) federation_news: Arc<News>,
    /// What is known of the folder in force.
    pub(super) folder: Mutex<FolderState>,
    /// Who reads the folder anew, as soon as the trust domain is served.
    pub(super) served: OnceLock<Weak<Served>>,
}

/// What an issuer is opened with, beside its folder.
#[derive(Debug)]
pub(crate) struct IssuerParts {
    pub(crate) issuer_url: IssuerUrl,
    pub(crate) keys: Arc<dyn KeyManager>,
    /// Who signs the certificates of X.509 authorities.
    pub(crate) upstream: Option<UpstreamRule>,
    pub(crate) store: Arc<Store>,
    pub(crate) environments: Arc<dyn EnvironmentLookup>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) neighbours: Neighbours,
    /// What nonces and challenges are made with.
    pub(crate) nonce_secret: NonceSecret,
    /// What logins and sessions of approvers are made with.
    pub(crate) login_secret: LoginSecret,
    /// What agents write is sealed with.
    pub(crate) payload_key: PayloadKey,
    /// Where the bundles that were fetched are kept.
    pub(crate) kept_bundles: PathBuf,
}

impl Lasting {
    /// Opens the authorities, and loads the entries: those of the folder, which fit `document`, and those in the store.
    pub(super) async fn open(
        document: &Arc<TrustDomainDocument>,
        (entries, files): ((Vec<Entry>, Vec<Template>), FolderFiles),
        parts: IssuerParts,
    ) -> anyhow::Result<Self> {
        let IssuerParts {
            issuer_url,
            keys,
            upstream,
            store,
            environments,
            clock,
            random,
            neighbours,
            nonce_secret,
            login_secret,
            payload_key,
            kept_bundles,
        } = parts;
        let now = clock.now();
        let svid_issuer = discovery::svid_issuer(document, &issuer_url)?;
        let names = signing_guard::Names { issuer: &issuer_url, svids: svid_issuer.as_ref() };
        let guard = signing_guard::guard(document, names, Arc::clone(&store) as _, &clock);
        store.know_tenant(document.tenant().as_str());
        let kept_in = (&store, &clock, &random);
        let config = authority_config(document, upstream, guard);
        let authority = Arc::new(authorities(config, Arc::clone(&keys), kept_in, now).await?);
        let registrar = Arc::new(registrar(document, entries, kept_in).await?);
        let known = Arc::clone(registrar.registry());
        let kill_switch =
            KillSwitch::new(Arc::clone(&store), Arc::clone(&known), Arc::clone(&clock));
        let checkpoint_key =
            Arc::new(CheckpointKey::new(document.name(), authority.checkpoint_key().clone())?);
        let minting = InProcessIssuer::new(
            Arc::clone(&authority),
            Arc::clone(&registrar),
            Arc::clone(&store),
            Arc::clone(&clock),
            issuer_url.clone(),
        );
        let (presence, lost) = Presence::new(Arc::clone(&clock));
        let log: Arc<dyn LogStore> = Arc::clone(&store) as _;
        let sharing = SharedIdentities::new(Arc::clone(&known), log, Arc::clone(&clock));
        let sharing = sharing.watched_by(Arc::clone(&presence));
        let denials = Denials::new(known, Arc::clone(&clock));
        let log_key = checkpoint_key.verifier_key()?;
        let log_tree = LogTree::new(Arc::clone(&store) as _, log_key.clone());
        let payloads = Payloads::new(payload_key, document.name().as_str(), kept_in);
        Ok(Self {
            authority,
            status_lists: Builds::default(),
            registrar,
            kill_switch: Arc::new(kill_switch),
            postures: Arc::new(PostureBoard::new(Arc::clone(&store))),
            store,
            minting: Arc::new(minting),
            workload: OnceLock::new(),
            sharing: Arc::new(sharing),
            denials: Arc::new(denials),
            checkpoint_key,
            keys,
            log_key,
            log_tree: Arc::new(log_tree),
            clock,
            random,
            environments,
            neighbours,
            started_at: now,
            issuer_url,
            ready: AtomicBool::new(true),
            looked: Looked::default(),
            figures: Figures::new(document.name(), document.environment()),
            inventory: OnceLock::new(),
            presence,
            lost: Mutex::new(Some(lost)),
            payloads: Arc::new(payloads),
            slow: Arc::default(),
            looks: Arc::default(),
            nonce_secret,
            login_secret: Arc::new(login_secret),
            kept_bundles: KeptBundles::new(kept_bundles),
            federation_news: Arc::default(),
            folder: Mutex::new(FolderState::new(files, now)),
            served: OnceLock::new(),
        })
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        self.authority.trust_domain()
    }

    /// Its environment.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.authority.environment()
    }

    /// Where entries are added and removed.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// The kill switch.
    #[must_use]
    pub fn kill_switch(&self) -> &KillSwitch {
        &self.kill_switch
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        self.registrar.registry()
    }

    /// The node's half: what local callers are entitled to.
    pub(super) fn workload(&self) -> Workload {
        let made = || {
            let splay = self.registry().document().workload_api().splay.as_duration();
            let (issuer, clock) = (Arc::clone(&self.minting) as _, Arc::clone(&self.clock));
            Workload::with_splay(issuer, clock, WorkloadLimits::default(), splay)
        };
        self.workload.get_or_init(made).clone()
    }

    /// What every SVID passes on its way out.
    pub(crate) fn sharing(&self) -> &Arc<SharedIdentities> {
        &self.sharing
    }

    /// Whom the doors refused.
    pub(crate) fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Ends what hangs on an agent's process when its last one has exited.
    pub(super) async fn end_with_agents(&self, stop: CancellationToken) {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lost) = lost {
            endings::end_with_agents(self, lost, &stop).await;
        }
    }

    pub(super) fn follow_changes(
        &self,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.minting).follow(stop)
    }
}

/// What rooms keep things in: the store, by this clock and this randomness.
type KeptIn<'a> = (&'a Arc<Store>, &'a Arc<dyn Clock>, &'a Arc<dyn Random>);

async fn authorities(
    config: AuthorityConfig,
    keys: Arc<dyn KeyManager>,
    (store, _clock, random): KeptIn<'_>,
    now: Timestamp,
) -> anyhow::Result<Authority> {
    let store = Arc::clone(store) as _;
    let authority = Authority::open(config, keys, store, Arc::clone(random), now).await;
    authority.context("open the signing authorities")
}

async fn registrar(
    document: &Arc<TrustDomainDocument>,
    entries: (Vec<Entry>, Vec<Template>),
    (store, clock, random): KeptIn<'_>,
) -> anyhow::Result<Registrar> {
    let (store, clock, random) = (Arc::clone(store), Arc::clone(clock), Arc::clone(random));
    let registrar = Registrar::open(Arc::clone(document), entries, store, clock, random);
    registrar.await.context("load the registration entries")
}

pub(super) fn authority_config(
    document: &TrustDomainDocument,
    upstream: Option<UpstreamRule>,
    guard: SigningGuard,
) -> AuthorityConfig {
    AuthorityConfig {
        trust_domain: document.name().clone(),
        environment: document.environment(),
        ca_lifetime: document.ca_lifetime(),
        max_x509_svid_lifetime: document.x509_svid_lifetime(),
        max_jwt_svid_lifetime: document.jwt_svid_lifetime(),
        max_wit_svid_lifetime: document.wit_svid_lifetime(),
        max_access_token_lifetime: document.max_access_token_lifetime(),
        jwt_svid_algorithm: match document.authorities().jwt_svid {
            JwtSvidAlgorithm::Es256 => KeyAlgorithm::EcdsaP256,
            JwtSvidAlgorithm::Rs256 => KeyAlgorithm::Rsa2048,
        },
        wit_svids: document.workload_api().wit_svid,
        path_length: document.authorities().path_length,
        max_downstream_lifetime: document.downstream().map(DownstreamSettings::max_lifetime),
        refresh_hint: document.refresh_hint(),
        name_constraints: document.authorities().name_constraints,
        upstream,
        guard,
        earlier: None,
    }
}
