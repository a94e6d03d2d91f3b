//! The accept loop of the HTTP edge: TCP, TLS, then HTTP/1.1 or HTTP/2 by what ALPN agreed.
//!
//! It is our own so that handlers can see the certificate that the client showed ([`PeerCertificate`] among the
//! request's extensions) and so that every wait has an end: handshake, request head, age of a connection, drain. The
//! certificate is proven to belong to the client by the handshake and to nobody else; whom it names is for
//! `marque-exchange` to find out. Deliberately absent: routes, plain HTTP, and proxy headers.

mod addresses;
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

use axum::{Router, body::Body, http::Response};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use marque_exchange::PeerCertificate;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

pub use self::places::LiveHttpLimits;
pub use self::routers::Routers;
use self::{
    addresses::Addresses,
    places::Places,
    traffic::{Overdue, Patience, Traffic},
};
use crate::grpc::limit::Limit;

/// What one client, or all of them together, may take of the server.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections open at once; more wait in the listener's queue.
    pub connections: usize,
    /// Connections open at once from one IPv4 address or one IPv6 /64, and twice as many from one IPv6 /56; one too many is
    /// closed before its handshake.
    pub connections_per_address: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a request's head may take, which is also how long a connection may idle.
    pub request_head: Duration,
    /// How long one request may take, its body included; and for how long after that its answer may wait to be taken.
    pub request: Duration,
    /// The age at which a connection is asked to end.
    pub connection_age: Duration,
    /// How long connections may take to end once asked.
    pub drain: Duration,
    /// Requests in flight on one HTTP/2 connection.
    pub streams: u32,
    /// The most header fields in a request.
    pub header_fields: usize,
    /// The largest request head, in bytes.
    pub header_bytes: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 256,
            handshake: Duration::from_secs(5),
            request_head: Duration::from_secs(10),
            request: Duration::from_secs(15),
            connection_age: Duration::from_secs(3600),
            drain: Duration::from_secs(5),
            streams: 100,
            header_fields: 64,
            header_bytes: 32 * 1024,
        }
    }
}

/// A listener with its TLS settings, bound and not yet serving.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
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
        let limits = limits.into();
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls, limits })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
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

    /// As [`HttpServer::run`]; and when `replaced` is cancelled because another listener takes its place, it takes nobody in any
    /// more and lets every request finish that may be open. Whoever has no request open by then is closed: connections that
    /// wait to be accepted, those in their handshake, and idle ones.
    pub async fn run_or_be_replaced(
        self,
        routers: Routers,
        stop: impl Future<Output = ()>,
        replaced: CancellationToken,
    ) {
        let Self { listener, address: _, tls, limits } = self;
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(tls),
            routers,
            drain: CancellationToken::new(),
            close: CancellationToken::new(),
            replaced,
            limits,
        });
        let places = Places::new(shared.limits.clone());
        let addresses = Addresses::new(shared.limits.now().connections_per_address);
        let connections = TaskTracker::new();
        let mut stop = pin!(stop);
        let is_replaced = loop {
            let place = tokio::select! {
                () = &mut stop => break false,
                () = shared.replaced.cancelled() => break true,
                place = places.take() => place,
            };
            let accepted = tokio::select! {
                () = &mut stop => break false,
                () = shared.replaced.cancelled() => break true,
                accepted = listener.accept() => accepted,
            };
            addresses.allow(shared.limits.now().connections_per_address);
            match accepted {
                Ok((stream, client)) => {
                    let Some(of_address) = addresses.place(client.ip()) else {
                        Limit::HttpsConnectionsPerAddress.count();
                        tracing::debug!(%client, "an address has too many connections open");
                        continue;
                    };
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
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
        };
        drop(listener);
        shared.end(connections, (is_replaced, stop)).await;
    }
}

struct Shared {
    acceptor: TlsAcceptor,
    routers: Routers,
    drain: CancellationToken,
    close: CancellationToken,
    /// Another listener has taken the place of this one.
    replaced: CancellationToken,
    limits: LiveHttpLimits,
}

impl Shared {
    async fn connection(&self, stream: TcpStream) {
        // Answers are small and complete: nothing is gained by waiting for more of them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a connection ended before its handshake"
            );
            return;
        }
        let handshake = timeout(self.limits.now().handshake, self.acceptor.accept(stream));
        let stream = tokio::select! {
            () = self.drain.cancelled() => return,
            handshake = handshake => match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a TLS handshake failed");
                    return;
                }
                Err(_elapsed) => {
                    tracing::debug!("a TLS handshake took too long");
                    return;
                }
            },
        };
        self.requests(stream).await;
    }

    async fn requests(&self, stream: TlsStream<TcpStream>) {
        let (_, session) = stream.get_ref();
        let peer = session.peer_certificates().and_then(PeerCertificate::from_chain);
        let builder = self.builder(session.alpn_protocol() == Some(b"h2"));
        let limits = self.limits.now();
        let traffic =
            Traffic::new(Patience { idle: limits.request_head, request: limits.request * 2 });
        let service = service_fn(|mut request: Request<Incoming>| {
            let open = traffic.begin();
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            let mut router = self.routers.current();
            async move {
                let answer: Result<Response<Body>, Infallible> = router.call(request).await;
                answer.map(|answer| answer.map(|body| open.until_taken(body)))
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut too_old = pin!(sleep(limits.connection_age));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.drain.cancelled() => None,
            () = too_old.as_mut() => None,
            overdue = overdue(&traffic) => match overdue {
                Overdue::Silent | Overdue::Stuck => return,
                Overdue::Idle => None,
            },
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.close.cancelled() => return,
                    () = sleep(self.patience()) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = &*error, "a connection ended early");
        }
    }

    /// Has open connections end, and waits for them as long as there is patience.
    async fn end(
        &self,
        connections: TaskTracker,
        (is_replaced, mut stop): (bool, Pin<&mut impl Future<Output = ()>>),
    ) {
        connections.close();
        self.drain.cancel();
        if is_replaced {
            tokio::select! {
                () = connections.wait() => return,
                () = sleep(self.patience()) => {}
                () = stop.as_mut() => {}
            }
        }
        if timeout(self.limits.now().drain, connections.wait()).await.is_err() {
            tracing::warn!(
                open = connections.len(),
                "the drain's deadline has passed; closing what is still open"
            );
            self.close.cancel();
            connections.wait().await;
        }
    }

    /// How long a connection that is asked to end may take for that.
    fn patience(&self) -> Duration {
        let limits = self.limits.now();
        // Its client did nothing wrong, so that its request and the answer may take as long as ever.
        if self.replaced.is_cancelled() { limits.request * 2 } else { limits.drain }
    }

    /// One protocol alone, by what ALPN agreed: guessing from the first bytes would wait for them without an end.
    fn builder(&self, http2: bool) -> Builder<TokioExecutor> {
        let limits = self.limits.now();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.request_head)
            .max_headers(limits.header_fields)
            .max_buf_size(usize::try_from(limits.header_bytes).unwrap_or(32 * 1024).max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        if http2 { builder.http2_only() } else { builder.http1_only() }
    }
}

/// Waits until the connection has lasted long enough.
async fn overdue(traffic: &Traffic) -> Overdue {
    loop {
        let (due, why) = traffic.due();
        if due <= tokio::time::Instant::now() {
            return why;
        }
        sleep_until(due).await;
    }
}
