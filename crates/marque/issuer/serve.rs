//! Serving one trust domain: build (bind and open everything that can fail), run, drain.
//!
//! Layout of a trust domain's data folder: `workload.sock`, `admin.sock` and, where there are brokers, `broker.sock`; and
//! `private/` (mode 0700) with the sealed keys, the SQLite file, the kill journal, `high-water.json`, which says how far the log was
//! signed, and `federation/`, the bundles that were fetched.

use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use marque_attest::Attestors;
use marque_audit::{LogStore, Sequencer, checkpoint::origin};
use marque_exchange::{Endpoint, EnvironmentLookup, IssuerUrl, NonceSecret};
use marque_keys::SealingKey;
use marque_registry::{LimitSettings, TrustDomainDocument};
use marque_spiffe::{Clock, Random};
use marque_workload::Workload;
use rustls::ServerConfig;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::authorities;
use super::broker::BrokerEndpoint;
use super::bundle_endpoint::BundleEndpoint;
use super::downstream::DownstreamServer;
use super::endings;
use super::folder::{CheckedFolder, local_url};
use super::growing::grow_tree;
use super::noting::{keep_noting, note};
use super::pruning::prune;
use super::served::Served;
use super::watch::watch;
use super::{Issuer, IssuerParts, Lasting, Neighbours};
use crate::approvers::LoginSecret;
use crate::attestors;
use crate::backup::{self, Held, HighWater, record_restore};
use crate::cli::StoreOption;
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::admin::{AdminDoors, serve_admin};
use crate::grpc::serve::ask_for_senders;
use crate::grpc::workload::{WorkloadDoor, serve_workload};
use crate::http::{HttpLimits, HttpServer, bundle as http_bundle};
use crate::payloads::PayloadKey;

/// The longest socket path: Linux allows 107 bytes, and clients may add to what they are told.
const MAX_SOCKET_PATH: usize = 100;
/// Who may open the Workload API socket: everybody; attestation decides what they get (WE-3).
const WORKLOAD_SOCKET_MODE: u32 = 0o666;
/// Who may open the Broker API socket: everybody; mutual TLS decides who gets further (BR-1).
const BROKER_SOCKET_MODE: u32 = 0o666;
/// Who may open the admin socket: the daemon's user and group; the gate decides what they may do.
const ADMIN_SOCKET_MODE: u32 = 0o660;
/// How often clocks that ran out and entries that another replica changed are looked for. A reader never sees an intent
/// that ran out as alive; this tells the log.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long before their end the signing authorities are warned of, and how often.
const WARNING_AHEAD: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How far apart checkpoints are at least: each costs a commit, and one covers all that was recorded since the last. So far
/// behind its leaves the newest checkpoint may be.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(50);
/// How long to wait before the log is sequenced again after a failure.
const SEQUENCER_RETRY: Duration = Duration::from_secs(1);

/// What every trust domain of a process shares.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// The folder of the trust domains.
    pub(crate) trust_domains: PathBuf,
    /// Whether a change of its files reloads it.
    pub(crate) watch: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) store: StoreOption,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) ca_file: PathBuf,
    pub(crate) environments: Arc<dyn EnvironmentLookup>,
    pub(crate) neighbours: Neighbours,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// One trust domain with everything bound and open, not yet served.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) served: Arc<Served>,
    pub(crate) endpoints: TrustDomainEndpoints,
    https: HttpServer,
    workload: UnixListener,
    admin: UnixListener,
    broker: Option<BrokerEndpoint>,
    bundle: Option<BundleEndpoint>,
    downstream: Option<DownstreamServer>,
    attestors: Arc<Attestors>,
    high_water: Arc<HighWater>,
    held: Held,
}

/// The limits of the HTTPS edge: how many connections is the document's to say.
fn http_limits(limits: &LimitSettings) -> HttpLimits {
    let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    HttpLimits {
        connections: count(limits.https_connections),
        connections_per_address: count(limits.https_connections_per_address),
        ..HttpLimits::default()
    }
}

/// Binds the listeners of a trust domain, opens its keys, store and authorities.
pub(crate) async fn build(
    checked: CheckedFolder,
    listen: Option<SocketAddr>,
    sealing: &SealingKey,
    shared: &Shared,
) -> anyhow::Result<Built> {
    let document = &checked.folder.document;
    let attestors = attestors::of(document.attestation(), &shared.clock);
    let name = document.name().clone();
    let environment = document.environment();
    let folder = shared.data_dir.join(name.as_str());
    let private = folder.join("private");
    make_folder(&folder, 0o755)?;
    let held = backup::hold(&folder)?;
    backup::tidy_up(&private, &*shared.clock)?;
    make_folder(&private, 0o700)?;

    let address = listen.unwrap_or_else(|| document.hosts().listen());
    let https = HttpServer::bind(address, Arc::clone(&shared.tls), http_limits(document.limits()))
        .await
        .with_context(|| format!("listen on {address} for `{name}`; is another marque running?"))?;
    let issuer_url = issuer_url(document, https.local_addr())?;
    let workload_api_socket = folder.join("workload.sock");
    let admin_socket = folder.join("admin.sock");
    let workload = bind_socket(&workload_api_socket, WORKLOAD_SOCKET_MODE)?;
    let admin = bind_socket(&admin_socket, ADMIN_SOCKET_MODE)?;

    let keys = super::key_store::open(document, &private, sealing)?;
    let store = super::store::open(&shared.store, &private, &name, Arc::clone(&shared.clock))
        .await
        .with_context(|| format!("open the store of `{name}`"))?;
    store.know_tenant(document.tenant().as_str());
    let high_water = Arc::new(HighWater::open(&private, &name, &store).await?);
    record_restore(&private, &store, &*shared.clock).await?;
    let upstream = crate::upstream::open(document, &checked.folder.path, &shared.clock)?;
    let parts = IssuerParts {
        issuer_url: issuer_url.clone(),
        keys,
        upstream,
        store: Arc::new(store),
        environments: Arc::clone(&shared.environments),
        clock: Arc::clone(&shared.clock),
        random: Arc::clone(&shared.random),
        neighbours: Arc::clone(&shared.neighbours),
        nonce_secret: NonceSecret::new(*sealing.derive("dpop-nonce", name.as_str())),
        login_secret: LoginSecret::new(
            &sealing.derive("approver-login", name.as_str()),
            name.as_str(),
        )?,
        payload_key: PayloadKey::new(&sealing.derive("audit-payload", name.as_str()))?,
        kept_bundles: private.join("federation"),
    };
    let issuer = Issuer::open(checked, parts)
        .await
        .with_context(|| format!("open the issuer of `{name}`"))?;
    // Before anything is served: nobody uses what the rules of now would not give.
    let drift = issuer.intents.review_open().await;
    let drift =
        drift.with_context(|| format!("hold the open grants of `{name}` against its rules"))?;
    if drift != Default::default() {
        tracing::warn!(?drift, trust_domain = %name, "open grants did not fit the rules of now");
    }
    let broker = BrokerEndpoint::build(&issuer, folder.join("broker.sock"), |path| {
        bind_socket(path, BROKER_SOCKET_MODE)
    })
    .await?;
    let limits = http_limits(issuer.registry().document().limits());
    let bundle = BundleEndpoint::build(&issuer, limits.clone()).await?;
    let downstream = DownstreamServer::build(&issuer, limits).await?;
    let endpoints = TrustDomainEndpoints {
        name,
        environment,
        workload_api_socket,
        admin_socket,
        broker_api_socket: broker.as_ref().map(|broker| broker.socket.clone()),
        token_endpoint: Endpoint::Token.url(&issuer_url),
        intents_url: issuer_url.join("/v1/intents"),
        jwks_url: Endpoint::Jwks.url(&issuer_url),
        bundle_url: issuer_url.join(http_bundle::PATH),
        bundle_spiffe: bundle.as_ref().map(|bundle| bundle.at.clone()),
        downstream: downstream.as_ref().map(|downstream| downstream.at.clone()),
        svid_issuer_url: issuer.svid_issuer.as_ref().map(ToString::to_string),
        issuer_url: issuer_url.as_str().to_owned(),
        ca_file: shared.ca_file.clone(),
    };
    Ok(Built {
        served: Served::new(issuer, &https, shared.trust_domains.clone()),
        endpoints,
        https,
        workload,
        admin,
        broker,
        bundle,
        downstream,
        attestors: Arc::new(attestors),
        high_water,
        held,
    })
}

impl Built {
    /// Serves until `stop`, drains, and comes back.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            served,
            endpoints,
            https,
            workload,
            admin,
            broker,
            bundle,
            downstream,
            attestors,
            high_water,
            held: _held,
        } = self;
        let issuer = Arc::clone(served.lasting());
        issuer.serves_until(stop.clone());
        let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
        // Before anybody is listened to: entries may have come since it was built.
        let following = issuer.follow_changes(stop.clone());
        tasks.spawn(async move {
            following.await;
            Ok(())
        });
        let identities = Arc::new(issuer.workload());
        let door = WorkloadDoor {
            attestors: Arc::clone(&attestors),
            workload: Arc::clone(&identities),
            profiles: issuer.profiles(),
            envoy_sds: issuer.serves_envoy_sds(),
            sharing: Arc::clone(issuer.sharing()),
            denials: Arc::clone(issuer.denials()),
        };
        let limits = *issuer.registry().document().limits();
        let token = stop.clone();
        tasks.spawn(async move { Ok(serve_workload(workload, door, limits, token).await?) });
        if let Some(broker) = broker {
            let (token, attestors) = (stop.clone(), Arc::clone(&attestors));
            let (issuer, identities) = (Arc::clone(&issuer), Workload::clone(&identities));
            tasks.spawn(broker.run(issuer, attestors, identities, token));
        }
        if let Some(bundle) = bundle {
            tasks.spawn(bundle.run(Arc::clone(&served), stop.clone()));
        }
        if let Some(downstream) = downstream {
            tasks.spawn(downstream.run(stop.clone()));
        }
        let (token, doors) = (stop.clone(), Arc::clone(&served));
        let doors = AdminDoors::new(move || doors.current() as _);
        tasks.spawn(async move { Ok(serve_admin(admin, doors, attestors, limits, token).await?) });
        let (token, routes) = (stop.clone(), served.routers.clone());
        tasks.spawn(async move {
            https.run(routes, token.cancelled_owned()).await;
            Ok(())
        });
        tasks.spawn(served.run(stop.clone()));
        let (token, watched) = (stop.clone(), Arc::clone(&issuer));
        tasks.spawn(async move {
            watch(watched, token).await;
            Ok(())
        });
        tasks.spawn(keep_up(Arc::clone(&issuer), stop.clone()));
        tasks.spawn(authorities::keep(Arc::clone(&issuer), stop.clone()));
        tasks.spawn(authorities::upstream::follow(Arc::clone(&issuer), stop.clone()));
        tasks.spawn(grow_tree(Arc::clone(&issuer), stop.clone()));
        tasks.spawn(keep_noting(Arc::clone(&high_water), Arc::clone(&issuer), stop.clone()));
        let ending = Arc::clone(&issuer.kill_switch).end_by_the_clock(stop.clone());
        tasks.spawn(async move {
            ending.await;
            Ok(())
        });
        let (token, ending) = (stop.clone(), Arc::clone(&issuer));
        tasks.spawn(async move {
            ending.end_with_agents(token).await;
            Ok(())
        });
        // The sequencer goes last: what the drain records is signed too.
        let sequencing = CancellationToken::new();
        let sequencer = tokio::spawn(sequence(Arc::clone(&issuer), sequencing.clone()));
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.context("a task of the issuer stopped").and_then(|ended| ended);
            if ended.is_err() {
                stop.cancel();
                outcome = outcome.and(ended);
            }
        }
        sequencing.cancel();
        sequencer.await.context("the sequencer stopped")?;
        note(&high_water, &issuer).await;
        let sockets = [&endpoints.workload_api_socket, &endpoints.admin_socket];
        for socket in sockets.into_iter().chain(&endpoints.broker_api_socket) {
            std::fs::remove_file(socket)
                .with_context(|| format!("remove `{}`", socket.display()))?;
        }
        outcome
    }
}

/// Signs a checkpoint when the log has grown, every [`CHECKPOINT_INTERVAL`] at most; once more at the end.
async fn sequence(issuer: Arc<Lasting>, stop: CancellationToken) {
    let log: Arc<dyn LogStore> = Arc::clone(&issuer.store) as _;
    let mut grown = log.changed();
    let signer = Arc::clone(&issuer.checkpoint_key) as _;
    let mut sequencer = Sequencer::new(log, signer, origin(issuer.trust_domain()));
    loop {
        let ending = stop.is_cancelled();
        grown.borrow_and_update();
        let advanced = sequencer.advance().await;
        issuer.ready.store(advanced.is_ok(), Ordering::Relaxed);
        if let Err(error) = advanced {
            tracing::error!(error = &error as &dyn std::error::Error, "no checkpoint");
            tokio::select! {
                () = stop.cancelled() => {}
                () = issuer.clock.sleep_until(issuer.clock.now() + SEQUENCER_RETRY) => continue,
            }
        }
        if ending {
            return;
        }
        let grows = async {
            // Not by the clock that the log is dated by: a step back of it does not put checkpoints off.
            tokio::time::sleep(CHECKPOINT_INTERVAL).await;
            grown.changed().await
        };
        tokio::select! {
            () = stop.cancelled() => {}
            grows = grows => if grows.is_err() { return },
        }
    }
}

/// What needs doing now and then: intents whose clocks ran out are ended, so that the log says so; entries that another
/// replica changed are read; an end of the authorities that draws near is announced.
async fn keep_up(issuer: Arc<Lasting>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut warned: Option<Timestamp> = None;
    loop {
        if let Err(error) = endings::sweep(&issuer, &stop).await {
            tracing::error!(error = &*error, "intents that ran out could not be ended");
        }
        if let Err(error) = issuer.registrar.reconcile().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the stored entries could not be read");
        }
        if let Err(error) = issuer.workload().keep_alive().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "identities of templates that are in use could not be renewed");
        }
        match prune(&issuer, &stop).await {
            Ok(0) => {}
            Ok(pruned) => tracing::debug!(pruned, "rows of what ended long ago were forgotten"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "what ended long ago could not be forgotten");
            }
        }
        let now = issuer.clock.now();
        if warned.is_none_or(|last| last + WARNING_INTERVAL <= now) {
            warn_of_the_end(&issuer, now);
            warned = Some(now);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = issuer.clock.sleep_until(now + UPKEEP_INTERVAL) => {}
        }
    }
}

/// An authority that should have been replaced long before; and a revocation list that gets old: none is read again.
fn warn_of_the_end(issuer: &Lasting, now: Timestamp) {
    let ends_at = issuer.authority.ends_at();
    // The next one signs when a sixth is left, or a week.
    let ahead = WARNING_AHEAD.min(issuer.registry().document().ca_lifetime() / 12);
    if ends_at <= now + ahead {
        let trust_domain = issuer.trust_domain();
        tracing::warn!(%trust_domain, %ends_at, "a signing authority ends and no other one has taken its place; see `marque authority list`");
    }
    for list in issuer.minting.foreign().outdated(now) {
        let (trust_domain, issuer) = (issuer.trust_domain(), list.issuer());
        let next_update = list.next_update();
        tracing::warn!(%trust_domain, issuer, %next_update, "a revocation list gets out of date; who uses it then refuses every SVID");
    }
}

/// The issuer identifier: what the document says, else `localhost` with the listener's port.
pub(super) fn issuer_url(
    document: &TrustDomainDocument,
    address: SocketAddr,
) -> anyhow::Result<IssuerUrl> {
    let url = match document.hosts().url() {
        Some(url) => url.to_owned(),
        None => local_url(address),
    };
    url.parse().with_context(|| format!("`{url}` as an issuer identifier"))
}

pub(super) fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("create `{}`", path.display()))?;
    let allowed = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, allowed)
        .with_context(|| format!("set the mode of `{}`", path.display()))
}

/// Binds a Unix socket whose peers are attested.
fn bind_socket(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    bind_prepared(path, mode, ask_for_senders)
}

/// Binds a Unix socket whose peers are nobody in particular.
pub(crate) fn bind_plain_socket(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    bind_prepared(path, mode, |_listener| Ok(()))
}

/// Binds a Unix socket; a file that a daemon left behind is replaced, a living daemon's is not.
fn bind_prepared(
    path: &Path,
    mode: u32,
    prepare: impl FnOnce(&UnixListener) -> std::io::Result<()>,
) -> anyhow::Result<UnixListener> {
    let length = path.as_os_str().len();
    ensure!(
        length <= MAX_SOCKET_PATH,
        "the socket path `{}` has {length} bytes, more than {MAX_SOCKET_PATH}; choose a shorter --data-dir",
        path.display()
    );
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another marque serves `{}`; stop it or choose another --data-dir", path.display());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("replace `{}`", path.display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("bind `{}`", path.display()))?;
    // At once, so that it holds for every connection that may be queued by now.
    prepare(&listener).with_context(|| format!("prepare `{}`", path.display()))?;
    let allowed = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, allowed)
        .with_context(|| format!("set the mode of `{}`", path.display()))?;
    Ok(listener)
}
