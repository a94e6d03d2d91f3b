//! The SPIFFE Broker API: a supervisor that proves who it is fetches SVIDs for the workloads that it runs (BR-1 to BR-6).
//!
//! Reading a status: `Unauthenticated` when the caller's certificate holds no longer; `PermissionDenied` when it is no
//! broker, is stopped, or asks for more than it may; the others say what is wrong with the reference and carry an
//! `ErrorInfo` of the domain `spiffe.io` (BR-5). A client without an X.509-SVID of the own trust domain never gets as
//! far as a status: its handshake fails.
//!
//! Absent on purpose: attributes of a workload that the caller states (BR-4), other kinds of references, and TCP.

mod allow_list;
mod connection;
mod messages;
mod record;
mod reference;
mod standing;
mod subject;
mod target;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use futures::stream::BoxStream;
use marque_attest::Attestors;
use marque_audit::LogStore;
use marque_spiffe::{Clock, SpiffeId};
use marque_workload::{IssuerState, check_audience};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use self::allow_list::Permission;
use self::connection::connections;
use self::reference::Reference;
use self::standing::{Broker, broker_of};
use self::subject::Brokered;
use super::inspection;
use super::live::{Bounded, LiveLimits};
use super::offer::{LiveOffer, Profile};
use super::proto::broker as proto;
use super::proto::broker::api_server::{Api, ApiServer};
use super::serve::{Ending, ServeError, serve_guests};
use super::svid_tls::{ServerCertificate, Verifier, server_config};
use super::workload::streams::{Refusal, Subject as _, Watch};
use crate::error;
use crate::identities::{Denials, Refused, SharedIdentities};

pub use self::allow_list::AllowList;
pub(crate) use self::reference::ReferenceError;

/// The metadata that every request to a Broker API socket carries, with the value `true`.
pub const SECURITY_HEADER: &str = "broker.spiffe.io";

/// What stands behind a Broker API socket.
#[derive(Clone)]
pub struct BrokerDoor {
    /// What a referenced process or pod is.
    pub attestors: Arc<Attestors>,
    /// Which profiles are served.
    pub offer: LiveOffer,
    /// Who may ask for what, and what that earns.
    pub brokers: AllowList,
    /// The bundle that brokers are verified by, their entries, and who is stopped.
    pub state: watch::Receiver<Arc<IssuerState>>,
    /// What every SVID passes on its way out.
    pub sharing: Arc<SharedIdentities>,
    /// Who is told whom was refused.
    pub denials: Arc<Denials>,
    /// Where it is kept what brokers were given.
    pub log: Arc<dyn LogStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the endpoint shows to brokers.
    pub certificate: Arc<ServerCertificate>,
}

impl fmt::Debug for BrokerDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An issuer's state names selectors, and those are not for logs.
        f.debug_struct("BrokerDoor").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// Serving the Broker API failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerServeError {
    /// TLS cannot be set up.
    #[error("TLS for brokers cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The socket cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Serves the Broker API on `listener` until its `ending`, whose drain is over then. Streams end as it begins.
///
/// # Errors
/// When the server cannot be run at all; nothing that a client does ends it.
pub async fn serve_broker(
    listener: UnixListener,
    door: BrokerDoor,
    limits: impl Into<LiveLimits>,
    ending: impl Into<Ending>,
) -> Result<(), BrokerServeError> {
    let (limits, ending) = (limits.into(), ending.into());
    let left = ending.left.clone();
    let verifier = Verifier { state: door.state.clone(), clock: Arc::clone(&door.clock) };
    let config = server_config(Arc::clone(&door.certificate), verifier.clone())?;
    let acceptor = TlsAcceptor::from(config);
    let (clients, left_by) = (verifier.clone(), left.clone());
    let incoming = connections(listener, limits.clone(), acceptor, clients, left_by);
    let desk = Arc::new(Desk { door, verifier });
    let service = BrokerService { desk, shutdown: left.clone() };
    let server = ApiServer::new(service);
    let routes = Routes::new(Bounded::new(server, &limits, ApiServer::max_decoding_message_size));
    let routes = inspection::add_to(routes, inspection::BROKER_API, &limits, left);
    let routes = routes.await.map_err(ServeError::from)?;
    serve_guests(incoming, routes, Some(SECURITY_HEADER), ending).await;
    Ok(())
}

/// What every call needs.
#[derive(Debug)]
struct Desk {
    door: BrokerDoor,
    verifier: Verifier,
}

#[derive(Debug)]
struct BrokerService {
    desk: Arc<Desk>,
    shutdown: CancellationToken,
}

impl BrokerService {
    /// The broker, if it is one now.
    fn admit<T>(
        &self,
        profile: Profile,
        request: &Request<T>,
    ) -> Result<(Arc<Broker>, Arc<Permission>), Status> {
        let broker = broker_of(request)?;
        let permission = self.desk.door.brokers.permission(&broker, &self.desk.verifier)?;
        self.desk.door.offer.check(profile)?;
        Ok((broker, permission))
    }

    fn find(
        &self,
        (broker, permission): (Arc<Broker>, Arc<Permission>),
        reference: Option<proto::WorkloadReference>,
    ) -> Result<Brokered, Status> {
        let reference = Reference::read(reference).map_err(error::broker::reference)?;
        Brokered::find(Arc::clone(&self.desk), broker, permission, reference)
    }

    async fn watch(
        &self,
        admitted: (Arc<Broker>, Arc<Permission>),
        (profile, reference): (Profile, Option<proto::WorkloadReference>),
    ) -> Result<Watch<Brokered>, Status> {
        let workload = self.find(admitted, reference)?;
        Watch::begin(workload, profile, self.shutdown.clone()).await
    }
}

#[tonic::async_trait]
impl Api for BrokerService {
    type SubscribeToX509SVIDStream =
        BoxStream<'static, Result<proto::SubscribeToX509svidResponse, Status>>;
    type SubscribeToX509BundlesStream =
        BoxStream<'static, Result<proto::SubscribeToX509BundlesResponse, Status>>;
    type SubscribeToJWTBundlesStream =
        BoxStream<'static, Result<proto::SubscribeToJwtBundlesResponse, Status>>;

    async fn subscribe_to_x509svid(
        &self,
        request: Request<proto::SubscribeToX509svidRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDStream>, Status> {
        let admitted = self.admit(Profile::X509, &request)?;
        let proto::SubscribeToX509svidRequest { reference } = request.into_inner();
        let watch = self.watch(admitted, (Profile::X509, reference)).await?;
        Ok(Response::new(watch.x509_svids(messages::x509_svids)))
    }

    async fn subscribe_to_x509_bundles(
        &self,
        request: Request<proto::SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        let admitted = self.admit(Profile::X509, &request)?;
        let proto::SubscribeToX509BundlesRequest { reference } = request.into_inner();
        let watch = self.watch(admitted, (Profile::X509, reference)).await?;
        Ok(Response::new(watch.x509_bundles(messages::x509_bundles)))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<proto::FetchJwtsvidRequest>,
    ) -> Result<Response<proto::FetchJwtsvidResponse>, Status> {
        let (broker, permission) = self.admit(Profile::Jwt, &request)?;
        let proto::FetchJwtsvidRequest { reference, audience, spiffe_id } = request.into_inner();
        let reference = Reference::read(reference).map_err(error::broker::reference)?;
        check_audience(&audience).map_err(|refused| error::broker::workload(refused.into()))?;
        let wanted = parse_wanted(&spiffe_id)?;
        if let Some(other) = audience.iter().find(|one| !permission.rule.may_ask_for(one)) {
            return Err(error::broker::audience(broker.id(), other));
        }
        let desk = Arc::clone(&self.desk);
        let workload = Brokered::find(desk, broker, permission, reference)?;
        let selectors = workload.attest().await?;
        let refused = |error| {
            workload.refusal(Refusal { method: "FetchJWTSVID", selectors: &selectors, error })
        };
        let mut svids = workload
            .workload()
            .jwt_svids(&selectors, &audience, wanted.as_ref())
            .await
            .map_err(|error| refused(Some(error)))?;
        let user = workload.user(&selectors);
        let admitted = workload.sharing().admit(
            &mut svids,
            |(svid, _hint)| &svid.spiffe_id,
            &user,
            &selectors,
        );
        admitted.await.map_err(|Refused| refused(None))?;
        let released: Vec<_> = svids.iter().map(|(svid, _hint)| Arc::clone(svid)).collect();
        workload.release_jwt(&released, &audience, &selectors).await?;
        Ok(Response::new(messages::jwt_svids(&svids)))
    }

    async fn subscribe_to_jwt_bundles(
        &self,
        request: Request<proto::SubscribeToJwtBundlesRequest>,
    ) -> Result<Response<Self::SubscribeToJWTBundlesStream>, Status> {
        let admitted = self.admit(Profile::Jwt, &request)?;
        let proto::SubscribeToJwtBundlesRequest { reference } = request.into_inner();
        let watch = self.watch(admitted, (Profile::Jwt, reference)).await?;
        Ok(Response::new(watch.jwt_bundles(messages::jwt_bundles)))
    }
}

fn parse_wanted(spiffe_id: &str) -> Result<Option<SpiffeId>, Status> {
    if spiffe_id.is_empty() {
        return Ok(None);
    }
    spiffe_id.parse().map(Some).map_err(error::malformed_spiffe_id)
}
