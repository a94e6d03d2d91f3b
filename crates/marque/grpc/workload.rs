//! The SPIFFE Workload API: who calls is attested for every call, what it gets is decided by `marque-workload`.
//!
//! Reading a status (WE-5, WA-*): `InvalidArgument` for a request that can never work, whoever sends it;
//! `PermissionDenied` when the caller has no identity here, or none that fits; `Unauthenticated` when the process at
//! the other end is not, or is no longer, the one that connected; `Unavailable` when asking again may help.
//!
//! A stream is attested when it opens and again before each of its messages, and ends when its process exits: what a
//! caller no longer is entitled to is not sent (WA-14).
//!
//! Absent on purpose: WIT-SVIDs (`Unimplemented`, WA-1), reflection, and every rule about entitlement.

mod client;
mod messages;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::stream::BoxStream;
use marque_attest::{Attestation, Attestors, Peer};
use marque_spiffe::SpiffeId;
use marque_workload::{Workload, check_audience};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use self::streams::Watch;
use super::connection::peer_of;
use super::proto::workload as proto;
use super::proto::workload::spiffe_workload_api_server::{
    SpiffeWorkloadApi, SpiffeWorkloadApiServer,
};
use super::serve::{Limits, ServeError, serve};
use crate::error;

pub use client::{FetchedJwtSvid, FetchedX509, FetchedX509Svid, WorkloadClient};

/// The metadata that every request to a Workload API socket carries, with the value `true`.
pub const SECURITY_HEADER: &str = "workload.spiffe.io";

/// What stands behind a Workload API socket.
#[derive(Debug, Clone)]
pub struct WorkloadDoor {
    /// Who is asking.
    pub attestors: Arc<Attestors>,
    /// What the answer is.
    pub workload: Arc<Workload>,
}

/// Serves the Workload API on `listener` until `shutdown` is cancelled; open streams then end with `Unavailable`, and
/// connections that are still open after the drain are closed.
///
/// # Errors
/// When the server cannot be run at all; nothing that a client does ends it.
pub async fn serve_workload(
    listener: UnixListener,
    door: WorkloadDoor,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let service = WorkloadService { door, shutdown: shutdown.clone() };
    let server =
        SpiffeWorkloadApiServer::new(service).max_decoding_message_size(limits.message_bytes);
    serve(listener, Routes::new(server), Some(SECURITY_HEADER), limits, shutdown).await
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
        let peer = peer_of(&request)?;
        let proto::X509svidRequest {} = request.into_inner();
        let watch = self.watch(peer).await?;
        Ok(Response::new(watch.x509_svids()))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<proto::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let peer = peer_of(&request)?;
        let proto::X509BundlesRequest {} = request.into_inner();
        let watch = self.watch(peer).await?;
        Ok(Response::new(watch.x509_bundles()))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<proto::JwtsvidRequest>,
    ) -> Result<Response<proto::JwtsvidResponse>, Status> {
        let peer = peer_of(&request)?;
        let proto::JwtsvidRequest { audience, spiffe_id } = request.into_inner();
        check_audiences(&audience)?;
        let wanted = parse_wanted(&spiffe_id)?;
        let caller = self.attest(&peer).await?;
        let svids = self
            .door
            .workload
            .jwt_svids(&caller.selectors, &audience, wanted.as_ref())
            .await
            .map_err(error::workload)?;
        Ok(Response::new(messages::jwt_svids(&svids)))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<proto::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let peer = peer_of(&request)?;
        let proto::JwtBundlesRequest {} = request.into_inner();
        let watch = self.watch(peer).await?;
        Ok(Response::new(watch.jwt_bundles()))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<proto::ValidateJwtsvidRequest>,
    ) -> Result<Response<proto::ValidateJwtsvidResponse>, Status> {
        let peer = peer_of(&request)?;
        let proto::ValidateJwtsvidRequest { audience, svid } = request.into_inner();
        check_audiences(std::slice::from_ref(&audience))?;
        if svid.is_empty() {
            return Err(error::missing_field("svid"));
        }
        let caller = self.attest(&peer).await?;
        let valid = self
            .door
            .workload
            .validate_jwt_svid(&caller.selectors, &svid, &audience)
            .map_err(error::workload)?;
        Ok(Response::new(messages::validated(&valid)))
    }

    async fn fetch_witsvid(
        &self,
        _request: Request<proto::WitsvidRequest>,
    ) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        Err(error::no_wit_svids())
    }

    async fn fetch_wit_bundles(
        &self,
        _request: Request<proto::WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        Err(error::no_wit_svids())
    }
}

impl WorkloadService {
    async fn attest(&self, peer: &Peer) -> Result<Attestation, Status> {
        self.door.attestors.attest(peer).await.map_err(error::attest)
    }

    async fn watch(&self, peer: Arc<Peer>) -> Result<Watch, Status> {
        let caller = self.attest(&peer).await?;
        Ok(Watch::new(self.door.clone(), peer, caller.selectors, self.shutdown.clone()))
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
