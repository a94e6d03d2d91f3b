//! Calling a gRPC service on a Unix socket, for the command line.

use std::io;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::error::CODE_METADATA;

/// A call that was not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens on the socket.
    #[error("nobody answers on `{}`", .socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why connecting failed.
        #[source]
        source: io::Error,
    },
    /// The daemon refused, or could not do it.
    #[error("{message}")]
    Refused {
        /// The kind of refusal.
        kind: Code,
        /// What the daemon says about it.
        message: String,
        /// The stable code, where it gave one.
        code: Option<String>,
    },
    /// A stream ended without a reason.
    #[error("the daemon ended the stream")]
    Ended,
    /// The answer is not one that this version understands.
    #[error("the daemon's answer has no valid `{0}`")]
    Malformed(&'static str),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let code = status
            .metadata()
            .get(CODE_METADATA)
            .and_then(|code| code.to_str().ok())
            .map(ToOwned::to_owned);
        Self::Refused { kind: status.code(), message: status.message().to_owned(), code }
    }
}

/// A channel to the service on `socket`.
pub(super) async fn connect(socket: &Path) -> Result<Channel, CallError> {
    // Tried here first, because tonic wraps what goes wrong while connecting beyond recognition.
    let unreachable = |source| CallError::Unreachable { socket: socket.to_owned(), source };
    drop(UnixStream::connect(socket).await.map_err(unreachable)?);
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The authority of a Unix socket; HTTP/2 wants one.
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .map_err(|error| unreachable(io::Error::other(error)))
}
