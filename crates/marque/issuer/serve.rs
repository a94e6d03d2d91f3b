//! Serving one trust domain: build (bind and open everything that can fail), run, drain.
//!
//! Layout of a trust domain's data folder: `workload.sock`, `admin.sock` and, where there are brokers, `broker.sock`; and
//! `private/` (mode 0700) with the sealed keys, the SQLite file, the kill journal, `high-water.json`, which says how far the log was
//! signed, and `federation/`, the bundles that were fetched.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use marque_exchange::{Endpoint, EnvironmentLookup, IssuerUrl, NonceSecret};
use marque_keys::SealingKey;
use marque_registry::TrustDomainDocument;
use marque_spiffe::{Clock, Random};
use rustls::ServerConfig;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::authorities;
use super::doors::{DoorSettings, Opened, Opening, bind_https};
use super::folder::{CheckedFolder, local_url};
use super::growing::grow_tree;
use super::noting::{keep_noting, note};
use super::sequencing::sequence;
use super::served::Served;
use super::sockets::{bind_socket, make_folder};
use super::upkeep::keep_up;
use super::watch::watch;
use super::{Issuer, IssuerParts, Lasting, Neighbours};
use crate::approvers::LoginSecret;
use crate::backup::{self, Held, HighWater, record_restore};
use crate::cli::StoreOption;
use crate::endpoints::{EndpointsFile, TrustDomainEndpoints};
use crate::grpc::admin::{AdminDoors, serve_admin};
use crate::grpc::workload::{WorkloadDoor, serve_workload};
use crate::http::bundle as http_bundle;
use crate::payloads::PayloadKey;

/// Who may open the Workload API socket: everybody; attestation decides what they get (WE-3).
const WORKLOAD_SOCKET_MODE: u32 = 0o666;
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
    /// Where it says what it serves.
    pub(crate) endpoints: Arc<EndpointsFile>,
    /// What ends the process.
    pub(crate) stop: CancellationToken,
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
    opening: Opening,
    workload: UnixListener,
    admin: UnixListener,
    high_water: Arc<HighWater>,
    held: Held,
}

/// Binds the listeners of a trust domain, opens its keys, store and authorities.
pub(crate) async fn build(
    checked: CheckedFolder,
    listen: Option<SocketAddr>,
    sealing: &SealingKey,
    shared: &Shared,
) -> anyhow::Result<Built> {
    let document = &checked.folder.document;
    let name = document.name().clone();
    let environment = document.environment();
    let folder = shared.data_dir.join(name.as_str());
    let private = folder.join("private");
    make_folder(&folder, 0o755)?;
    let held = backup::hold(&folder)?;
    backup::tidy_up(&private, &*shared.clock)?;
    make_folder(&private, 0o700)?;

    let address = listen.unwrap_or_else(|| document.hosts().listen());
    let https = bind_https(address, &shared.tls, document).await?;
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
    let settings = DoorSettings {
        tls: Arc::clone(&shared.tls),
        listens_by_command: listen.is_some(),
        broker_socket: folder.join("broker.sock"),
        endpoints: Arc::clone(&shared.endpoints),
        stop: shared.stop.clone(),
    };
    let served = Served::build(issuer, https, settings, shared.trust_domains.clone()).await?;
    let (served, opening) = served;
    let issuer = served.current();
    let endpoints = TrustDomainEndpoints {
        name,
        environment,
        workload_api_socket,
        admin_socket,
        broker_api_socket: opening.broker_socket(),
        token_endpoint: Endpoint::Token.url(&issuer_url),
        intents_url: issuer_url.join("/v1/intents"),
        jwks_url: Endpoint::Jwks.url(&issuer_url),
        bundle_url: issuer_url.join(http_bundle::PATH),
        bundle_spiffe: opening.bundle_at(issuer.registry().document().as_ref()),
        downstream: opening.downstream_at(),
        svid_issuer_url: issuer.svid_issuer.as_ref().map(ToString::to_string),
        issuer_url: issuer_url.as_str().to_owned(),
        ca_file: shared.ca_file.clone(),
    };
    Ok(Built { served, endpoints, opening, workload, admin, high_water, held })
}

impl Built {
    /// Serves until `stop`, drains, and comes back.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { served, endpoints, opening, workload, admin, high_water, held: _held } = self;
        let (issuer, doors) = (Arc::clone(served.lasting()), Arc::clone(&served.doors));
        let mut opened = doors.to_run().context("it is run already")?;
        issuer.serves_until(stop.clone());
        let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
        // Before anybody is listened to: entries may have come since it was built.
        let following = issuer.follow_changes(stop.clone());
        tasks.spawn(async move {
            following.await;
            Ok(())
        });
        let door = WorkloadDoor {
            attestors: Arc::clone(&doors.attestors),
            workload: Arc::new(issuer.workload()),
            offer: doors.offer.clone(),
            sharing: Arc::clone(issuer.sharing()),
            denials: Arc::clone(issuer.denials()),
        };
        let (token, limits) = (stop.clone(), doors.limits.clone());
        tasks.spawn(async move { Ok(serve_workload(workload, door, limits, token).await?) });
        doors.open(opening, &served);
        let (token, limits, of) = (stop.clone(), doors.limits.clone(), Arc::clone(&served));
        let (attestors, admin_doors) =
            (Arc::clone(&doors.attestors), AdminDoors::new(move || of.current() as _));
        tasks.spawn(
            async move { Ok(serve_admin(admin, admin_doors, attestors, limits, token).await?) },
        );
        tasks.spawn(served.run(stop.clone()));
        tasks.spawn(keep_noting(Arc::clone(&high_water), Arc::clone(&issuer), stop.clone()));
        keep(&mut tasks, &issuer, &stop);
        // The sequencer goes last: what the drain records is signed too.
        let sequencing = CancellationToken::new();
        let sequencer = tokio::spawn(sequence(Arc::clone(&issuer), sequencing.clone()));
        let mut outcome = Ok(());
        loop {
            let ended = tokio::select! {
                Some(Opened(serving)) = opened.recv() => {
                    tasks.spawn(serving);
                    continue;
                }
                ended = tasks.join_next() => ended,
            };
            let Some(ended) = ended else { break };
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
        let now_and_then = doors.sockets();
        for socket in sockets.into_iter().chain(&now_and_then) {
            std::fs::remove_file(socket)
                .with_context(|| format!("remove `{}`", socket.display()))?;
        }
        outcome
    }
}

/// Runs what a trust domain needs done now and then, and what follows its log and its agents.
fn keep(tasks: &mut JoinSet<anyhow::Result<()>>, issuer: &Arc<Lasting>, stop: &CancellationToken) {
    let (token, watched) = (stop.clone(), Arc::clone(issuer));
    tasks.spawn(async move {
        watch(watched, token).await;
        Ok(())
    });
    tasks.spawn(keep_up(Arc::clone(issuer), stop.clone()));
    tasks.spawn(authorities::keep(Arc::clone(issuer), stop.clone()));
    tasks.spawn(authorities::upstream::follow(Arc::clone(issuer), stop.clone()));
    tasks.spawn(authorities::bundle::follow(Arc::clone(issuer), stop.clone()));
    tasks.spawn(grow_tree(Arc::clone(issuer), stop.clone()));
    let ending = Arc::clone(&issuer.kill_switch).end_by_the_clock(stop.clone());
    tasks.spawn(async move {
        ending.await;
        Ok(())
    });
    let (token, ending) = (stop.clone(), Arc::clone(issuer));
    tasks.spawn(async move {
        ending.end_with_agents(token).await;
        Ok(())
    });
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
