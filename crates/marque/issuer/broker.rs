//! The trust domain's Broker API endpoint: its socket, and an SVID of its own that is replaced in time.
//!
//! The endpoint is there only where the trust domain lists a broker. Its SPIFFE ID is below a path at which no workload
//! can be registered, so brokers know by it whom they talk to.

pub(super) mod identity;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use marque_attest::Attestors;
use marque_registry::RESERVED_SEGMENT;
use marque_spiffe::SpiffeId;
use marque_workload::{Issuer as _, Workload};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use self::identity::Identity;
use super::Lasting;
use crate::grpc::broker::{BrokerDoor, serve_broker};

/// The endpoint, bound and with an SVID to show.
#[derive(Debug)]
pub(super) struct BrokerEndpoint {
    pub(super) socket: PathBuf,
    listener: UnixListener,
    identity: Identity,
}

impl BrokerEndpoint {
    /// The endpoint of a trust domain at `socket`, which `bind` makes; `None` where there is no broker.
    pub(super) async fn build(
        issuer: &Lasting,
        socket: PathBuf,
        bind: impl FnOnce(&Path) -> anyhow::Result<UnixListener>,
    ) -> anyhow::Result<Option<Self>> {
        if issuer.registry().document().brokers().is_empty() {
            return Ok(None);
        }
        let listener = bind(&socket)?;
        let spiffe_id = format!("{}/{RESERVED_SEGMENT}/broker", issuer.trust_domain().id());
        let spiffe_id: SpiffeId = spiffe_id.parse()?;
        let minting = Arc::clone(&issuer.minting);
        let identity = Identity::begin(spiffe_id, minting, Arc::clone(&issuer.clock));
        let identity = identity.await.context("mint the Broker API endpoint's own SVID")?;
        Ok(Some(Self { socket, listener, identity }))
    }

    /// Serves until `stop`.
    pub(super) async fn run(
        self,
        issuer: Arc<Lasting>,
        attestors: Arc<Attestors>,
        workload: Workload,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { socket: _, listener, identity } = self;
        let door = BrokerDoor {
            attestors,
            workload,
            profiles: issuer.profiles(),
            brokers: issuer.registry().document().brokers().to_vec(),
            state: issuer.minting.state(),
            sharing: Arc::clone(issuer.sharing()),
            denials: Arc::clone(issuer.denials()),
            log: Arc::clone(&issuer.store) as _,
            clock: Arc::clone(&issuer.clock),
            certificate: Arc::clone(identity.certificate()),
        };
        let limits = *issuer.registry().document().limits();
        let serving = serve_broker(listener, door, limits, stop.clone());
        tokio::select! {
            served = serving => Ok(served?),
            never = identity.keep(stop) => match never {},
        }
    }
}
