//! One accepted connection's bytes, looked through before HTTP/2 gets them, and who is at its other end.
//!
//! Where the bytes come from differs: `pinned.rs` for those of a process that was pinned, a TLS session for brokers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use marque_attest::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_rustls::server::TlsStream;
use tonic::{Request, Status};

use super::accounts::CallRate;
use super::challenge::Challenge;
use super::incoming::Incoming;
use super::standing::Standing;
use crate::error;

/// How much is read at once.
const READ_BYTES: usize = 8 * 1024;

/// The process at the other end, as it was when the connection was accepted.
#[derive(Debug, Clone)]
pub(super) struct ConnectedPeer(pub(super) Arc<Peer>);

/// The peer pinned when the request's connection was accepted. It has answered the challenge, or the request would not
/// be here.
pub(super) fn peer_of<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    let ConnectedPeer(peer) = request.extensions().get().ok_or_else(error::no_peer)?;
    Ok(Arc::clone(peer))
}

/// The account of the request's uid, for a call in which the client asks more than once.
pub(super) fn rate_of<T>(request: &Request<T>) -> Result<CallRate, Status> {
    request.extensions().get().cloned().ok_or_else(error::no_peer)
}

/// Where a connection's bytes come from, piece by piece, and go to.
pub(super) trait Carrier: AsyncWrite + Unpin {
    /// Reads a piece: how many bytes, and 0 at the end.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        piece: &mut [u8],
    ) -> Poll<io::Result<usize>>;
}

impl Carrier for TlsStream<UnixStream> {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        piece: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut piece = ReadBuf::new(piece);
        ready!(Pin::new(self).poll_read(context, &mut piece))?;
        Poll::Ready(Ok(piece.filled().len()))
    }
}

/// The bytes of an accepted connection.
#[derive(Debug)]
pub(super) struct Connection<C> {
    carrier: C,
    standing: Arc<Standing>,
    incoming: Incoming,
    /// What was read and looked through, and not taken yet.
    readable: Vec<u8>,
}

impl<C> Connection<C> {
    /// With a challenge, the connection is proven when that is answered.
    pub(super) fn new(carrier: C, standing: Arc<Standing>, challenge: Option<Challenge>) -> Self {
        Self { carrier, standing, incoming: Incoming::new(challenge), readable: Vec::new() }
    }

    /// Hands over what is readable, as far as there is room for it.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let (now, later) = self.readable.split_at(buffer.remaining().min(self.readable.len()));
        buffer.put_slice(now);
        // Nothing is kept for a connection that waits.
        self.readable = later.to_vec();
    }
}

impl<C: Carrier> AsyncRead for Connection<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &mut *self;
        while connection.readable.is_empty() {
            let mut piece = [0; READ_BYTES];
            let length = ready!(connection.carrier.poll_piece(context, &mut piece))?;
            if length == 0 {
                return Poll::Ready(Ok(()));
            }
            let piece = piece.get(..length).unwrap_or_default();
            if connection.incoming.push(piece, &mut connection.readable) {
                connection.standing.prove();
            }
        }
        connection.hand_over(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<C: Carrier> AsyncWrite for Connection<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(context)
    }
}
