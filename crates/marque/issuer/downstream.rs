//! Where servers below have their authorities signed: a listener of its own, with an SVID that is replaced in time.
//!
//! It is there only where the trust domain lists a server. Its SPIFFE ID is that of SPIRE's servers, whom SPIRE's own clients
//! expect; no workload can be registered there. Absent: what is signed (the `authority` crate), and messages (`grpc/downstream`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context as _;
use marque_registry::{DownstreamSettings, SPIRE_SEGMENT};
use marque_spiffe::SpiffeId;
use marque_workload::Issuer as _;
use tokio_util::sync::CancellationToken;

use super::Lasting;
use super::broker::identity::Identity;
use super::doors::Entrances;
use crate::endpoints::DownstreamEndpoint;
use crate::grpc::downstream::DownstreamDoor;
use crate::http::{HttpServer, ListenerHandle, Routers};

/// The listener, bound and with an SVID to show.
#[derive(Debug)]
pub(super) struct DownstreamServer {
    at: DownstreamEndpoint,
    server: HttpServer,
    identity: Identity,
    /// Until the last connection has ended.
    serves: Arc<Serves>,
}

/// What serves the requests of a listener.
#[derive(Debug)]
pub(super) struct Serves {
    routers: Routers,
    door: DownstreamDoor,
    /// Who may ask at present.
    servers: Mutex<BTreeSet<SpiffeId>>,
}

impl Serves {
    /// Has the servers ask that are listed now, and no others, from the next request on; nobody where there are no settings.
    pub(super) fn go_by(&self, settings: Option<&DownstreamSettings>) {
        let servers = settings.map(|settings| settings.spiffe_ids().clone()).unwrap_or_default();
        let mut present = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers != *present {
            present.clone_from(&servers);
            let door = DownstreamDoor { servers, ..self.door.clone() };
            self.routers.replace(door.router());
        }
    }
}

impl DownstreamServer {
    /// The listener that a document wants.
    pub(super) async fn build(
        issuer: &Lasting,
        settings: &DownstreamSettings,
        entrances: &Entrances,
    ) -> anyhow::Result<Self> {
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
        let server = entrances.bind(address, door.tls()?).await;
        let server = server.with_context(|| {
            format!("listen on {address} for downstream servers; is it taken already?")
        })?;
        let at = DownstreamEndpoint { address: server.local_addr().to_string(), spiffe_id };
        let serves = Serves {
            routers: server.routers(door.clone().router()),
            servers: Mutex::new(door.servers.clone()),
            door,
        };
        Ok(Self { at, server, identity, serves: Arc::new(serves) })
    }

    /// Where servers find it.
    pub(super) fn at(&self) -> DownstreamEndpoint {
        self.at.clone()
    }

    /// What finds its listener.
    pub(super) fn handle(&self) -> ListenerHandle {
        self.server.handle()
    }

    /// What serves it, for as long as anybody is served.
    pub(super) fn serves(&self) -> Weak<Serves> {
        Arc::downgrade(&self.serves)
    }

    /// Serves until `stop`, or until it is `replaced`.
    pub(super) async fn run(
        self,
        stop: CancellationToken,
        replaced: CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { at: _, server, identity, serves } = self;
        let routers = serves.routers.clone();
        let serving = server.run_or_be_replaced(routers, stop.clone().cancelled_owned(), replaced);
        tokio::select! {
            () = serving => Ok(()),
            never = identity.keep(stop) => match never {},
        }
    }
}
