//! The TCP listeners of a trust domain: those that are served, and those that were given up and are not closed yet.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marque_registry::{DownstreamSettings, TrustDomainDocument};
use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::{HttpServer, ListenerHandle, LiveHttpLimits};

/// How long a reload waits for the end of a listener that is about to be closed. Longer than that takes one whose places are
/// full, and nothing else of the folder changes meanwhile.
const CLOSES_SOON: Duration = Duration::from_secs(2);

/// What listeners are bound with.
#[derive(Debug)]
pub(in crate::issuer) struct Entrances {
    limits: LiveHttpLimits,
    left: Mutex<Vec<ListenerHandle>>,
}

/// What has one listener be given up.
#[derive(Debug)]
pub(super) struct Closes {
    replaced: CancellationToken,
    /// Nothing of a Unix socket: nobody gets to it when its path is gone.
    listener: Option<ListenerHandle>,
}

impl Entrances {
    pub(super) fn new(limits: LiveHttpLimits) -> Self {
        Self { limits, left: Mutex::default() }
    }

    /// What clients of all of them may take.
    pub(super) fn limits(&self) -> &LiveHttpLimits {
        &self.limits
    }

    /// A server at this address. One that was given up there and still takes in whoever had come hands its socket over.
    ///
    /// # Errors
    /// The address is taken, for instance by one that was given up and takes long to close.
    pub(in crate::issuer) async fn bind(
        &self,
        address: SocketAddr,
        tls: Arc<ServerConfig>,
    ) -> io::Result<HttpServer> {
        let limits = self.limits.clone();
        if let Some(left) = self.left_at(address) {
            let taken_up = timeout(CLOSES_SOON, left.take_up()).await;
            let taken_up = taken_up.map_err(|_elapsed| {
                let message =
                    "who is connected to the listener of before holds it; try again in a minute";
                io::Error::new(io::ErrorKind::AddrInUse, message)
            })?;
            if let Some(listener) = taken_up {
                return Ok(HttpServer::on(listener, tls, limits));
            }
        }
        HttpServer::bind(address, tls, limits).await
    }

    /// A listener is served: if it was given up before, nobody else takes it up any more.
    pub(super) fn serves(&self, listener: &ListenerHandle) {
        self.left().retain(|one| !one.finds_the_same_as(listener));
    }

    fn left_at(&self, address: SocketAddr) -> Option<ListenerHandle> {
        self.left().iter().find(|one| one.address() == address).cloned()
    }

    /// Those that are given up and not closed.
    fn left(&self) -> MutexGuard<'_, Vec<ListenerHandle>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|one| !one.is_closed());
        left
    }

    /// Has a listener take in whoever has come, and then nobody any more.
    pub(super) fn close(&self, place: &mut Option<Closes>) {
        let Some(Closes { replaced, listener }) = place.take() else { return };
        self.left().extend(listener);
        replaced.cancel();
    }
}

impl Closes {
    pub(super) fn new(replaced: CancellationToken, listener: Option<ListenerHandle>) -> Self {
        Self { replaced, listener }
    }
}

/// Checks that a document has each of its listeners at an address of its own: two of them would both take up one that was given up
/// there. An `edge` whose address the command line says is not the document's to place.
///
/// # Errors
/// Two are at one address.
pub(super) fn are_apart(document: &TrustDomainDocument, edge: bool) -> anyhow::Result<()> {
    let wanted = [
        ("`listen` in [issuer]", edge.then(|| document.hosts().listen())),
        ("`https_spiffe` in [bundle_endpoint]", document.bundle_endpoint().https_spiffe),
        ("`listen` in [downstream]", document.downstream().map(DownstreamSettings::listen)),
    ];
    let mut seen = BTreeMap::new();
    for (setting, address) in wanted {
        // Port 0 is another port each time.
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        if let Some(other) = seen.insert(address, setting) {
            anyhow::bail!(
                "{other} and {setting} are both {address}; give each an address of its own"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use futures::FutureExt as _;
    use rustls::server::ResolvesServerCertUsingSni;
    use tokio::net::TcpStream;

    use super::*;
    use crate::http::HttpLimits;

    const SOON: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_secs(3600);

    /// Settings without a certificate: no handshake gets far.
    fn tls() -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        Arc::new(config)
    }

    async fn anywhere(entrances: &Entrances) -> HttpServer {
        entrances.bind(SocketAddr::from(([127, 0, 0, 1], 0)), tls()).await.unwrap()
    }

    fn run(server: HttpServer) -> Option<Closes> {
        let (replaced, listener) = (CancellationToken::new(), server.handle());
        let routers = server.routers(Router::new());
        let never = std::future::pending::<()>();
        tokio::spawn(server.run_or_be_replaced(routers, never, replaced.clone()));
        Some(Closes::new(replaced, Some(listener)))
    }

    #[tokio::test]
    async fn an_address_that_is_served_again_is_nobody_elses_until_it_is_given_up_again() {
        let limits = HttpLimits { leave: LONG, quiet: LONG, ..HttpLimits::default() };
        let entrances = Entrances::new(limits.into());
        let first = anywhere(&entrances).await;
        let at = first.local_addr();
        entrances.close(&mut run(first));
        let again = entrances.bind(at, tls()).await.expect("it was given up");
        let listener = again.handle();
        let mut served = run(again);
        entrances.serves(&listener);
        let taken = entrances.bind(at, tls()).await.expect_err("it is served");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        entrances.close(&mut served);
        entrances.bind(at, tls()).await.expect("it was given up again");
    }

    #[tokio::test]
    async fn a_listener_that_takes_long_to_close_is_not_waited_for() {
        let moment = Duration::from_millis(20);
        let limits = HttpLimits {
            connections: 1,
            handshake: LONG,
            leave: moment,
            quiet: moment,
            ..HttpLimits::default()
        };
        let entrances = Entrances::new(limits.into());
        let server = anywhere(&entrances).await;
        let (at, listener) = (server.local_addr(), server.handle());
        let mut served = run(server);
        // Has the only place, so that who else is in the queue of the kernel cannot be known.
        let _silent = TcpStream::connect(at).await.unwrap();
        entrances.close(&mut served);
        let closes = async {
            while listener.take_up().now_or_never().is_some() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, closes).await.expect("it is about to close");
        let bound = timeout(SOON, entrances.bind(at, tls())).await.expect("nobody waits so long");
        assert_eq!(bound.expect_err("it is open still").kind(), io::ErrorKind::AddrInUse);
    }
}
