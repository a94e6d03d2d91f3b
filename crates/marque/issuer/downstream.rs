//! Where servers below have their authorities signed: a listener of its own, with an SVID that is replaced in time.
//!
//! It is there only where the trust domain lists a server. Its SPIFFE ID is that of SPIRE's servers, whom SPIRE's own clients
//! expect; no workload can be registered there. Absent: what is signed (the `authority` crate), and messages (`grpc/downstream`).

use std::sync::Arc;

use anyhow::Context as _;
use marque_registry::SPIRE_SEGMENT;
use marque_spiffe::SpiffeId;
use marque_workload::Issuer as _;
use tokio_util::sync::CancellationToken;

use super::Lasting;
use super::broker::identity::Identity;
use crate::endpoints::DownstreamEndpoint;
use crate::grpc::downstream::DownstreamDoor;
use crate::http::{HttpLimits, HttpServer, Routers};

/// The listener, bound and with an SVID to show.
#[derive(Debug)]
pub(super) struct DownstreamServer {
    pub(super) at: DownstreamEndpoint,
    server: HttpServer,
    routers: Routers,
    identity: Identity,
}

impl DownstreamServer {
    /// The listener of a trust domain; `None` where nobody is below it.
    pub(super) async fn build(
        issuer: &Lasting,
        limits: HttpLimits,
    ) -> anyhow::Result<Option<Self>> {
        let document = issuer.registry().document();
        let Some(settings) = document.downstream() else { return Ok(None) };
        let address = settings.listen();
        let spiffe_id = format!("{}/{SPIRE_SEGMENT}/server", issuer.trust_domain().id());
        let spiffe_id: SpiffeId = spiffe_id.parse()?;
        let minting = Arc::clone(&issuer.minting);
        let identity = Identity::begin(
            spiffe_id.clone(),
            Arc::clone(&minting) as _,
            Arc::clone(&issuer.clock),
        );
        let identity = identity.await.context("mint the SVID that downstream servers see")?;
        let door = DownstreamDoor {
            state: minting.state(),
            issuer: minting,
            servers: settings.spiffe_ids().clone(),
            clock: Arc::clone(&issuer.clock),
            certificate: Arc::clone(identity.certificate()),
        };
        let server = HttpServer::bind(address, door.tls()?, limits).await;
        let server = server.with_context(|| {
            format!("listen on {address} for downstream servers; is it taken already?")
        })?;
        let at = DownstreamEndpoint { address: server.local_addr().to_string(), spiffe_id };
        let routers = server.routers(door.router());
        Ok(Some(Self { at, server, routers, identity }))
    }

    /// Serves until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { at: _, server, routers, identity } = self;
        let serving = server.run(routers, stop.clone().cancelled_owned());
        tokio::select! {
            () = serving => Ok(()),
            never = identity.keep(stop) => match never {},
        }
    }
}
