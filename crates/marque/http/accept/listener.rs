//! A listener that is given up for another one without the loss of a connection, and may be taken up again meanwhile.
//!
//! What the kernel has accepted for a socket is lost with the socket. So it is only closed by the last who has it, after no
//! connection could begin any more and all that had begun were taken. An address that is wanted again before that is served on
//! the same socket: its queue goes on to the next server as it is.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use socket2::{SockFilter, SockRef};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{addresses::Addresses, places::Places};

/// A classic BPF program (`linux/filter.h`) over a segment from its TCP header on (RFC 9293 §3.1): one with SYN and without
/// ACK, which begins a connection, is dropped; all others pass.
const NO_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // ld the byte with the flags
    SockFilter::new(0x54, 0, 0, 0x12),     // and SYN | ACK
    SockFilter::new(0x15, 0, 1, 0x02),     // is it SYN alone?
    SockFilter::new(0x06, 0, 0, 0),        // then drop it
    SockFilter::new(0x06, 0, 0, u32::MAX), // else pass all of it
];

/// A socket that listens, whose turn it is to serve it, and who is connected to it by whichever turn.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    pub(super) places: Arc<Places>,
    pub(super) addresses: Arc<Addresses>,
    turns: AtomicU64,
    serving: watch::Sender<u64>,
    closed: CancellationToken,
    /// After the socket: fields are dropped in their order.
    _closes: DropGuard,
}

/// One server's turn to serve a listener, which lasts until a later one begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn(u64);

impl Listener {
    /// Binds the address; port 0 picks a free one.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Arc<Self>> {
        let socket = TcpListener::bind(address).await?;
        let (address, closed) = (socket.local_addr()?, CancellationToken::new());
        let closes = closed.clone().drop_guard();
        let (turns, serving) = (AtomicU64::new(0), watch::Sender::new(0));
        let (places, addresses) = (Arc::default(), Arc::default());
        Ok(Arc::new(Self {
            socket,
            address,
            places,
            addresses,
            turns,
            serving,
            closed,
            _closes: closes,
        }))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn handle(self: &Arc<Self>) -> ListenerHandle {
        let (address, listener) = (self.address, Arc::downgrade(self));
        ListenerHandle { address, listener, closed: self.closed.clone() }
    }

    pub(super) fn next_turn(&self) -> Turn {
        Turn(self.turns.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A server serves it from here on, and one of before does not, whichever of them happens to be run first.
    pub(super) fn begin(&self, Turn(turn): Turn) {
        self.serving.send_if_modified(|serving| {
            let later = *serving < turn;
            *serving = turn.max(*serving);
            later
        });
    }

    /// Completes when a later server has begun.
    pub(super) fn passes(&self, Turn(turn): Turn) -> impl Future<Output = ()> + use<> {
        let mut serving = self.serving.subscribe();
        async move {
            if serving.wait_for(|serving| *serving > turn).await.is_err() {
                // It is closed: nobody serves it later.
                std::future::pending().await
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept().await
    }

    /// Has the kernel let no connection begin any more, and finish those that have. Whoever tries is not answered, tries once
    /// more after a second (RFC 6298 §2), and learns by then that nobody listens.
    pub(super) fn let_none_begin(&self) {
        if let Err(error) = SockRef::from(&self.socket).attach_filter(&NO_SYN) {
            // A kernel without them: whoever comes in the very moment of the end is lost.
            tracing::debug!(error = &error as &dyn std::error::Error, "the socket takes no filter");
        }
    }
}

/// What finds a listener for as long as it is open.
#[derive(Debug, Clone)]
pub struct ListenerHandle {
    address: SocketAddr,
    listener: Weak<Listener>,
    closed: CancellationToken,
}

impl ListenerHandle {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its address is free again.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Whether it finds the same listener as another handle does.
    pub fn finds_the_same_as(&self, other: &Self) -> bool {
        self.listener.ptr_eq(&other.listener)
    }

    /// The listener, to be served anew; `None` after it was closed, which is waited for where it is about to be.
    pub async fn take_up(&self) -> Option<Arc<Listener>> {
        let listener = self.listener.upgrade();
        if listener.is_none() {
            self.closed.cancelled().await;
        }
        listener
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, net::TcpStream as StdStream, time::Duration};

    use super::*;

    #[tokio::test]
    async fn who_has_begun_to_connect_is_there_and_nobody_else_can_begin() {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let early = StdStream::connect(listener.address()).unwrap();
        listener.let_none_begin();
        // Not refused, either: the kernel says nothing.
        let late = StdStream::connect_timeout(&listener.address(), Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        let (_accepted, from) = listener.accept().await.unwrap();
        assert_eq!(from, early.local_addr().unwrap());
        let handle = listener.handle();
        drop(listener);
        assert!(handle.is_closed() && handle.take_up().await.is_none());
        let refused = StdStream::connect(handle.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_later_turn_counts_whichever_begins_first() {
        use futures::FutureExt as _;
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (first, second) = (listener.next_turn(), listener.next_turn());
        listener.begin(second);
        listener.begin(first);
        assert!(listener.passes(first).now_or_never().is_some());
        assert!(listener.passes(second).now_or_never().is_none());
    }
}
