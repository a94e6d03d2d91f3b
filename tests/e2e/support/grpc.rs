//! gRPC below any client library: messages that a test writes by hand, on a Unix socket.

use std::path::Path;

use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// A connection that knows no schema.
pub(crate) struct Client(Grpc<Channel>);

/// An answer of which no field is looked at.
#[derive(Clone, PartialEq, Message)]
struct AnyResponse {}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Self {
        let socket = socket.to_owned();
        let connect = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
        Self(Grpc::new(channel.expect("the socket")))
    }

    /// The status that a call ends with; a stream is read to its first message.
    pub(crate) async fn call<T: Message + 'static>(
        &mut self,
        method: &'static str,
        request: Request<T>,
    ) -> Result<(), Status> {
        self.0.ready().await.expect("the connection");
        let path = PathAndQuery::from_static(method);
        let codec: ProstCodec<T, AnyResponse> = ProstCodec::default();
        let mut stream = self.0.server_streaming(request, path, codec).await?.into_inner();
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
