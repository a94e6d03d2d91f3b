//! SPIRE's server API for servers below: an authority of theirs is signed, and they are told the bundle.
//!
//! Reading a status: `Unauthenticated` when the caller's certificate holds no longer; `PermissionDenied` when it is not
//! listed, is stopped or not registered; `InvalidArgument` says what is wrong with the request; `FailedPrecondition` that the
//! own authority has no room for another one. A client without an X.509-SVID of the own trust domain never gets as far as a
//! status: its handshake fails.
//!
//! Absent on purpose: every other call of SPIRE's server, and who signs ([`DownstreamIssuer`]).

mod messages;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use marque_audit::LogError;
use marque_authority::{AuthorityError, DownstreamRequest, SignedDownstream};
use marque_exchange::PeerCertificate;
use marque_spiffe::{Clock, SpiffeId};
use marque_workload::IssuerState;
use rustls::ServerConfig;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::proto::spire_bundle::GetBundleRequest;
use super::proto::spire_bundle::bundle_server::{Bundle as BundleApi, BundleServer};
use super::proto::spire_svid::svid_server::{Svid, SvidServer};
use super::proto::spire_svid::{NewDownstreamX509caRequest, NewDownstreamX509caResponse};
use super::proto::spire_types;
use super::svid_tls::{ServerCertificate, Verifier, server_config};
use crate::{error, http};

/// The largest message of a client, in bytes: a request for a certificate is a few hundred.
const MAX_MESSAGE: usize = 64 * 1024;
/// How many certificates a server gets at once, and how long it takes until there is one more: it needs one for each key.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(6);

/// Whoever signs for servers below.
pub trait DownstreamIssuer: fmt::Debug + Send + Sync {
    /// Signs an authority of `server`, and records it before it comes back.
    fn sign<'a>(
        &'a self,
        server: &'a SpiffeId,
        request: &'a DownstreamRequest,
        lifetime: Option<Duration>,
    ) -> BoxFuture<'a, Result<SignedDownstream, DownstreamRefusal>>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum DownstreamRefusal {
    /// The server is stopped, or its entry is gone or has ended.
    #[error("the server is stopped or not registered")]
    Stopped,
    /// The authority did not sign.
    #[error("no certificate was signed")]
    Authority(#[from] AuthorityError),
    /// What cannot be recorded is not given.
    #[error("the certificate could not be recorded")]
    Unrecorded(#[from] LogError),
}

/// What stands behind the listener.
#[derive(Clone)]
pub struct DownstreamDoor {
    /// Whoever signs.
    pub issuer: Arc<dyn DownstreamIssuer>,
    /// Who may ask.
    pub servers: BTreeSet<SpiffeId>,
    /// The bundle that callers are verified by.
    pub state: watch::Receiver<Arc<IssuerState>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the listener shows.
    pub certificate: Arc<ServerCertificate>,
}

impl fmt::Debug for DownstreamDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An issuer's state names selectors, and those are not for logs.
        f.debug_struct("DownstreamDoor").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl DownstreamDoor {
    fn verifier(&self) -> Verifier {
        Verifier { state: self.state.clone(), clock: Arc::clone(&self.clock) }
    }

    /// The TLS settings of the listener.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn tls(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        server_config(Arc::clone(&self.certificate), self.verifier())
    }

    /// What serves requests on connections with [`DownstreamDoor::tls`].
    pub fn router(self) -> Router {
        let verifier = self.verifier();
        let pace = |server: &SpiffeId| (server.clone(), RateLimiter::direct(quota()));
        let pace = self.servers.iter().map(pace).collect();
        let desk = Desk { issuer: self.issuer, verifier, pace };
        let service = Service(Arc::new(desk));
        let svids = SvidServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE);
        let bundles = BundleServer::new(service).max_decoding_message_size(MAX_MESSAGE);
        http::grpc_router(Routes::new(svids).add_service(bundles))
    }
}

fn quota() -> Quota {
    let burst = NonZeroU32::new(BURST).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(REFILL).unwrap_or_else(|| Quota::per_minute(burst)).allow_burst(burst)
}

/// What every call needs.
struct Desk {
    issuer: Arc<dyn DownstreamIssuer>,
    verifier: Verifier,
    /// Who may ask, and how fast.
    pace: BTreeMap<SpiffeId, DefaultDirectRateLimiter>,
}

impl Desk {
    /// The server that asks, if it is one now, and its pace. A handshake that succeeded once says nothing about now.
    fn admit<T>(
        &self,
        request: &Request<T>,
    ) -> Result<(&SpiffeId, &DefaultDirectRateLimiter), Status> {
        let shown: &PeerCertificate =
            request.extensions().get().ok_or_else(error::downstream::no_certificate)?;
        let (svid, _bundle) = self
            .verifier
            .verify(shown.chain().to_vec())
            .map_err(error::downstream::not_identified)?;
        let listed = self.pace.get_key_value(svid.id());
        listed.ok_or_else(|| error::downstream::not_listed(svid.id()))
    }
}

#[derive(Clone)]
struct Service(Arc<Desk>);

#[tonic::async_trait]
impl Svid for Service {
    async fn new_downstream_x509ca(
        &self,
        request: Request<NewDownstreamX509caRequest>,
    ) -> Result<Response<NewDownstreamX509caResponse>, Status> {
        let Self(desk) = self;
        let (server, pace) = desk.admit(&request)?;
        pace.check().map_err(|_not_until| error::downstream::too_fast(server))?;
        let NewDownstreamX509caRequest { csr, preferred_ttl } = request.into_inner();
        let lifetime = messages::lifetime(preferred_ttl)?;
        let asked = DownstreamRequest::from_der(&csr).map_err(error::downstream::request)?;
        let signed = desk.issuer.sign(server, &asked, lifetime).await;
        let signed = signed.map_err(|refusal| error::downstream::refused(server, refusal))?;
        Ok(Response::new(messages::signed(signed)))
    }
}

#[tonic::async_trait]
impl BundleApi for Service {
    async fn get_bundle(
        &self,
        request: Request<GetBundleRequest>,
    ) -> Result<Response<spire_types::Bundle>, Status> {
        let Self(desk) = self;
        desk.admit(&request)?;
        let GetBundleRequest { output_mask } = request.into_inner();
        let bundles = Arc::clone(&desk.verifier.state.borrow().bundles);
        Ok(Response::new(messages::bundle(bundles.own(), bundles.untainted(), output_mask)))
    }
}
