//! The connection of a process that was pinned when it was accepted.
//!
//! Every piece that is read has to come from that process, for as long as the connection lasts. Beyond that the process
//! has to answer a challenge (`challenge.rs`), which it can do only after it was pinned; until then no call is answered
//! (`admission.rs`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::UnixStream;

use super::challenge::Challenge;
use super::connection::Carrier;
use super::outgoing::Outgoing;
use super::received::{ReceiveError, poll_receive};
use super::standing::{Reason, Standing};

/// A Unix socket, of which one process alone is read.
#[derive(Debug)]
pub(super) struct Pinned {
    stream: UnixStream,
    pid: i32,
    standing: Arc<Standing>,
    outgoing: Outgoing,
}

impl Pinned {
    pub(super) fn new(
        stream: UnixStream,
        pid: i32,
        standing: Arc<Standing>,
        challenge: Challenge,
    ) -> Self {
        Self { stream, pid, standing, outgoing: Outgoing::new(challenge) }
    }

    fn refuse(&self, error: ReceiveError) -> io::Error {
        match error {
            ReceiveError::Io(error) => error,
            refused => {
                tracing::warn!(error = &refused as &dyn std::error::Error, "refused a connection");
                self.standing.refuse(Reason::Sender);
                io::Error::new(io::ErrorKind::PermissionDenied, refused)
            }
        }
    }

    /// Writes what is left of the challenge, if it is its turn.
    fn poll_ask(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((ping, asked)) = self.outgoing.question() {
            let rest = ping.get(asked..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.wrote_of_question(count);
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let pid = self.pid;
        self.outgoing.wrote(bytes, |limit| {
            tracing::warn!(limit = limit.as_str(), pid, "HTTP/2 refused a client");
            limit.count();
        });
    }
}

impl Carrier for Pinned {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        piece: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(poll_receive(&self.stream, self.pid, context, piece));
        Poll::Ready(received.map_err(|error| self.refuse(error)))
    }
}

impl AsyncWrite for Pinned {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ask(context))?;
        let portion = bytes.get(..self.outgoing.portion(bytes)).unwrap_or_default();
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, portion))?;
        self.wrote(portion.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.outgoing.is_free() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
        let mut left = count;
        for slice in slices {
            let own = slice.get(..left.min(slice.len())).unwrap_or_default();
            self.wrote(own);
            left -= own.len();
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ask(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
