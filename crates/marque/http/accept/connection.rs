//! One connection, from its handshake to its end: by its client, by its age, or because its listener goes.

use std::{convert::Infallible, pin::pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Response, header::CONNECTION},
};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use marque_exchange::PeerCertificate;
use tokio::{
    net::TcpStream,
    time::{sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::{
    places::LiveHttpLimits,
    routers::Routers,
    traffic::{Overdue, Patience, Traffic},
};

/// What all connections of a server have in common.
pub(super) struct Shared {
    pub(super) acceptor: TlsAcceptor,
    pub(super) routers: Routers,
    /// Every connection has to end.
    pub(super) drain: CancellationToken,
    /// And at once.
    pub(super) close: CancellationToken,
    /// Another listener has taken the place of this one.
    pub(super) replaced: CancellationToken,
    pub(super) limits: LiveHttpLimits,
}

impl Shared {
    pub(super) async fn connection(&self, stream: TcpStream) {
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
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let builder = self.builder(is_http2);
        let limits = self.limits.now();
        let traffic =
            Traffic::new(Patience { idle: limits.request_head, request: limits.request * 2 });
        let service = service_fn(|mut request: Request<Incoming>| {
            let open = traffic.begin();
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            let mut router = self.routers.current();
            let replaced = self.replaced.clone();
            async move {
                let answer: Result<Response<Body>, Infallible> = router.call(request).await;
                answer.map(|mut answer| {
                    if !is_http2 && replaced.is_cancelled() {
                        let last = HeaderValue::from_static("close");
                        answer.headers_mut().insert(CONNECTION, last);
                    }
                    answer.map(|body| open.until_taken(body))
                })
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut too_old = pin!(sleep(limits.connection_age));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.drain.cancelled() => None,
            () = self.left(&traffic, is_http2) => None,
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

    /// Completes when a connection has to end because another listener has taken the place of its own: with HTTP/2 as soon as
    /// something was asked on it, because its goodbye takes nothing back that was asked (RFC 9113 §6.8). With HTTP/1.1 a
    /// request may be under way while it says goodbye (RFC 9112 §9.6), so it does that in its next answer, or when none is
    /// asked for.
    async fn left(&self, traffic: &Traffic, is_http2: bool) {
        self.replaced.cancelled().await;
        let grace = sleep(self.limits.now().leave);
        tokio::select! {
            () = grace => {}
            () = traffic.asked(), if is_http2 => {}
        }
    }

    /// Waits for the end of all connections: to begin with, where they `leave` by themselves, for as long as that may take
    /// them, or until the process has to stop; then they are told to.
    pub(super) async fn end(
        &self,
        connections: TaskTracker,
        leave: Option<impl Future<Output = ()>>,
    ) {
        connections.close();
        if let Some(stop) = leave {
            tokio::select! {
                () = connections.wait() => return,
                () = sleep(self.limits.now().last_of_all()) => {}
                () = stop => {}
            }
        }
        self.drain.cancel();
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
