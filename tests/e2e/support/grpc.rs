//! gRPC below any client library: messages that a test writes by hand, on a Unix socket.

use std::path::Path;

use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// A connection that knows no schema.
pub(crate) struct Client(Grpc<Channel>);

/// An answer of which no field is looked at.
#[derive(Clone, PartialEq, Message)]
struct AnyResponse {}

/// A connection to a Unix socket.
pub(crate) async fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connect).await.expect("the socket")
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Self {
        Self(Grpc::new(channel(socket).await))
    }

    /// A stream of messages as the test writes them.
    pub(crate) async fn stream<T: Message + 'static, R: Message + Default + 'static>(
        &mut self,
        method: &'static str,
        request: Request<T>,
    ) -> Result<Streaming<R>, Status> {
        self.0.ready().await.expect("the connection");
        let path = PathAndQuery::from_static(method);
        let codec: ProstCodec<T, R> = ProstCodec::default();
        Ok(self.0.server_streaming(request, path, codec).await?.into_inner())
    }

    /// The status that a call ends with; a stream is read to its first message.
    pub(crate) async fn call<T: Message + 'static>(
        &mut self,
        method: &'static str,
        request: Request<T>,
    ) -> Result<(), Status> {
        let mut stream = self.stream::<T, AnyResponse>(method, request).await?;
        stream.message().await.map(|_message| ())
    }

    /// The status of a call that must be refused.
    pub(crate) async fn refused<T: Message + 'static>(
        &mut self,
        method: &'static str,
        request: Request<T>,
    ) -> Status {
        self.call(method, request).await.expect_err("the call is refused")
    }
}
