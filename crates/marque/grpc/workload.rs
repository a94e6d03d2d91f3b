//! The SPIFFE Workload API: who calls is attested for every call, what it gets is decided by `marque-workload`.
//!
//! Reading a status (WE-5, WA-*): `InvalidArgument` for a request that can never work, whoever sends it;
//! `PermissionDenied` when the caller has no identity here, or none that fits; `Unauthenticated` when the process at
//! the other end is not, or is no longer, the one that connected; `Unavailable` when asking again may help;
//! `Unimplemented` for a profile that the trust domain does not serve, whoever asks (WA-1).
//!
//! A stream is attested when it opens and again before each of its messages, and ends when its process exits: what a
//! caller no longer is entitled to is not sent (WA-14).
//!
//! Absent on purpose: every rule about entitlement.

mod client;
pub(super) mod messages;
pub(super) mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::stream::BoxStream;
use marque_attest::{Attestation, Attestors, Peer};
use marque_spiffe::{SelectorSet, SpiffeId};
use marque_workload::{Workload, WorkloadError, check_audience};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

pub(super) use self::streams::{Caller, Watch};
use super::connection::peer_of;
use super::inspection;
use super::live::{LiveLimits, Sized};
use super::offer::{LiveOffer, Profile};
use super::proto::workload as proto;
use super::proto::workload::spiffe_workload_api_server::{
    SpiffeWorkloadApi, SpiffeWorkloadApiServer,
};
use super::sds;
use super::serve::{ServeError, serve};
use crate::error;
use crate::identities::{Denials, IDENTITY_SHARED, Refused, SharedIdentities, user_of};

pub use client::{FetchedJwtSvid, FetchedWitSvid, FetchedX509, FetchedX509Svid, WorkloadClient};

/// The metadata that every request to a Workload API socket carries, with the value `true`.
pub const SECURITY_HEADER: &str = "workload.spiffe.io";

/// What stands behind a Workload API socket.
#[derive(Debug, Clone)]
pub struct WorkloadDoor {
    /// Who is asking.
    pub attestors: Arc<Attestors>,
    /// What the answer is.
    pub workload: Arc<Workload>,
    /// Which questions are answered at all.
    pub offer: LiveOffer,
    /// What every SVID passes on its way out.
    pub sharing: Arc<SharedIdentities>,
    /// Who is told whom was refused.
    pub denials: Arc<Denials>,
}

/// Serves the Workload API, and Envoy's secret discovery service, on `listener` until `shutdown` is cancelled; open
/// streams then end with `Unavailable`, and connections that are still open after the drain are closed.
///
/// # Errors
/// When the server cannot be run at all; nothing that a client does ends it.
pub async fn serve_workload(
    listener: UnixListener,
    door: WorkloadDoor,
    limits: impl Into<LiveLimits>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let limits = limits.into();
    let sds = sds::server(door.clone(), &limits, shutdown.clone());
    let service = WorkloadService { door, shutdown: shutdown.clone() };
    let server = SpiffeWorkloadApiServer::new(service);
    let server = Sized::new(server, &limits, SpiffeWorkloadApiServer::max_decoding_message_size);
    let routes = Routes::new(server).add_service(sds);
    let served = inspection::WORKLOAD_API;
    let routes = inspection::add_to(routes, served, &limits, shutdown.clone()).await?;
    serve(listener, routes, Some(SECURITY_HEADER), limits, shutdown).await
}

#[derive(Debug)]
struct WorkloadService {
    door: WorkloadDoor,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadService {
    type FetchX509SVIDStream = BoxStream<'static, Result<proto::X509svidResponse, Status>>;
    type FetchX509BundlesStream = BoxStream<'static, Result<proto::X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = BoxStream<'static, Result<proto::JwtBundlesResponse, Status>>;
    type FetchWITSVIDStream = BoxStream<'static, Result<proto::WitsvidResponse, Status>>;
    type FetchWITBundlesStream = BoxStream<'static, Result<proto::WitBundlesResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<proto::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.serves(Profile::X509)?;
        let peer = peer_of(&request)?;
        let proto::X509svidRequest {} = request.into_inner();
        let watch = self.watch(peer, Profile::X509).await?;
        Ok(Response::new(watch.x509_svids(messages::x509_svids)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<proto::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.serves(Profile::X509)?;
        let peer = peer_of(&request)?;
        let proto::X509BundlesRequest {} = request.into_inner();
        let watch = self.watch(peer, Profile::X509).await?;
        Ok(Response::new(watch.x509_bundles(messages::x509_bundles)))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<proto::JwtsvidRequest>,
    ) -> Result<Response<proto::JwtsvidResponse>, Status> {
        self.serves(Profile::Jwt)?;
        let peer = peer_of(&request)?;
        let proto::JwtsvidRequest { audience, spiffe_id } = request.into_inner();
        check_audiences(&audience)?;
        let wanted = parse_wanted(&spiffe_id)?;
        let caller = self.attest(&peer).await?;
        let asked = Asked {
            door: &self.door,
            method: "FetchJWTSVID",
            peer: &peer,
            selectors: &caller.selectors,
        };
        let mut svids = self
            .door
            .workload
            .jwt_svids(&caller.selectors, &audience, wanted.as_ref())
            .await
            .map_err(|error| asked.failed(error))?;
        asked.admit(&mut svids, |(svid, _hint)| &svid.spiffe_id).await?;
        // Minting and recording take time, in which a kill may come, an entry may go and the process may become another.
        let now = self.attest(&peer).await?;
        let still = self.door.workload.identities(&now.selectors);
        svids
            .retain(|(svid, _hint)| still.iter().any(|entry| entry.spiffe_id() == &svid.spiffe_id));
        if svids.is_empty() || now.selectors != caller.selectors {
            return Err(asked.failed(WorkloadError::NotEntitled));
        }
        Ok(Response::new(messages::jwt_svids(&svids)))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<proto::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.serves(Profile::Jwt)?;
        let peer = peer_of(&request)?;
        let proto::JwtBundlesRequest {} = request.into_inner();
        let watch = self.watch(peer, Profile::Jwt).await?;
        Ok(Response::new(watch.jwt_bundles(messages::jwt_bundles)))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<proto::ValidateJwtsvidRequest>,
    ) -> Result<Response<proto::ValidateJwtsvidResponse>, Status> {
        self.serves(Profile::Jwt)?;
        let peer = peer_of(&request)?;
        let proto::ValidateJwtsvidRequest { audience, svid } = request.into_inner();
        check_audiences(std::slice::from_ref(&audience))?;
        if svid.is_empty() {
            return Err(error::missing_field("svid"));
        }
        let caller = self.attest(&peer).await?;
        let asked = Asked {
            door: &self.door,
            method: "ValidateJWTSVID",
            peer: &peer,
            selectors: &caller.selectors,
        };
        let settled = self.door.workload.settle(&caller.selectors).await;
        settled.map_err(|error| asked.failed(error))?;
        let valid = self
            .door
            .workload
            .validate_jwt_svid(&caller.selectors, &svid, &audience)
            .map_err(|error| asked.failed(error))?;
        Ok(Response::new(messages::validated(&valid)))
    }

    async fn fetch_witsvid(
        &self,
        request: Request<proto::WitsvidRequest>,
    ) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        self.serves(Profile::Wit)?;
        let peer = peer_of(&request)?;
        let proto::WitsvidRequest { spiffe_id } = request.into_inner();
        let wanted = parse_wanted(&spiffe_id)?;
        let watch = self.watch(peer, Profile::Wit).await?;
        Ok(Response::new(watch.wit_svids(wanted, messages::wit_svids)))
    }

    async fn fetch_wit_bundles(
        &self,
        request: Request<proto::WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        self.serves(Profile::Wit)?;
        let peer = peer_of(&request)?;
        let proto::WitBundlesRequest {} = request.into_inner();
        let watch = self.watch(peer, Profile::Wit).await?;
        Ok(Response::new(watch.wit_bundles(messages::wit_bundles)))
    }
}

impl WorkloadService {
    fn serves(&self, profile: Profile) -> Result<(), Status> {
        self.door.offer.check(profile)
    }

    async fn attest(&self, peer: &Peer) -> Result<Attestation, Status> {
        self.door.attestors.attest(peer).await.map_err(error::attest)
    }

    async fn watch(&self, peer: Arc<Peer>, profile: Profile) -> Result<Watch<Caller>, Status> {
        let caller = Caller { door: self.door.clone(), peer };
        Watch::begin(caller, profile, self.shutdown.clone()).await
    }
}

/// What one attested caller asked for.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    door: &'a WorkloadDoor,
    method: &'static str,
    peer: &'a Peer,
    selectors: &'a SelectorSet,
}

impl Asked<'_> {
    /// The SVIDs' last gate: leaves of them what the caller may have.
    async fn admit<T>(
        &self,
        svids: &mut Vec<T>,
        spiffe_id: impl Fn(&T) -> &SpiffeId,
    ) -> Result<(), Status> {
        let user = user_of(self.peer.process(), self.selectors);
        let admitted = self.door.sharing.admit(svids, spiffe_id, &user, self.selectors).await;
        admitted.map_err(|Refused| self.shared())
    }

    /// What the caller is told when somebody else holds all of its identities.
    fn shared(&self) -> Status {
        self.tell(IDENTITY_SHARED);
        error::identity_shared()
    }

    /// What the caller is told; operators are told more when it has no identity.
    fn failed(&self, failure: WorkloadError) -> Status {
        if let Some(code) = error::refused_identity(&failure) {
            self.tell(code);
        }
        error::workload(failure)
    }

    fn tell(&self, code: &'static str) {
        let user = user_of(self.peer.process(), self.selectors);
        self.door.denials.refused(self.method, code, &user, self.selectors);
    }
}

/// What can never work is refused before anybody is attested.
fn check_audiences(audiences: &[String]) -> Result<(), Status> {
    check_audience(audiences).map_err(|refused| error::workload(refused.into()))
}

fn parse_wanted(spiffe_id: &str) -> Result<Option<SpiffeId>, Status> {
    if spiffe_id.is_empty() {
        return Ok(None);
    }
    spiffe_id.parse().map(Some).map_err(error::malformed_spiffe_id)
}
