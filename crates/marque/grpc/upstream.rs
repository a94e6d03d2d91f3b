//! Asking a server with SPIRE's API: to sign an authority, and for its bundle. The other end of `downstream.rs`.
//!
//! Absent: how the connection is proven, and whether what comes back is of use.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use marque_authority::{ToldBundle, ToldKey, ToldRoot};
use marque_spiffe::Bundle;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint};

use super::client::CallError;
use super::proto::spire_bundle::GetBundleRequest;
use super::proto::spire_bundle::bundle_client::BundleClient;
use super::proto::spire_svid::svid_client::SvidClient;
use super::proto::spire_svid::{NewDownstreamX509caRequest, NewDownstreamX509caResponse};
use super::proto::spire_types as proto;

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
    let mut client = SvidClient::new(channel(stream).await?).max_decoding_message_size(MAX_ANSWER);
    let request = NewDownstreamX509caRequest { csr, preferred_ttl: seconds };
    let answer = client.new_downstream_x509ca(request).await?.into_inner();
    let NewDownstreamX509caResponse { ca_cert_chain, x509_authorities } = answer;
    Ok(SignedBySpire { chain: ca_cert_chain, roots: x509_authorities })
}

/// The whole bundle, over such a connection.
pub(crate) async fn get_bundle<S>(stream: S) -> Result<ToldBundle, CallError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let client = BundleClient::new(channel(stream).await?);
    let mut client = client.max_decoding_message_size(MAX_ANSWER);
    let answer = client.get_bundle(GetBundleRequest { output_mask: None }).await?;
    Ok(told(answer.into_inner()))
}

async fn channel<S>(stream: S) -> Result<Channel, CallError>
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
    endpoint.connect_with_connector(connector).await.map_err(|_tonic_error| CallError::Ended)
}

fn told(message: proto::Bundle) -> ToldBundle {
    let proto::Bundle {
        trust_domain,
        x509_authorities,
        jwt_authorities,
        refresh_hint,
        sequence_number,
        wit_authorities,
    } = message;
    let root =
        |proto::X509Certificate { asn1, tainted }| ToldRoot { certificate: asn1.into(), tainted };
    let jwt_key = |proto::JwtKey { public_key, key_id, expires_at, tainted }| ToldKey {
        key_id,
        spki_der: public_key,
        expires_at: end(expires_at),
        tainted,
    };
    let wit_key = |proto::WitKey { public_key, key_id, expires_at, tainted }| ToldKey {
        key_id,
        spki_der: public_key,
        expires_at: end(expires_at),
        tainted,
    };
    ToldBundle {
        // With or without the scheme: SPIRE's messages say it without, its own log with.
        trust_domain: trust_domain.trim_start_matches("spiffe://").to_owned(),
        roots: x509_authorities.into_iter().map(root).collect(),
        jwt_keys: jwt_authorities.into_iter().map(jwt_key).collect(),
        wit_keys: wit_authorities.into_iter().map(wit_key).collect(),
        sequence: sequence_number,
        refresh_hint: match u64::try_from(refresh_hint) {
            Ok(0) | Err(_) => Bundle::DEFAULT_REFRESH_HINT,
            Ok(seconds) => Duration::from_secs(seconds),
        },
    }
}

/// Seconds since 1970; 0 is no end, and what is past the end of time never comes.
fn end(seconds: i64) -> Option<Timestamp> {
    let at = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    (seconds != 0).then(|| at(seconds))
}
