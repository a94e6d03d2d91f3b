//! The accept loop of the HTTP edge: TCP, TLS, then HTTP/1.1 or HTTP/2 by what ALPN agreed.
//!
//! It is our own so that handlers can see the certificate that the client showed ([`PeerCertificate`] among the
//! request's extensions) and so that every wait has an end: handshake, request head, age of a connection, drain. The
//! certificate is proven to belong to the client by the handshake and to nobody else; whom it names is for
//! `marque-exchange` to find out. Deliberately absent: routes, plain HTTP, and proxy headers.
//!
//! [`PeerCertificate`]: marque_exchange::PeerCertificate

mod addresses;
mod connection;
mod limits;
mod listener;
mod places;
mod routers;
mod traffic;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use rustls::ServerConfig;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::limits::HttpLimits;
pub use self::listener::{Listener, ListenerHandle};
pub use self::places::LiveHttpLimits;
pub use self::routers::Routers;
use self::{
    addresses::Addresses,
    connection::Shared,
    listener::Turn,
    places::{Place, Places},
};
use crate::grpc::limit::Limit;

/// A listener with its TLS settings, bound and not yet serving.
#[derive(Debug)]
pub struct HttpServer {
    listener: Arc<Listener>,
    turn: Turn,
    tls: Arc<ServerConfig>,
    limits: LiveHttpLimits,
}

impl HttpServer {
    /// Binds the address; port 0 picks a free one.
    pub async fn bind(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        limits: impl Into<LiveHttpLimits>,
    ) -> io::Result<Self> {
        Ok(Self::on(Listener::bind(address).await?, tls, limits))
    }

    /// A server on a listener that is there. Whoever serves it goes on until this one runs.
    pub fn on(
        listener: Arc<Listener>,
        tls: Arc<ServerConfig>,
        limits: impl Into<LiveHttpLimits>,
    ) -> Self {
        Self { turn: listener.next_turn(), listener, tls, limits: limits.into() }
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What finds its listener for as long as that is open.
    pub fn handle(&self) -> ListenerHandle {
        self.listener.handle()
    }

    /// What its clients may take.
    pub fn limits(&self) -> &LiveHttpLimits {
        &self.limits
    }

    /// What serves requests, beginning with `router`, within the limits of this server.
    pub fn routers(&self, router: Router) -> Routers {
        Routers::new(router, self.limits.now().request)
    }

    /// Serves until `stop` completes, then lets open requests finish for at most [`HttpLimits::drain`] and closes.
    pub async fn run(self, routers: Routers, stop: impl Future<Output = ()>) {
        self.run_or_be_replaced(routers, stop, CancellationToken::new()).await;
    }

    /// As [`HttpServer::run`]; and when `replaced` is cancelled because another listener takes its place, whoever is connected,
    /// or has begun to connect, may still ask: it goes on to take connections in until nobody has come for
    /// [`HttpLimits::quiet`], for at most [`HttpLimits::leave`], and has the kernel let no other connection begin before it
    /// closes. A connection says goodbye as [`HttpLimits::leave`] says.
    pub async fn run_or_be_replaced(
        self,
        routers: Routers,
        stop: impl Future<Output = ()>,
        replaced: CancellationToken,
    ) {
        let Self { listener, turn, tls, limits } = self;
        listener.begin(turn);
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(tls),
            routers,
            drain: CancellationToken::new(),
            close: CancellationToken::new(),
            replaced,
            limits,
        });
        let entrance = Entrance::new(&shared, &listener);
        let mut stop = pin!(stop);
        let mut stopped = tokio::select! {
            () = stop.as_mut() => true,
            () = shared.replaced.cancelled() => false,
            never = entrance.take_in(&listener) => match never {},
        };
        if stopped {
            drop(listener);
        } else {
            tokio::select! {
                () = stop.as_mut() => stopped = true,
                () = entrance.leave(listener, turn) => {}
            }
        }
        let leave: Option<Pin<&mut _>> = (!stopped).then_some(stop);
        shared.end(entrance.connections, leave).await;
    }
}

/// What connections pass on their way in.
struct Entrance {
    shared: Arc<Shared>,
    places: Arc<Places>,
    addresses: Arc<Addresses>,
    connections: TaskTracker,
}

impl Entrance {
    /// Whoever came to the listener before has a place there still.
    fn new(shared: &Arc<Shared>, listener: &Listener) -> Self {
        Self {
            shared: Arc::clone(shared),
            places: Arc::clone(&listener.places),
            addresses: Arc::clone(&listener.addresses),
            connections: TaskTracker::new(),
        }
    }

    /// Takes in whoever comes, as far as there are places.
    async fn take_in(&self, listener: &Listener) -> Infallible {
        loop {
            let place = self.places.take(&self.shared.limits).await;
            self.admit(place, listener.accept().await).await;
        }
    }

    /// Takes in whoever comes until nobody has come for so long, and for so long at most.
    async fn take_in_until_quiet(&self, listener: &Listener, most: Duration) {
        let (quiet, until) = (self.shared.limits.now().quiet, Instant::now() + most);
        while Instant::now() < until {
            let place = self.places.take(&self.shared.limits);
            let Ok(place) = timeout_at(until, place).await else { return };
            let soon = until.min(Instant::now() + quiet);
            let Ok(accepted) = timeout_at(soon, listener.accept()).await else { return };
            self.admit(place, accepted).await;
        }
    }

    /// Takes in whoever has come or is about to, and closes the listener when that is everybody; unless it is somebody else's
    /// turn by then, who does that one day.
    async fn leave(&self, mut listener: Arc<Listener>, turn: Turn) {
        let mut most = self.shared.limits.now().leave;
        let passes = listener.passes(turn);
        let mut passes = pin!(passes);
        let last = loop {
            tokio::select! {
                () = passes.as_mut() => return,
                () = self.take_in_until_quiet(&listener, most) => {}
            }
            match Arc::try_unwrap(listener) {
                Ok(last) => break last,
                // Somebody has it who may serve it any moment, or give it up.
                Err(held) => listener = held,
            }
            most = self.shared.limits.now().quiet;
        };
        last.let_none_begin();
        self.take_in_until_quiet(&last, self.shared.limits.now().last_of_all()).await;
    }

    async fn admit(&self, place: Place, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, client)) => {
                let most = self.shared.limits.now().connections_per_address;
                let Some(of_address) = self.addresses.place(client.ip(), most) else {
                    Limit::HttpsConnectionsPerAddress.count();
                    tracing::debug!(%client, "an address has too many connections open");
                    return;
                };
                let shared = Arc::clone(&self.shared);
                self.connections.spawn(async move {
                    shared.connection(stream).await;
                    drop((place, of_address));
                });
            }
            Err(error) => {
                // Out of file descriptors, or a client that left before it was served: neither ends the server.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection could not be accepted"
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
