//! Serving one trust domain: build (bind and open everything that can fail), run, drain.
//!
//! Layout of a trust domain's data folder: `workload.sock`, `admin.sock` and, where there are brokers, `broker.sock`; and
//! `private/` (mode 0700) with the sealed keys, the SQLite file, the kill journal and `federation/`, the bundles that were
//! fetched.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use marque_attest::Attestors;
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
use super::folder::{CheckedFolder, local_url};
use super::growing::grow_tree;
use super::sequencing::sequence;
use super::served::Served;
use super::sockets::{bind_socket, make_folder};
use super::upkeep::keep_up;
use super::watch::watch;
use super::{Issuer, IssuerParts, Neighbours};
use crate::approvers::LoginSecret;
use crate::attestors;
use crate::backup::record_restore;
use crate::cli::StoreOption;
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::admin::{AdminDoors, serve_admin};
use crate::grpc::workload::{WorkloadDoor, serve_workload};
use crate::http::{HttpLimits, HttpServer, bundle as http_bundle};
use crate::payloads::PayloadKey;

/// Who may open the Workload API socket: everybody; attestation decides what they get (WE-3).
const WORKLOAD_SOCKET_MODE: u32 = 0o666;
/// Who may open the Broker API socket: everybody; mutual TLS decides who gets further (BR-1).
const BROKER_SOCKET_MODE: u32 = 0o666;
/// Who may open the admin socket: the daemon's user and group; the gate decides what they may do.
const ADMIN_SOCKET_MODE: u32 = 0o660;

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
        let sequencer = tokio::spawn(sequence(issuer, sequencing.clone()));
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
        let sockets = [&endpoints.workload_api_socket, &endpoints.admin_socket];
        for socket in sockets.into_iter().chain(&endpoints.broker_api_socket) {
            std::fs::remove_file(socket)
                .with_context(|| format!("remove `{}`", socket.display()))?;
        }
        outcome
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
