//! The few messages of the Workload API that are measured, and a client that knows no more than a client must.

use std::collections::HashMap;
use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

pub(crate) const SERVICE: &str = "SpiffeWorkloadAPI";
pub(crate) const FETCH_JWT_SVID: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";
pub(crate) const FETCH_X509_SVID: &str = "/SpiffeWorkloadAPI/FetchX509SVID";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<X509Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) crl: Vec<Vec<u8>>,
    #[prost(map = "string, bytes", tag = "3")]
    pub(crate) federated_bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct X509Svid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) hint: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) audience: Vec<String>,
    #[prost(string, tag = "2")]
    pub(crate) spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct JwtSvid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    #[prost(string, tag = "2")]
    pub(crate) svid: String,
    #[prost(string, tag = "3")]
    pub(crate) hint: String,
}

/// One connection to a Workload API socket.
#[derive(Debug, Clone)]
pub(crate) struct Client(Grpc<Channel>);

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

    pub(crate) async fn jwt_svid(&mut self, audience: &str) -> Result<JwtSvidResponse, Status> {
        self.0.ready().await.expect("the connection");
        let audience = vec![audience.to_owned()];
        let request = with_header(JwtSvidRequest { audience, spiffe_id: String::new() });
        let path = PathAndQuery::from_static(FETCH_JWT_SVID);
        let codec: ProstCodec<JwtSvidRequest, JwtSvidResponse> = ProstCodec::default();
        Ok(self.0.unary(request, path, codec).await?.into_inner())
    }

    pub(crate) async fn x509_svids(&mut self) -> Result<Streaming<X509SvidResponse>, Status> {
        self.0.ready().await.expect("the connection");
        let path = PathAndQuery::from_static(FETCH_X509_SVID);
        let codec: ProstCodec<Empty, X509SvidResponse> = ProstCodec::default();
        Ok(self.0.server_streaming(with_header(Empty {}), path, codec).await?.into_inner())
    }
}

/// The next message of a stream that must not end.
pub(crate) async fn message(stream: &mut Streaming<X509SvidResponse>) -> X509SvidResponse {
    let message = stream.message().await.expect("a message");
    message.filter(|message| !message.svids.is_empty()).expect("a stream that goes on")
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let yes = "true".parse().expect("a header value");
    request.metadata_mut().insert("workload.spiffe.io", yes);
    request
}
