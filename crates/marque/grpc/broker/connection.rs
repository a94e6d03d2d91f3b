//! Connections of brokers: accepted and counted like all others, then a TLS handshake in bounded time.
//!
//! Who speaks is whoever holds the SVID's key, so sender credentials would add nothing here: a descriptor that is passed
//! on is worthless without the keys of its TLS session. The process that connected is pinned all the same: its uid is
//! what connections are counted by, and its pid namespace decides whether a process id means the same to both sides.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use marque_spiffe::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::admission::Arrival;
use super::super::connection::Connection;
use super::super::limit::Limit;
use super::super::live::LiveLimits;
use super::super::serve::{Accepted, Guest, accept};
use super::super::standing::{Reason, Standing};
use super::super::svid_tls::Verifier;
use super::standing::{Broker, ConnectedBroker};

/// How long after the end of its certificate a connection may still say so to its calls.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of a refused client is read without listening.
const MAX_UNHEARD_BYTES: u64 = 64 * 1024;

pub(super) type BrokerConnection = Guest<TlsStream<UnixStream>, ConnectedBroker>;

/// The connections of a listener whose client proved to hold an X.509-SVID of the own trust domain.
pub(super) fn connections(
    listener: UnixListener,
    limits: LiveLimits,
    acceptor: TlsAcceptor,
    verifier: Verifier,
    left: CancellationToken,
) -> impl Stream<Item = BrokerConnection> {
    let accepted = accept(listener, limits.clone(), left);
    let handshake = move |accepted| {
        let (acceptor, verifier, limits) = (acceptor.clone(), verifier.clone(), limits.clone());
        // On a task of its own, so that one handshake's cryptography holds up no other.
        AbortOnDropHandle::new(tokio::spawn(shake_hands(accepted, acceptor, verifier, limits)))
    };
    // Each of them holds a place in the count of connections already.
    accepted
        .map(handshake)
        .buffer_unordered(usize::MAX)
        .filter_map(async |outcome| outcome.ok().flatten())
}

async fn shake_hands(
    accepted: Accepted,
    acceptor: TlsAcceptor,
    verifier: Verifier,
    limits: LiveLimits,
) -> Option<BrokerConnection> {
    let Accepted { stream, peer, place } = accepted;
    let uid = peer.uid();
    let stream =
        match timeout(limits.now().handshake, acceptor.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                tracing::warn!(
                    uid,
                    error = &error as &dyn std::error::Error,
                    "refused a broker's TLS handshake"
                );
                hang_up(stream).await;
                return None;
            }
            Err(_elapsed) => {
                tracing::warn!(uid, "a broker's TLS handshake took too long");
                Limit::Handshake.count();
                return None;
            }
        };
    let (_io, session) = stream.get_ref();
    let chain = session.peer_certificates()?.iter().map(|one| one.clone().into_owned()).collect();
    let ending = CancellationToken::new();
    let guard = ending.clone().drop_guard();
    let broker = match Broker::identify(chain, &verifier, peer, guard) {
        Ok(broker) => broker,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(uid, error, "a broker's SVID ended during its handshake");
            return None;
        }
    };
    let end = broker.ends_at() + LAST_WORDS;
    let standing = Arc::new(Standing::proven_already());
    tokio::spawn(end_at(ending, Arc::clone(&standing), Arc::clone(&verifier.clock), end));
    let connection = Connection::new(stream, Arc::clone(&standing), None);
    let arrival = Arrival { who: ConnectedBroker(Arc::new(broker)), standing, place, limits };
    Some(Guest { connection, arrival })
}

/// Ends a connection whose last words were an alert. With TLS 1.3 a client believes by then that the handshake is over and
/// sends on: were the socket closed at once, it would see that its writing fails before it reads why.
async fn hang_up(mut stream: UnixStream) {
    let reading = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(MAX_UNHEARD_BYTES), &mut tokio::io::sink()).await
    };
    // Whatever becomes of it, the connection is over.
    drop(timeout(LAST_WORDS, reading).await);
}

/// Closes a connection at `end`, unless it ends before.
async fn end_at(
    ending: CancellationToken,
    standing: Arc<Standing>,
    clock: Arc<dyn Clock>,
    end: jiff::Timestamp,
) {
    tokio::select! {
        () = ending.cancelled() => {}
        () = clock.sleep_until(end) => standing.refuse(Reason::Ended),
    }
}
