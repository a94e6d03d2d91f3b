//! Envoy's secret discovery service, v3, beside the Workload API on the same socket: SVIDs and bundles as Envoy takes
//! them, without a helper between the two.
//!
//! A secret is named as other SPIFFE implementations name it (see `resources.rs`). Names that the caller has nothing for are
//! left out: whether there is such an identity is told to nobody who is not entitled to it. A caller that is entitled to
//! nothing at all gets `PermissionDenied`, as from the Workload API; so does an open stream when the last identity ends.
//!
//! Each stream is attested when it names what it wants, when it changes that, and again before each push; it has one
//! subscription of `marque-workload` and keeps nothing pending.
//!
//! Absent on purpose: other resource types, aggregated discovery, and every rule about entitlement.

mod caller;
mod delta;
mod fetch;
mod resources;
mod secrets;
mod stream;
#[cfg(test)]
mod tests;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use self::caller::Caller;
use super::connection::{peer_of, rate_of};
use super::live::{LiveLimits, Sized};
use super::offer::Profile;
use super::workload::WorkloadDoor;
use crate::error;

/// How many names one stream may ask for.
const MAX_NAMES: usize = 256;
/// How long a name may be: no SPIFFE ID is longer.
const MAX_NAME_BYTES: usize = 2048;

/// The only resource type that is served.
const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// The service, to be served on a Workload API socket; one that is switched off answers `Unimplemented`.
pub(super) fn server(
    door: WorkloadDoor,
    limits: &LiveLimits,
    shutdown: CancellationToken,
) -> Sized<SecretDiscoveryServiceServer<SecretService>> {
    let server = SecretDiscoveryServiceServer::new(SecretService { door, shutdown });
    Sized::new(server, limits, SecretDiscoveryServiceServer::max_decoding_message_size)
}

#[derive(Debug)]
pub(super) struct SecretService {
    door: WorkloadDoor,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl SecretDiscoveryService for SecretService {
    type StreamSecretsStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaSecretsStream = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(stream::converse(caller, request.into_inner())))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(delta::converse(caller, request.into_inner())))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let caller = self.caller(&request)?;
        fetch::fetch(&caller, request.into_inner()).await.map(Response::new)
    }
}

impl SecretService {
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.door.offer.check(Profile::EnvoySds)?;
        let (peer, rate) = (peer_of(request)?, rate_of(request)?);
        Ok(Caller::new(self.door.clone(), peer, rate, self.shutdown.clone()))
    }
}

/// What can never work is refused before anybody is attested.
fn check_type(type_url: &str) -> Result<(), Status> {
    // A client of this one service need not say what it asks for.
    if type_url.is_empty() || type_url == SECRET_TYPE {
        Ok(())
    } else {
        Err(error::other_resource_type())
    }
}

fn check_name(name: &str) -> Result<(), Status> {
    if name.len() > MAX_NAME_BYTES {
        Err(error::resource_name_too_long(MAX_NAME_BYTES))
    } else {
        Ok(())
    }
}

fn check_count(names: usize) -> Result<(), Status> {
    if names > MAX_NAMES { Err(error::too_many_resource_names(MAX_NAMES)) } else { Ok(()) }
}
