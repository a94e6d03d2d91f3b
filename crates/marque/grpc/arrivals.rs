//! Who comes to a Unix socket, to the last one.
//!
//! A connection that the kernel has taken for a socket is reset when the socket is closed. Nobody gets to one whose path is gone, so
//! that the last one is known: whoever is there when no other waits.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixListener as StdListener;

use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// The connections of a listener.
#[derive(Debug)]
pub(super) struct Arrivals {
    listening: Option<Listening>,
    left: CancellationToken,
}

#[derive(Debug)]
enum Listening {
    Open(UnixListener),
    /// Never waited for.
    Left(StdListener),
}

impl Arrivals {
    /// Until it is `left`, and then those that have come.
    pub(super) fn new(listener: UnixListener, left: CancellationToken) -> Self {
        Self { listening: Some(Listening::Open(listener)), left }
    }

    /// The next one; `None` when there is none any more.
    pub(super) async fn next(&mut self) -> Option<io::Result<UnixStream>> {
        if let Some(Listening::Open(listener)) = &self.listening {
            tokio::select! {
                biased;
                () = self.left.cancelled() => {}
                accepted = listener.accept() => {
                    return Some(accepted.map(|(stream, _address)| stream));
                }
            }
        }
        let listener = match self.listening.take()? {
            // The runtime hears of a connection a moment after it is there; the kernel knows at once.
            Listening::Open(listener) => match listener.into_std() {
                Ok(listener) => listener,
                Err(error) => return Some(Err(error)),
            },
            Listening::Left(listener) => listener,
        };
        match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            accepted => {
                self.listening = Some(Listening::Left(listener));
                Some(accepted.and_then(|(stream, _address)| {
                    stream.set_nonblocking(true)?;
                    UnixStream::from_std(stream)
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_when_a_socket_is_left_is_taken_and_then_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let left = CancellationToken::new();
        let mut arrivals = Arrivals::new(UnixListener::bind(&path).unwrap(), left.clone());
        let connect = || std::os::unix::net::UnixStream::connect(&path).unwrap();
        let early = connect();
        arrivals.next().await.expect("somebody").unwrap();
        let late = [connect(), connect(), connect()];
        left.cancel();
        for _one in &late {
            arrivals.next().await.expect("somebody").unwrap();
        }
        assert!(arrivals.next().await.is_none());
        assert!(arrivals.next().await.is_none(), "and nobody later");
        drop((early, late));
        std::os::unix::net::UnixStream::connect(&path).expect_err("it is closed");
    }
}
