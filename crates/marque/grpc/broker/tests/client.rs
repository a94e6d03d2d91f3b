//! A broker's client: tonic over rustls, as far as possible from the server's own code.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{io, time::Duration};

use hyper_util::rt::TokioIo;
use marque_spiffe::{Bundle, Clock as _, SpiffeId, UnverifiedX509Svid};
use marque_testkit::ScratchX509Svid;
use marque_workload::{PrivateKey, X509SvidMaterial};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::super::super::proto::broker as proto;
use super::super::super::proto::broker::api_client::ApiClient;
use super::super::SECURITY_HEADER;
use super::{ENDPOINT, PATIENCE, Scene};
use crate::clock::SystemClock;

pub(super) type Headers = fn(Request<()>) -> Result<Request<()>, Status>;
pub(super) type Raw = ApiClient<InterceptedService<Channel, Headers>>;

/// A client's certificate chain and key.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl From<ScratchX509Svid> for Identity {
    fn from(svid: ScratchX509Svid) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key));
        Self { chain: svid.chain, key }
    }
}

/// A scratch SVID as the server keeps its own.
pub(super) fn material(spiffe_id: SpiffeId, svid: &ScratchX509Svid) -> X509SvidMaterial {
    let now = SystemClock.now();
    X509SvidMaterial {
        spiffe_id,
        chain: svid.chain.clone(),
        private_key: PrivateKey::from_pkcs8_der(svid.private_key.clone().into()),
        not_before: now,
        not_after: now + Duration::from_secs(3600),
    }
}

pub(super) fn proper(request: Request<()>) -> Result<Request<()>, Status> {
    with(request, &["true"])
}

pub(super) fn with(
    mut request: Request<()>,
    values: &[&'static str],
) -> Result<Request<()>, Status> {
    for value in values {
        request.metadata_mut().append(SECURITY_HEADER, MetadataValue::from_static(value));
    }
    Ok(request)
}

/// What a client of this scene trusts, and what it saw of the server.
#[derive(Debug)]
pub(super) struct ExactServer {
    bundle: Arc<Bundle>,
    expected: SpiffeId,
    provider: Arc<CryptoProvider>,
    pub(super) shown: Mutex<Vec<CertificateDer<'static>>>,
}

impl ExactServer {
    pub(super) fn of(scene: &Scene) -> Arc<Self> {
        Arc::new(Self {
            bundle: scene.stage.scratch.bundle(),
            expected: scene.id(ENDPOINT),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            shown: Mutex::default(),
        })
    }
}

impl ServerCertVerifier for ExactServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain: Vec<_> = chain.map(|one| one.clone().into_owned()).collect();
        let svid = UnverifiedX509Svid::parse_chain(chain.clone()).unwrap();
        let svid = svid.verify(&self.bundle, SystemClock.now()).unwrap();
        assert_eq!(svid.id(), &self.expected);
        *self.shown.lock().unwrap() = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) fn config(
    server: Arc<ExactServer>,
    identity: Option<Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&server.provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(server);
    let mut config = match identity {
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

pub(super) async fn handshake(
    socket: &Path,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<UnixStream>> {
    over(UnixStream::connect(socket).await?, config).await
}

/// The same over a connection that is there.
pub(super) async fn over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from("broker.invalid").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

/// Whether the server answers HTTP/2 after the handshake; with TLS 1.3 a client learns only then what became of its
/// certificate.
pub(super) async fn is_let_in(socket: &Path, config: Arc<ClientConfig>) -> io::Result<()> {
    let trying = async {
        let mut stream = handshake(socket, config).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.map(|_| ())
    };
    timeout(PATIENCE, trying).await.unwrap()
}

/// A client that says what it likes.
pub(super) async fn raw(
    scene: &Scene,
    identity: Option<Identity>,
    headers: Headers,
) -> Result<Raw, tonic::transport::Error> {
    Ok(ApiClient::with_interceptor(channel(scene, identity).await?, headers))
}

/// A channel over TLS.
pub(super) async fn channel(
    scene: &Scene,
    identity: Option<Identity>,
) -> Result<Channel, tonic::transport::Error> {
    let config = config(ExactServer::of(scene), identity, &[&rustls::version::TLS13]);
    let socket = scene.socket.clone();
    let connector = tower::service_fn(move |_| {
        let (socket, config) = (socket.clone(), Arc::clone(&config));
        async move { handshake(&socket, config).await.map(TokioIo::new) }
    });
    // Plain for tonic: what the connector gives is TLS already.
    Endpoint::from_static("http://broker.invalid").connect_with_connector(connector).await
}

/// The first message of a stream, and the stream.
pub(super) async fn opened<T>(
    outcome: Result<tonic::Response<Streaming<T>>, Status>,
) -> Result<(T, Streaming<T>), Status> {
    let mut stream = outcome?.into_inner();
    let first = timeout(PATIENCE, stream.message()).await.unwrap()?.expect("a first message");
    Ok((first, stream))
}

/// The next message of a stream, or what it ended with.
pub(super) async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    timeout(PATIENCE, stream.message()).await.unwrap().map(|message| message.expect("a message"))
}

/// Opens a stream of X.509-SVIDs.
pub(super) async fn x509(
    client: &mut Raw,
    reference: Option<proto::WorkloadReference>,
) -> Result<
    (proto::SubscribeToX509svidResponse, Streaming<proto::SubscribeToX509svidResponse>),
    Status,
> {
    opened(client.subscribe_to_x509svid(proto::SubscribeToX509svidRequest { reference }).await)
        .await
}

/// Fetches JWT-SVIDs.
pub(super) async fn jwt(
    client: &mut Raw,
    reference: Option<proto::WorkloadReference>,
    audience: &[&str],
    spiffe_id: &str,
) -> Result<Vec<proto::Jwtsvid>, Status> {
    let audience = audience.iter().map(ToString::to_string).collect();
    let request = proto::FetchJwtsvidRequest { reference, audience, spiffe_id: spiffe_id.into() };
    Ok(client.fetch_jwtsvid(request).await?.into_inner().svids)
}

/// How each of the four RPCs is refused, for one reference and an audience that the broker may have.
pub(super) async fn every_rpc(
    client: &mut Raw,
    reference: Option<proto::WorkloadReference>,
) -> [Result<(), Status>; 4] {
    let wanted = reference.clone();
    let x509_bundles = proto::SubscribeToX509BundlesRequest { reference: reference.clone() };
    let jwt_bundles = proto::SubscribeToJwtBundlesRequest { reference: reference.clone() };
    [
        x509(client, reference.clone()).await.map(|_| ()),
        opened(client.subscribe_to_x509_bundles(x509_bundles).await).await.map(|_| ()),
        jwt(client, wanted, &[super::AUDIENCE], "").await.map(|_| ()),
        opened(client.subscribe_to_jwt_bundles(jwt_bundles).await).await.map(|_| ()),
    ]
}
