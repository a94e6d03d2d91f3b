//! One accepted connection: its bytes, the peer pinned when it was accepted, and its place in the count.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use marque_attest::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use super::authority::AuthorityRepair;
use crate::error;

/// How much is read at once.
const READ_BYTES: usize = 8 * 1024;

/// The process at the other end, as it was when the connection was accepted.
#[derive(Debug, Clone)]
pub(super) struct ConnectedPeer(Arc<Peer>);

/// The peer pinned when the request's connection was accepted.
pub(super) fn peer_of<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    let ConnectedPeer(peer) = request.extensions().get().ok_or_else(error::no_peer)?;
    Ok(Arc::clone(peer))
}

/// An accepted connection, which ends by itself once it is told to close.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    repair: AuthorityRepair,
    /// What was read and repaired, and not taken yet.
    readable: Vec<u8>,
    peer: Arc<Peer>,
    close: Pin<Box<WaitForCancellationFutureOwned>>,
    closed: bool,
    _slot: Slot,
}

impl Connection {
    pub(super) fn new(
        stream: UnixStream,
        peer: Arc<Peer>,
        slot: Slot,
        close: CancellationToken,
    ) -> Self {
        Self {
            stream,
            repair: AuthorityRepair::new(),
            readable: Vec::new(),
            peer,
            close: Box::pin(close.cancelled_owned()),
            closed: false,
            _slot: slot,
        }
    }

    /// Hands over what is readable, as far as there is room for it.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let (now, later) = self.readable.split_at(buffer.remaining().min(self.readable.len()));
        buffer.put_slice(now);
        // Nothing is kept for a connection that waits.
        self.readable = later.to_vec();
    }

    fn poll_closed(&mut self, context: &mut Context<'_>) -> bool {
        self.closed = self.closed || self.close.as_mut().poll(context).is_ready();
        self.closed
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectedPeer;

    fn connect_info(&self) -> ConnectedPeer {
        ConnectedPeer(Arc::clone(&self.peer))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let connection = &mut *self;
        while connection.readable.is_empty() {
            let mut piece = [0; READ_BYTES];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut connection.stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            connection.repair.push(piece.filled(), &mut connection.readable);
        }
        connection.hand_over(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.poll_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.poll_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How many connections a socket holds, in all and for each uid.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    total: usize,
    per_uid: usize,
    taken: Arc<Mutex<HashMap<u32, usize>>>,
}

impl Slots {
    pub(super) fn new(total: usize, per_uid: usize) -> Self {
        Self { total, per_uid, taken: Arc::default() }
    }

    /// A place for one more connection of `uid`, given back on drop; `None` when a limit is reached.
    pub(super) fn take(&self, uid: u32) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&uid).copied().unwrap_or(0);
        if own >= self.per_uid || taken.values().sum::<usize>() >= self.total {
            return None;
        }
        taken.insert(uid, own + 1);
        Some(Slot { uid, taken: Arc::clone(&self.taken) })
    }
}

/// One connection's place in the count.
#[derive(Debug)]
pub(super) struct Slot {
    uid: u32,
    taken: Arc<Mutex<HashMap<u32, usize>>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_gets_as_many_connections_as_its_limit_and_no_more() {
        let slots = Slots::new(10, 2);
        let held = (slots.take(1), slots.take(1));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(slots.take(1).is_none());
        assert!(slots.take(2).is_some());
    }

    #[test]
    fn a_connection_that_ends_gives_its_place_back() {
        let slots = Slots::new(10, 1);
        drop(slots.take(1));
        assert!(slots.take(1).is_some());
        assert!(slots.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn all_uids_together_stay_below_the_sockets_limit() {
        let slots = Slots::new(2, 2);
        let _held = (slots.take(1), slots.take(2));
        assert!(slots.take(3).is_none());
    }
}
