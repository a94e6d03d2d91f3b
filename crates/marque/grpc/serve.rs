//! Serving gRPC on a Unix socket: accept, pin the peer, count it, serve, drain for a bounded time, then close.
//!
//! Absent on purpose: what the services do, and where the sockets are (see `node.rs` and `issuer/`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use marque_attest::Peer;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::connection::{Connection, Slots};
use super::header::RequireHeader;

/// The largest message that a client may send.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// How many calls one connection may have open.
pub const MAX_CONCURRENT_STREAMS: u32 = 100;
/// The largest list of request headers, as HTTP/2 counts it.
pub const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// How many streams a client may reset before they were accepted (rapid reset).
pub const MAX_PENDING_RESETS: usize = 20;
/// How many connections one uid may hold.
pub const MAX_CONNECTIONS_PER_UID: usize = 256;
/// How many connections a socket holds in all.
pub const MAX_CONNECTIONS: usize = 4096;
/// How long a drain waits for open calls before it closes their connections.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait after an accept that failed, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often an idle connection is asked whether it is still there, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What one socket lets its clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`MAX_MESSAGE_BYTES`].
    pub message_bytes: usize,
    /// See [`MAX_CONCURRENT_STREAMS`].
    pub concurrent_streams: u32,
    /// See [`MAX_HEADER_LIST_BYTES`].
    pub header_list_bytes: u32,
    /// See [`MAX_CONNECTIONS_PER_UID`].
    pub connections_per_uid: usize,
    /// See [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// See [`DRAIN`].
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: MAX_MESSAGE_BYTES,
            concurrent_streams: MAX_CONCURRENT_STREAMS,
            header_list_bytes: MAX_HEADER_LIST_BYTES,
            connections_per_uid: MAX_CONNECTIONS_PER_UID,
            connections: MAX_CONNECTIONS,
            drain: DRAIN,
        }
    }
}

/// Serving a socket failed.
#[derive(Debug, thiserror::Error)]
#[error("serving gRPC on a Unix socket failed")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves `routes` on `listener` until `shutdown` is cancelled and the drain is over.
///
/// With `header`, every request to the socket, whatever its service, has to carry that metadata with the one value
/// `true` (WE-2, read strictly).
pub(super) async fn serve(
    listener: UnixListener,
    routes: Routes,
    header: Option<&'static str>,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let close = CancellationToken::new();
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(limits.concurrent_streams)
        .http2_max_header_list_size(limits.header_list_bytes)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(RequireHeader::new(header))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            accept(listener, limits, close.clone()),
            shutdown.clone().cancelled_owned(),
        );
    let closing = async {
        shutdown.cancelled().await;
        tokio::time::sleep(limits.drain).await;
        close.cancel();
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        served = server => Ok(served?),
        never = closing => match never {},
    }
}

/// The connections of a listener whose peer could be pinned and which are within the limits.
///
/// A connection that is refused is closed without a word: there is no protocol before HTTP/2's first frames.
fn accept(
    listener: UnixListener,
    limits: Limits,
    close: CancellationToken,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let slots = Slots::new(limits.connections, limits.connections_per_uid);
    futures::stream::unfold((listener, slots, close), |(listener, slots, close)| async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = match Peer::capture(&stream) {
                Ok(peer) => Arc::new(peer),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "refused a peer that cannot be pinned"
                    );
                    continue;
                }
            };
            let Some(slot) = slots.take(peer.uid()) else {
                tracing::warn!(uid = peer.uid(), "refused a connection over the limit");
                continue;
            };
            let connection = Connection::new(stream, peer, slot, close.clone());
            return Some((Ok(connection), (listener, slots, close)));
        }
    })
}
