//! The issuer role: one trust domain's authorities, registry, intents, token service and log, wired together.
//!
//! [`Issuer`] is what the edges see. It is opened from a checked folder, served by [`serve`], and knows no protocol.

mod admin_door;
mod broker;
mod builds;
mod change_control;
mod desk;
mod endings;
mod figures;
pub mod folder;
mod foreign;
mod growing;
mod http_door;
mod keys;
pub mod kill;
mod minting;
mod pruning;
mod readiness;
mod registrar;
pub(crate) mod run;
pub mod serve;
mod store;
mod token_config;
mod versions;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore, LogTree, VerifierKey};
use marque_authority::{Authority, AuthorityConfig};
use marque_exchange::{
    ClientAuthenticator, EnvironmentLookup, IssuerUrl, NonceSecret, OAuthError, SignedStatusList,
    TokenService, TokenServiceParts,
};
use marque_intent::{ApprovalLimits, Caps};
use marque_keys::KeyManager;
use marque_registry::{Registry, TrustDomainDocument};
use marque_spiffe::{Bundle, BundleSource, Clock, Environment, Random, TrustDomain};
use marque_store::Store;
use marque_workload::{BundleSet, Profiles, Workload, WorkloadLimits};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

pub use self::desk::{DeskError, IntentDesk};
pub use self::kill::KillSwitch;
pub use self::registrar::{Registrar, RegistrarError};
pub use self::run::run;

use crate::approvers::{ApprovalDesk, ApprovalDeskParts, Approvers, ApproversParts, LoginSecret};
use crate::authzen::ExternalPoint;
use crate::change::{self, ChangeControl};
use crate::federation::{self, KeptBundles, Relationship};
use crate::oidc::{FetchedKeys, OidcKeyRing};

use self::builds::Builds;
use self::desk::{FurtherPoints, PostureBoard, SlowRoom};
use self::figures::Figures;
use self::folder::CheckedFolder;
use self::foreign::Foreign;
use self::keys::CheckpointKey;
use self::minting::InProcessIssuer;
use self::readiness::Looked;
use crate::identities::{Denials, Lost, Presence, SharedIdentities};
use crate::payloads::{PayloadKey, Payloads};
use crate::post_checks::PostChecks;
use crate::sinks::{Sinks, SinksParts};
use crate::ssf::{Signals, SignalsParts};
use crate::telemetry::inventory::Textfile;
use crate::webhooks::{Webhooks, WebhooksParts};
use crate::witnesses::{Witnesses, WitnessesParts};

/// The registries of every trust domain that a process serves, for asking whether a process is an agent of any.
pub(crate) type Neighbours = Arc<OnceLock<Vec<Arc<Registry>>>>;

/// One trust domain's issuer.
#[derive(Debug)]
pub struct Issuer {
    authority: Arc<Authority>,
    tokens: Arc<TokenService>,
    status_lists: Builds<Result<Option<Arc<SignedStatusList>>, Arc<OAuthError>>>,
    intents: Arc<IntentDesk>,
    registrar: Registrar,
    kill_switch: Arc<KillSwitch>,
    store: Arc<Store>,
    minting: Arc<InProcessIssuer>,
    workload: OnceLock<Workload>,
    relationships: Vec<Arc<Relationship>>,
    oidc_keys: Arc<OidcKeyRing>,
    approval_desk: Arc<ApprovalDesk>,
    approvers: Option<Arc<Approvers>>,
    webhooks: Arc<Webhooks>,
    sinks: Arc<Sinks>,
    witnesses: Arc<Witnesses>,
    post_checks: Arc<PostChecks>,
    signals: Arc<Signals>,
    profiles: Profiles,
    sharing: Arc<SharedIdentities>,
    denials: Arc<Denials>,
    checkpoint_key: Arc<CheckpointKey>,
    log_key: VerifierKey,
    log_tree: Arc<LogTree>,
    clock: Arc<dyn Clock>,
    neighbours: Neighbours,
    started_at: Timestamp,
    issuer_url: IssuerUrl,
    /// Whether the log could be read and signed when that was last tried.
    ready: AtomicBool,
    looked: Looked,
    figures: Figures,
    inventory: OnceLock<Textfile>,
    /// Which agents' last processes exited, for whoever ends their grants.
    lost: Mutex<Option<UnboundedReceiver<Lost>>>,
}

/// What an issuer is opened with, beside its folder.
#[derive(Debug)]
pub(crate) struct IssuerParts {
    pub(crate) issuer_url: IssuerUrl,
    pub(crate) keys: Arc<dyn KeyManager>,
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

impl Issuer {
    /// Opens the authorities, loads the entries, and wires the rooms.
    pub(crate) async fn open(checked: CheckedFolder, parts: IssuerParts) -> anyhow::Result<Self> {
        let CheckedFolder { folder, playbooks, calendars, policy, rosters } = checked;
        let IssuerParts {
            issuer_url,
            keys,
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
        let document = Arc::new(folder.document);
        let now = clock.now();
        versions::are_as_granted(&playbooks, &store).await?;
        let asked = document.approvals();
        store.know_tenant(document.tenant().as_str());
        store.limit_approvals(ApprovalLimits {
            max_per_hour: asked.max_per_hour,
            max_pending: asked.max_pending,
        });
        let authority =
            Authority::open(authority_config(&document), keys, &*store, Arc::clone(&random), now)
                .await;
        let authority = Arc::new(authority.context("open the signing authorities")?);
        record_new_authorities(&store, &authority, now).await?;
        let registrar = Registrar::open(
            Arc::clone(&document),
            folder.entries,
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&random),
        );
        let registrar = registrar.await.context("load the registration entries")?;
        let kept = KeptBundles::new(kept_bundles);
        let federated = federation::open(&document, folder.federated, &kept, now)?;
        let lists = folder.revocation_lists;
        let foreign = Foreign::new(Arc::clone(&federated), lists, &authority.bundle());
        // The token endpoint takes SVIDs of the own trust domain alone: federation is for workloads among themselves.
        let bundles = Arc::new(BundleSet::new(authority.bundle(), []));
        let config = token_config::of(&document, issuer_url.clone())?;
        let (issuers, files) = (document.issuer_keys(), folder.issuer_keys);
        let oidc_keys = Arc::new(OidcKeyRing::open(issuers, &folder.path, files, &clock)?);
        let (presence, lost) = if playbooks.iter().any(|playbook| playbook.ends().with_agent) {
            let (presence, lost) = Presence::new(Arc::clone(&clock));
            (Some(presence), Some(lost))
        } else {
            (None, None)
        };
        let pace = desk::pace_settings(document.denials());
        let systems = document.ticket_systems();
        let change = ChangeControl::open(systems, calendars, &folder.path, &clock)?;
        let change = Arc::new(change);
        let playbooks = Arc::new(playbooks);
        let webhooks = WebhooksParts {
            issuer: issuer_url.clone(),
            playbooks: Arc::clone(&playbooks),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let kept_by = (&store, &clock, &random);
        let post_checks = PostChecks::open(&document, &folder.path, &playbooks, kept_by)?;
        let webhooks = Arc::new(Webhooks::open(&document, &folder.path, webhooks)?);
        let sinks = SinksParts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let sinks = Arc::new(Sinks::open(&document, &folder.path, sinks)?);
        let signals = SignalsParts {
            issuer: issuer_url.clone(),
            signer: authority.access_token_signer(),
            keys: Arc::clone(&oidc_keys),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let signals = Arc::new(Signals::open(&document, &folder.path, signals)?);
        let payloads = (&store, &clock, &random);
        let payloads = Payloads::new(payload_key, document.name().as_str(), payloads);
        let intents = Arc::new(IntentDesk {
            payloads: Arc::new(payloads),
            environment: document.environment(),
            playbooks,
            policy: Arc::new(policy),
            slow: SlowRoom::default(),
            further: further_points(&document, &folder.path)?,
            postures: PostureBoard::new(Arc::clone(&store)),
            change: Arc::clone(&change),
            registry: Arc::clone(registrar.registry()),
            rosters: Arc::new(rosters),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            caps: caps(&document),
            presence: presence.clone(),
            pace: pace.clone(),
        });
        let approval_desk = Arc::new(ApprovalDesk::open(ApprovalDeskParts {
            store: Arc::clone(&store),
            registry: Arc::clone(registrar.registry()),
            rosters: Arc::clone(&intents.rosters),
            intents: Arc::clone(&intents),
            clock: Arc::clone(&clock),
        }));
        let approvers = ApproversParts {
            desk: Arc::clone(&approval_desk),
            folder: &folder.path,
            issuer: issuer_url.clone(),
            keys: &oidc_keys,
            secret: login_secret,
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let approvers = Approvers::open(&document, approvers)?.map(Arc::new);
        store.keep_pace(pace);
        let known = Arc::clone(registrar.registry());
        let kill_switch = Arc::new(KillSwitch::new(Arc::clone(&store), known, Arc::clone(&clock)));
        let tokens = TokenService::new(
            config,
            TokenServiceParts {
                bundles,
                environments,
                oidc_keys: Arc::clone(&oidc_keys) as _,
                signer: authority.access_token_signer(),
                keys: authority.access_token_keys(),
                store: Arc::clone(&store) as _,
                deferrals: Arc::clone(&store) as _,
                desk: Arc::clone(&intents) as _,
                gate: change,
                life: Arc::clone(&store) as _,
                replays: Arc::clone(&store) as _,
                nonce_secret,
                random: Arc::clone(&random),
                clock: Arc::clone(&clock),
            },
        );
        let checkpoint_key =
            Arc::new(CheckpointKey::new(document.name(), authority.checkpoint_key().clone())?);
        let minting = InProcessIssuer::new(
            Arc::clone(&authority),
            Arc::clone(registrar.registry()),
            Arc::clone(&store),
            Arc::clone(&clock),
            foreign,
        );
        let own = OwnBundle(Arc::clone(&authority));
        let relationships =
            federation::relationships(&document, &folder.path, &federated, own, &kept, &clock)?;
        let log: Arc<dyn LogStore> = Arc::clone(&store) as _;
        let sharing = SharedIdentities::new(Arc::clone(&document), log, Arc::clone(&clock));
        let sharing = match presence {
            Some(presence) => sharing.watched_by(presence),
            None => sharing,
        };
        let denials = Denials::new(Arc::clone(&document), Arc::clone(&clock));
        let log_key = checkpoint_key.verifier_key()?;
        let log_tree = Arc::new(LogTree::new(Arc::clone(&store) as _, log_key.clone()));
        let witnesses = WitnessesParts {
            key: log_key.clone(),
            tree: Arc::clone(&log_tree),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let witnesses = Arc::new(Witnesses::open(&document, &folder.path, witnesses)?);
        Ok(Self {
            relationships,
            oidc_keys,
            approval_desk,
            approvers,
            webhooks,
            sinks,
            post_checks: Arc::new(post_checks),
            signals,
            intents,
            registrar,
            kill_switch,
            log_key,
            log_tree,
            witnesses,
            checkpoint_key,
            minting: Arc::new(minting),
            workload: OnceLock::new(),
            profiles: profiles(&document),
            sharing: Arc::new(sharing),
            denials: Arc::new(denials),
            authority,
            tokens: Arc::new(tokens),
            status_lists: Builds::default(),
            store,
            clock,
            neighbours,
            started_at: now,
            issuer_url,
            ready: AtomicBool::new(true),
            looked: Looked::default(),
            inventory: OnceLock::new(),
            figures: Figures::new(document.name(), document.environment()),
            lost: Mutex::new(lost),
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

    /// The token service.
    #[must_use]
    pub fn tokens(&self) -> &TokenService {
        &self.tokens
    }

    /// Who authenticates the callers of the HTTP edge.
    #[must_use]
    pub fn authenticator(&self) -> &ClientAuthenticator {
        self.tokens.authenticator()
    }

    /// Where intents are asked for.
    #[must_use]
    pub fn intents(&self) -> &IntentDesk {
        &self.intents
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
    fn workload(&self) -> Workload {
        let made = || {
            let splay = self.registry().document().workload_api().splay.as_duration();
            let (issuer, clock) = (Arc::clone(&self.minting) as _, Arc::clone(&self.clock));
            Workload::with_splay(issuer, clock, WorkloadLimits::default(), splay)
        };
        self.workload.get_or_init(made).clone()
    }

    /// Whether Envoy's secret discovery service is served beside the Workload API.
    fn serves_envoy_sds(&self) -> bool {
        self.registry().document().workload_api().envoy_sds
    }

    /// Which profiles of the Workload API are served.
    fn profiles(&self) -> Profiles {
        self.profiles
    }

    /// The bundles that are fetched.
    fn relationships(&self) -> &[Arc<Relationship>] {
        &self.relationships
    }

    /// The keys of issuers of ID tokens and of grants that are fetched.
    fn fetched_keys(&self) -> impl Iterator<Item = &Arc<FetchedKeys>> {
        self.oidc_keys.fetched()
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
    async fn end_with_agents(self: Arc<Self>, stop: CancellationToken) {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lost) = lost {
            endings::end_with_agents(&self, lost, &stop).await;
        }
    }

    /// What holds the grants that were given to their tickets and calendars.
    fn change_watch(&self) -> change::Watch {
        change::Watch {
            control: Arc::clone(&self.intents.change),
            playbooks: Arc::clone(&self.intents.playbooks),
            store: Arc::clone(&self.store) as _,
            open: Arc::clone(&self.store) as _,
            clock: Arc::clone(&self.clock),
        }
    }

    fn follow_changes(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.minting).follow(stop)
    }
}

/// The own bundle of the moment.
#[derive(Debug)]
struct OwnBundle(Arc<Authority>);

impl BundleSource for OwnBundle {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        (trust_domain == self.0.trust_domain()).then(|| self.0.bundle())
    }
}

/// The further decision points of the document.
fn further_points(
    document: &TrustDomainDocument,
    folder: &std::path::Path,
) -> anyhow::Result<FurtherPoints> {
    let rules = document.decision_points().iter();
    let external = rules.map(|rule| {
        let name = rule.name();
        ExternalPoint::open(rule, folder)
            .with_context(|| format!("open the decision point `{name}`"))
    });
    Ok(FurtherPoints { external: external.collect::<Result<_, _>>()? })
}

/// Puts it on record when keys were made (M 106: the issuer's own events are in the log too).
async fn record_new_authorities(
    store: &Store,
    authority: &Authority,
    now: Timestamp,
) -> anyhow::Result<()> {
    for slot in authority.created() {
        let event = Event::new(EventKind::AuthorityCreated, now)
            .with_expires_at(authority.ends_at())
            .with_detail("slot", slot.to_string());
        store.append(event).await.context("record a new signing authority")?;
    }
    Ok(())
}

fn authority_config(document: &TrustDomainDocument) -> AuthorityConfig {
    AuthorityConfig {
        trust_domain: document.name().clone(),
        environment: document.environment(),
        ca_lifetime: document.ca_lifetime(),
        max_x509_svid_lifetime: document.x509_svid_lifetime(),
        max_jwt_svid_lifetime: document.jwt_svid_lifetime(),
        max_wit_svid_lifetime: document.wit_svid_lifetime(),
        wit_svids: document.workload_api().wit_svid,
        refresh_hint: document.refresh_hint(),
    }
}

fn caps(document: &TrustDomainDocument) -> Caps {
    let settings = document.grants();
    Caps {
        per_agent: Some(settings.max_open_per_agent),
        per_delegator: Some(settings.max_open_per_delegator),
        per_target: Some(settings.max_open_per_target),
    }
}

fn profiles(document: &TrustDomainDocument) -> Profiles {
    let settings = document.workload_api();
    Profiles { x509: settings.x509_svid, jwt: settings.jwt_svid, wit: settings.wit_svid }
}
