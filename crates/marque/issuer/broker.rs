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
use marque_workload::Issuer as _;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use self::identity::Identity;
use super::Lasting;
use crate::grpc::broker::{AllowList, BrokerDoor, serve_broker};
use crate::grpc::live::LiveLimits;
use crate::grpc::offer::LiveOffer;
use crate::grpc::serve::Ending;

/// What its calls go by.
pub(super) type BrokerSettings = (Arc<Attestors>, LiveOffer, LiveLimits);

/// The endpoint, bound and with an SVID to show.
#[derive(Debug)]
pub(super) struct BrokerEndpoint {
    pub(super) socket: PathBuf,
    listener: UnixListener,
    identity: Identity,
}

impl BrokerEndpoint {
    /// The endpoint of a trust domain at `socket`, which `bind` makes.
    pub(super) async fn build(
        issuer: &Lasting,
        socket: PathBuf,
        bind: impl FnOnce(&Path) -> anyhow::Result<UnixListener>,
    ) -> anyhow::Result<Self> {
        let spiffe_id = format!("{}/{RESERVED_SEGMENT}/broker", issuer.trust_domain().id());
        let spiffe_id: SpiffeId = spiffe_id.parse()?;
        let minting = Arc::clone(&issuer.minting);
        let identity = Identity::begin(spiffe_id, minting, Arc::clone(&issuer.clock));
        let identity = identity.await.context("mint the Broker API endpoint's own SVID")?;
        let listener = bind(&socket)?;
        Ok(Self { socket, listener, identity })
    }

    /// Serves until `stop`, or until it is `closed`, its path being gone; whoever is connected then is told.
    pub(super) async fn run(
        self,
        issuer: Arc<Lasting>,
        ((attestors, offer, limits), brokers): (BrokerSettings, AllowList),
        (stop, closed): (CancellationToken, CancellationToken),
    ) -> anyhow::Result<()> {
        let Self { socket: _, listener, identity } = self;
        let door = BrokerDoor {
            attestors,
            offer,
            brokers,
            state: issuer.minting.state(),
            sharing: Arc::clone(issuer.sharing()),
            denials: Arc::clone(issuer.denials()),
            log: Arc::clone(&issuer.store) as _,
            clock: Arc::clone(&issuer.clock),
            certificate: Arc::clone(identity.certificate()),
        };
        drop(issuer);
        let ending = Ending::from(stop.clone());
        let serving = serve_broker(listener, door, limits, ending.clone());
        let serving = async {
            let mut serving = std::pin::pin!(serving);
            tokio::select! {
                served = serving.as_mut() => return served,
                () = closed.cancelled() => ending.leave(),
            }
            serving.await
        };
        tokio::select! {
            served = serving => Ok(served?),
            never = identity.keep(stop) => match never {},
        }
    }
}
