//! Asking a server with SPIRE's API to sign an authority: the other end of `downstream.rs`.
//!
//! Absent: how the connection is proven, and whether what comes back is of use.

use std::io;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::Endpoint;

use super::client::CallError;
use super::proto::spire_svid::svid_client::SvidClient;
use super::proto::spire_svid::{NewDownstreamX509caRequest, NewDownstreamX509caResponse};

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// What a server signed: DER, the own certificate first.
#[derive(Debug)]
pub(crate) struct SignedBySpire {
    /// The certificate, then those between it and a root.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The roots.
    pub(crate) roots: Vec<Vec<u8>>,
}

/// Has the certification request `csr`, DER, signed for `seconds` over a connection to a server that proved who it is.
pub(crate) async fn new_downstream_ca<S>(
    stream: S,
    csr: Vec<u8>,
    seconds: i32,
) -> Result<SignedBySpire, CallError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut stream = Some(stream);
    // A second connection would have to prove itself again.
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|_tonic_error| CallError::Ended)?;
    let mut client = SvidClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let request = NewDownstreamX509caRequest { csr, preferred_ttl: seconds };
    let answer = client.new_downstream_x509ca(request).await?.into_inner();
    let NewDownstreamX509caResponse { ca_cert_chain, x509_authorities } = answer;
    Ok(SignedBySpire { chain: ca_cert_chain, roots: x509_authorities })
}
