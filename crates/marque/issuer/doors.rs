//! The doors of a trust domain, and what of them changes while they are open.
//!
//! What a document says of limits, profiles, attestors and brokers holds from the next call on. A listener at another address is
//! bound before anything changes, so that a reload is refused where that fails; it is served before the old one is given up, which
//! answers whoever has come to it by then. Absent: what is behind the doors.

mod entrances;
mod opening;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::Context as _;
use futures::future::BoxFuture;
use marque_attest::Attestors;
use marque_registry::{DownstreamSettings, LimitSettings, TrustDomainDocument};
use marque_workload::Profiles;
use rustls::ServerConfig;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use self::entrances::{Closes, are_apart};
use self::opening::remove;
use super::broker::{BrokerEndpoint, BrokerSettings};
use super::bundle_endpoint::BundleEndpoint;
use super::downstream::{DownstreamServer, Serves};
use super::served::Served;
use super::sockets::bind_socket;
use super::{Issuer, Lasting};
use crate::attestors;
use crate::endpoints::{
    DownstreamEndpoint, EndpointsFile, SpiffeBundleEndpoint, TrustDomainEndpoints,
};
use crate::grpc::broker::AllowList;
use crate::grpc::live::LiveLimits;
use crate::grpc::offer::{LiveOffer, Offer};
use crate::http::{HttpLimits, HttpServer, ListenerHandle, LiveHttpLimits, bundle_router};

pub(super) use self::entrances::Entrances;
pub(super) use self::opening::Opening;

/// Who may open the Broker API socket: everybody; mutual TLS decides who gets further (BR-1).
const BROKER_SOCKET_MODE: u32 = 0o666;

/// Serves one listener to its end.
pub(super) type Serving = BoxFuture<'static, anyhow::Result<()>>;

/// The doors of one trust domain.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) limits: LiveLimits,
    entrances: Entrances,
    pub(super) offer: LiveOffer,
    pub(super) attestors: Arc<Attestors>,
    brokers: AllowList,
    settings: DoorSettings,
    open: Mutex<Open>,
    /// Who runs what is opened.
    opened: UnboundedSender<Opened>,
    to_run: Mutex<Option<UnboundedReceiver<Opened>>>,
}

/// What stays as it is as long as the process runs.
#[derive(Debug)]
pub(super) struct DoorSettings {
    pub(super) tls: Arc<ServerConfig>,
    /// Whether the command line says where the HTTPS edge listens, whatever the document says.
    pub(super) listens_by_command: bool,
    pub(super) broker_socket: PathBuf,
    pub(super) endpoints: Arc<EndpointsFile>,
    /// What ends the process.
    pub(super) stop: CancellationToken,
}

/// One listener with everything that serves it.
pub(super) struct Opened(pub(super) Serving);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// What closes the doors that are open and can be closed.
#[derive(Debug, Default)]
struct Open {
    https: Option<Closes>,
    bundle: Option<Closes>,
    broker: Option<Closes>,
    downstream: Option<Closes>,
    /// What servers below are served by: the listener, and those that were given up and still answer.
    below: Vec<Weak<Serves>>,
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

fn offer(document: &TrustDomainDocument) -> Offer {
    let settings = document.workload_api();
    let profiles =
        Profiles { x509: settings.x509_svid, jwt: settings.jwt_svid, wit: settings.wit_svid };
    Offer { profiles, envoy_sds: settings.envoy_sds }
}

/// The HTTPS edge, bound.
pub(super) async fn bind_https(
    address: SocketAddr,
    tls: &Arc<ServerConfig>,
    document: &TrustDomainDocument,
) -> anyhow::Result<HttpServer> {
    let limits = LiveHttpLimits::from(http_limits(document.limits()));
    let bound = HttpServer::bind(address, Arc::clone(tls), limits).await;
    bound.with_context(|| {
        format!("listen on {address} for `{}`; is another marque running?", document.name())
    })
}

impl Doors {
    /// The doors of an issuer, and what they are opened with. `https` is bound already.
    pub(super) async fn build(
        issuer: &Issuer,
        https: HttpServer,
        settings: DoorSettings,
    ) -> anyhow::Result<(Self, Opening)> {
        let document = &issuer.document;
        let limits = LiveLimits::from(*document.limits());
        let (opened, to_run) = unbounded_channel();
        let doors = Self {
            brokers: AllowList::new(document.brokers(), issuer.workload(), limits.clone()),
            limits,
            entrances: Entrances::new(https.limits().clone()),
            offer: offer(document).into(),
            attestors: Arc::new(attestors::of(document.attestation(), &issuer.clock)),
            settings,
            open: Mutex::default(),
            opened,
            to_run: Mutex::new(Some(to_run)),
        };
        let mut opening = Opening::default();
        opening.https = Some(https);
        doors.bind_bundle(issuer, document, &mut opening).await?;
        doors.bind_broker(issuer, document, &mut opening).await?;
        doors.bind_downstream(issuer, document, &mut opening).await?;
        Ok((doors, opening))
    }

    /// What is to be run, for whoever runs it. Only the first gets it.
    pub(super) fn to_run(&self) -> Option<UnboundedReceiver<Opened>> {
        self.to_run.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Binds every listener that `next` wants and that is not there yet.
    ///
    /// # Errors
    /// An address is taken or wanted twice, or an endpoint gets no SVID; everything is as it was.
    pub(super) async fn bind(
        &self,
        lasting: &Lasting,
        before: &TrustDomainDocument,
        next: &TrustDomainDocument,
    ) -> anyhow::Result<Opening> {
        are_apart(next, !self.settings.listens_by_command)?;
        let mut opening = Opening::default();
        let address = next.hosts().listen();
        if address != before.hosts().listen() && !self.settings.listens_by_command {
            let bound = self.entrances.bind(address, Arc::clone(&self.settings.tls)).await;
            let bound = bound.with_context(|| {
                format!("listen on {address} for the HTTPS edge; is it taken already?")
            })?;
            opening.https = Some(bound);
        }
        if next.bundle_endpoint().https_spiffe != before.bundle_endpoint().https_spiffe {
            self.bind_bundle(lasting, next, &mut opening).await?;
        }
        if before.brokers().is_empty() {
            self.bind_broker(lasting, next, &mut opening).await?;
        }
        let listens =
            |document: &TrustDomainDocument| document.downstream().map(DownstreamSettings::listen);
        if listens(next) != listens(before) {
            self.bind_downstream(lasting, next, &mut opening).await?;
        }
        Ok(opening)
    }

    async fn bind_bundle(
        &self,
        lasting: &Lasting,
        document: &TrustDomainDocument,
        opening: &mut Opening,
    ) -> anyhow::Result<()> {
        opening.bundle = BundleEndpoint::build(lasting, document, &self.entrances).await?;
        Ok(())
    }

    async fn bind_broker(
        &self,
        lasting: &Lasting,
        document: &TrustDomainDocument,
        opening: &mut Opening,
    ) -> anyhow::Result<()> {
        if document.brokers().is_empty() {
            return Ok(());
        }
        let bind = |path: &Path| bind_socket(path, BROKER_SOCKET_MODE);
        let socket = self.settings.broker_socket.clone();
        opening.broker = Some(BrokerEndpoint::build(lasting, socket, bind).await?);
        Ok(())
    }

    async fn bind_downstream(
        &self,
        lasting: &Lasting,
        document: &TrustDomainDocument,
        opening: &mut Opening,
    ) -> anyhow::Result<()> {
        if let Some(settings) = document.downstream() {
            let server = DownstreamServer::build(lasting, settings, &self.entrances).await?;
            opening.downstream = Some(server);
        }
        Ok(())
    }

    /// Has calls that come from here on go by a document.
    pub(super) fn go_by(
        &self,
        lasting: &Lasting,
        before: &TrustDomainDocument,
        document: &TrustDomainDocument,
    ) {
        self.limits.change(*document.limits());
        self.entrances.limits().change(http_limits(document.limits()));
        self.offer.change(offer(document));
        self.brokers.go_by(document.brokers());
        lasting.workload().spread_over(document.workload_api().splay.as_duration());
        if document.attestation() != before.attestation() {
            self.attestors.replace(&attestors::of(document.attestation(), &lasting.clock));
        }
        self.lock().below.retain(|serves| {
            let Some(serves) = serves.upgrade() else { return false };
            serves.go_by(document.downstream());
            true
        });
    }

    /// Opens what was bound, then closes what it takes the place of and what a document does not want any more.
    pub(super) fn open(&self, mut opening: Opening, served: &Served) {
        let document = Arc::clone(&served.current().document);
        let mut open = self.lock();
        if let Some(https) = opening.https.take() {
            let (routers, listener) = (served.routers.clone(), https.handle());
            self.replace(&mut open.https, Some(listener), |stop, replaced| {
                Box::pin(async move {
                    https.run_or_be_replaced(routers, stop.cancelled_owned(), replaced).await;
                    Ok(())
                })
            });
        }
        let told = (opening.bundle_at(&document), opening.downstream_at());
        self.open_downstream(&mut open, opening.downstream.take(), &document);
        let bundle = opening.bundle.take();
        if let Some(bundle) = bundle {
            let routers = bundle.routers(bundle_router(served.current() as _));
            served.serve_bundles_by(Some(routers.clone()));
            self.replace(&mut open.bundle, Some(bundle.handle()), |stop, replaced| {
                Box::pin(bundle.run(routers, stop, replaced))
            });
        } else if document.bundle_endpoint().https_spiffe.is_none() {
            served.serve_bundles_by(None);
            self.entrances.close(&mut open.bundle);
        }
        if let Some(broker) = opening.broker.take() {
            let (lasting, brokers) = (Arc::clone(served.lasting()), self.brokers.clone());
            let door = self.broker_settings();
            self.replace(&mut open.broker, None, |stop, closed| {
                Box::pin(broker.run(lasting, (door, brokers), (stop, closed)))
            });
        } else if document.brokers().is_empty() && open.broker.is_some() {
            // First the path, so that everybody has come who ever will.
            remove(&self.settings.broker_socket);
            self.entrances.close(&mut open.broker);
        }
        let has_broker = open.broker.is_some();
        drop(open);
        self.tell(served, told, has_broker);
    }

    fn open_downstream(
        &self,
        open: &mut Open,
        next: Option<DownstreamServer>,
        document: &TrustDomainDocument,
    ) {
        if next.is_none() && document.downstream().is_some() {
            return;
        }
        if let Some(next) = next {
            open.below.push(next.serves());
            self.replace(&mut open.downstream, Some(next.handle()), |stop, replaced| {
                Box::pin(next.run(stop, replaced))
            });
        } else {
            self.entrances.close(&mut open.downstream);
        }
    }

    /// Runs a listener, and has the one before be given up.
    fn replace(
        &self,
        place: &mut Option<Closes>,
        listener: Option<ListenerHandle>,
        serving: impl FnOnce(CancellationToken, CancellationToken) -> Serving,
    ) {
        let replaced = CancellationToken::new();
        let serving = serving(self.settings.stop.clone(), replaced.clone());
        if self.opened.send(Opened(serving)).is_err() {
            tracing::debug!("nothing is opened any more");
        }
        self.entrances.close(place);
        if let Some(listener) = &listener {
            self.entrances.serves(listener);
        }
        *place = Some(Closes::new(replaced, listener));
    }

    fn broker_settings(&self) -> BrokerSettings {
        (Arc::clone(&self.attestors), self.offer.clone(), self.limits.clone())
    }

    /// Says in `endpoints.json` what is served now; of what listens somewhere else than before, where.
    fn tell(
        &self,
        served: &Served,
        (bundle, downstream): (Option<SpiffeBundleEndpoint>, Option<DownstreamEndpoint>),
        has_broker: bool,
    ) {
        let issuer = served.current();
        let change = |told: &mut TrustDomainEndpoints| {
            told.broker_api_socket = has_broker.then(|| self.settings.broker_socket.clone());
            told.svid_issuer_url = issuer.svid_issuer.as_ref().map(ToString::to_string);
            if downstream.is_some() || issuer.document.downstream().is_none() {
                told.downstream = downstream;
            }
            let settings = issuer.document.bundle_endpoint();
            if settings.https_spiffe.is_none() {
                told.bundle_spiffe = None;
            } else if let Some(bundle) = bundle {
                told.bundle_spiffe = Some(bundle);
            } else if let (Some(told), Some(url)) =
                (&mut told.bundle_spiffe, &settings.https_spiffe_url)
            {
                told.url = url.to_string();
            }
        };
        if let Err(error) = self.settings.endpoints.change(issuer.trust_domain(), change) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "`endpoints.json` does not say what is served now");
        }
    }

    /// The sockets that are there only now and then, and are now.
    pub(super) fn sockets(&self) -> Option<PathBuf> {
        self.lock().broker.is_some().then(|| self.settings.broker_socket.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
