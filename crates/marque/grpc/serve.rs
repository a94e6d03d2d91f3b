//! Serving gRPC on a Unix socket: accept, count, pin the peer, have it prove itself, serve, drain for a bounded time.
//!
//! Absent on purpose: what the services do, and where the sockets are (see `issuer/`).

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use marque_attest::Peer;
pub use marque_registry::LimitSettings as Limits;
use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Layer as _, Service};

use super::accounts::{Accounts, ConnectionPlace};
use super::admission::{Admission, Arrival};
use super::arrivals::Arrivals;
use super::challenge::Challenge;
use super::connection::{Carrier, ConnectedPeer, Connection};
use super::header::RequireHeader;
use super::limit::Limit;
use super::live::LiveLimits;
use super::pinned::Pinned;
pub(crate) use super::received::ask_for_senders;
use super::standing::{Reason, Standing};
use crate::clock::SystemRandomness;

/// How long to wait after an accept that failed, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection that is refused may take to read why.
const REFUSAL_GRACE: Duration = Duration::from_secs(1);
/// How many bytes a client may send ahead on a call, and on all calls of a connection together: one message of the usual
/// size; more is asked for as it is read.
const WINDOW_BYTES: u32 = 65_535;

/// Serving a socket failed.
#[derive(Debug, thiserror::Error)]
#[error("serving gRPC on a Unix socket failed")]
pub struct ServeError(#[from] io::Error);

/// What ends a listener with its connections.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The process stops: nobody else is taken in, and who is there has a bounded time.
    pub(super) stop: CancellationToken,
    /// Nobody gets to the socket any more: whoever has is taken in, and may ask once. Cancelled with `stop`, too.
    pub(super) left: CancellationToken,
}

impl Ending {
    /// Nobody gets to the socket any more, whose path is gone.
    pub fn leave(&self) {
        self.left.cancel();
    }
}

impl From<CancellationToken> for Ending {
    fn from(stop: CancellationToken) -> Self {
        Self { left: stop.child_token(), stop }
    }
}

/// Serves `routes` on `listener` until `shutdown` is cancelled and the drain is over.
///
/// With `header`, every request to the socket, whatever its service, has to carry that metadata with the one value
/// `true` (WE-2, read strictly).
pub(super) async fn serve(
    listener: UnixListener,
    routes: Routes,
    header: Option<&'static str>,
    limits: LiveLimits,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    ask_for_senders(&listener)?;
    let random = SystemRandomness::default();
    let ending = Ending::from(shutdown);
    let guests = accept(listener, limits.clone(), ending.left.clone())
        .filter_map(|accepted| std::future::ready(pinned(accepted, limits.clone(), &random)));
    serve_guests(guests, routes, header, ending).await;
    Ok(())
}

/// A connection that may be served, and what is known of it.
#[derive(Debug)]
pub(super) struct Guest<C, W> {
    pub(super) connection: Connection<C>,
    pub(super) arrival: Arrival<W>,
}

/// As [`serve`], for connections that are accepted elsewhere.
pub(super) async fn serve_guests<C, W>(
    guests: impl Stream<Item = Guest<C, W>>,
    routes: Routes,
    header: Option<&'static str>,
    ending: Ending,
) where
    C: Carrier + Send + 'static,
    W: Clone + Send + Sync + 'static,
{
    let services = RequireHeader::new(header).layer(routes.prepare());
    let connections = TaskTracker::new();
    {
        let mut guests = pin!(guests);
        loop {
            let guest = tokio::select! {
                biased;
                () = ending.stop.cancelled() => break,
                guest = guests.next() => guest,
            };
            let Some(guest) = guest else { break };
            let http2 = http2(&guest.arrival.limits.now());
            let attended = attend(http2, guest, services.clone(), ending.clone());
            connections.spawn(attended);
        }
        // The listener closes here.
    }
    connections.close();
    connections.wait().await;
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(limits.streams_per_connection)
        // HTTP/2's own limit knows no gRPC status: it is for those who go far beyond ours (`admission.rs`).
        .max_header_list_size(limits.header_list_bytes.saturating_mul(2))
        .max_pending_accept_reset_streams(count(limits.pending_resets))
        .max_local_error_reset_streams(count(limits.local_error_resets))
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    http2
}

/// A connection whose peer is pinned and which is counted; no byte of it has been read.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: UnixStream,
    pub(super) peer: Arc<Peer>,
    pub(super) place: ConnectionPlace,
}

/// The connections of a listener whose peer could be pinned and which are within the limits; when it is `left`, those that have
/// come by then, and no more.
///
/// A connection that is refused is closed without a word: there is no protocol before HTTP/2's first frames.
pub(super) fn accept(
    listener: UnixListener,
    limits: LiveLimits,
    left: CancellationToken,
) -> impl Stream<Item = Accepted> {
    let accounts = Accounts::new(limits);
    futures::stream::unfold(Arrivals::new(listener, left), move |mut arrivals| {
        let accounts = Arc::clone(&accounts);
        async move {
            loop {
                match arrivals.next().await? {
                    Ok(stream) => {
                        if let Some(accepted) = arrive(stream, &accounts) {
                            return Some((accepted, arrivals));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    })
}

/// Counts a connection and pins its peer.
fn arrive(stream: UnixStream, accounts: &Arc<Accounts>) -> Option<Accepted> {
    let Ok(credentials) = getsockopt(&stream, sockopt::PeerCredentials) else {
        tracing::warn!("refused a peer without credentials");
        Reason::Capture.count();
        return None;
    };
    // Counted before it is looked at, because the look costs more.
    let uid = credentials.uid();
    let place = match accounts.connect(uid) {
        Ok(place) => place,
        Err(limit) => {
            tracing::warn!(uid, limit = limit.as_str(), "refused a connection over the limit");
            limit.count();
            return None;
        }
    };
    match Peer::capture(&stream) {
        Ok(peer) => Some(Accepted { stream, peer: Arc::new(peer), place }),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "refused a peer that cannot be pinned");
            Reason::Capture.count();
            None
        }
    }
}

/// A connection that only the pinned process may speak on, once it has answered a challenge.
fn pinned(
    accepted: Accepted,
    limits: LiveLimits,
    random: &SystemRandomness,
) -> Option<Guest<Pinned, ConnectedPeer>> {
    let Accepted { stream, peer, place } = accepted;
    // Set again for each: the listener may have been bound before it asked.
    let asked = ask_for_senders(&stream);
    let (Ok(()), Ok(challenge)) = (asked, Challenge::draw(random)) else {
        tracing::error!("refused a connection: neither sender credentials nor randomness may lack");
        return None;
    };
    let standing = Arc::new(Standing::default());
    let carrier = Pinned::new(stream, peer.pid(), Arc::clone(&standing), challenge);
    let connection = Connection::new(carrier, Arc::clone(&standing), Some(challenge));
    let arrival = Arrival { who: ConnectedPeer(peer), standing, place, limits };
    Some(Guest { connection, arrival })
}

/// Serves one connection until its end.
async fn attend<S, C, W>(
    http2: http2::Builder<TokioExecutor>,
    guest: Guest<C, W>,
    services: S,
    ending: Ending,
) where
    C: Carrier + Send + 'static,
    W: Clone + Send + Sync + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let Guest { connection, arrival } = guest;
    let (standing, limits) = (Arc::clone(&arrival.standing), arrival.limits.clone());
    let services = Admission::new(Arc::new(arrival), services);
    let mut connection = pin!(http2.serve_connection(TokioIo::new(connection), services));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        grace = end(&standing, &limits, &ending) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(grace, connection).await {
                Ok(ended) => ended,
                Err(_elapsed) => return,
            }
        }
    };
    if let Err(error) = ended {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, "a connection ended with an error");
    }
}

/// Completes when the connection has to end; says how long it may take.
async fn end(standing: &Standing, limits: &LiveLimits, ending: &Ending) -> Duration {
    let refused = async {
        tokio::select! {
            _either = standing.proven() => {}
            () = tokio::time::sleep(limits.now().handshake) => {
                if standing.require_proof() {
                    tracing::warn!("refused a connection whose process did not prove itself");
                    Limit::Handshake.count();
                }
            }
        }
        standing.refused().await;
    };
    let left = async {
        ending.left.cancelled().await;
        tokio::select! {
            () = standing.asked() => {}
            () = tokio::time::sleep(limits.now().drain) => {}
        }
    };
    tokio::select! {
        () = refused => REFUSAL_GRACE,
        () = ending.stop.cancelled() => limits.now().drain,
        () = left => limits.now().drain,
    }
}
