//! Envoy's secret discovery service over real sockets, asked by the generated client that Envoy's own definitions make.

mod delta;
mod names;
mod revoked;
mod stream;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, Node};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
};
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc;
use marque_spiffe::{Bundle, SpiffeId, UnverifiedX509Svid};
use prost::Message as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::super::client::connect;
use super::super::stage::{PATIENCE, Served};
use super::super::workload::SECURITY_HEADER;
use super::SECRET_TYPE;
use crate::clock::SystemClock;

type Headers = fn(Request<()>) -> Result<Request<()>, Status>;
type Client = SecretDiscoveryServiceClient<InterceptedService<Channel, Headers>>;

fn proper(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert(SECURITY_HEADER, MetadataValue::from_static("true"));
    Ok(request)
}

async fn client(served: &Served) -> Client {
    client_with(served, proper).await
}

async fn client_with(served: &Served, headers: Headers) -> Client {
    SecretDiscoveryServiceClient::with_interceptor(connect(&served.socket).await.unwrap(), headers)
}

/// A first request, as an Envoy makes it.
fn ask(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(Node { id: "envoy".to_owned(), cluster: "tests".to_owned(), ..Node::default() }),
        resource_names: names.iter().map(ToString::to_string).collect(),
        type_url: SECRET_TYPE.to_owned(),
        ..DiscoveryRequest::default()
    }
}

/// The acknowledgement of a response to which `names` were asked for.
fn acknowledge(response: &DiscoveryResponse, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: response.version_info.clone(),
        response_nonce: response.nonce.clone(),
        ..ask(names)
    }
}

fn refuse(response: &DiscoveryResponse, names: &[&str], message: &str) -> DiscoveryRequest {
    let detail = rpc::Status { code: 13, message: message.to_owned(), details: Vec::new() };
    DiscoveryRequest {
        version_info: String::new(),
        error_detail: Some(detail),
        ..acknowledge(response, names)
    }
}

/// Both halves of a StreamSecrets call.
struct Conversation {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Conversation {
    async fn open(client: &mut Client, first: DiscoveryRequest) -> Self {
        let (requests, mut queue) = mpsc::unbounded_channel();
        requests.send(first).unwrap();
        let queue = futures::stream::poll_fn(move |context| queue.poll_recv(context));
        let responses = client.stream_secrets(queue).await.unwrap().into_inner();
        Self { requests, responses }
    }

    fn say(&self, request: DiscoveryRequest) {
        self.requests.send(request).unwrap();
    }

    async fn try_next(&mut self) -> Result<DiscoveryResponse, Status> {
        let message =
            timeout(PATIENCE, self.responses.message()).await.expect("a response in time");
        message.map(|response| response.expect("the stream goes on"))
    }

    async fn next(&mut self) -> DiscoveryResponse {
        self.try_next().await.unwrap()
    }
}

fn secrets(response: &DiscoveryResponse) -> Vec<Secret> {
    response.resources.iter().map(secret).collect()
}

fn secret(resource: &Any) -> Secret {
    assert_eq!(resource.type_url, SECRET_TYPE);
    Secret::decode(resource.value.as_slice()).unwrap()
}

fn names(response: &DiscoveryResponse) -> Vec<String> {
    secrets(response).into_iter().map(|secret| secret.name).collect()
}

/// The only secret of a response.
fn sole(response: &DiscoveryResponse) -> Secret {
    let [secret] = secrets(response).try_into().unwrap_or_else(|_| panic!("one secret"));
    secret
}

fn inline(source: Option<&DataSource>) -> &[u8] {
    let Some(Specifier::InlineBytes(bytes)) = source.unwrap().specifier.as_ref() else {
        panic!("inline bytes");
    };
    bytes
}

fn certificates(source: Option<&DataSource>) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(inline(source)).map(Result::unwrap).collect()
}

fn tls_certificate(secret: &Secret) -> &TlsCertificate {
    let Some(Type::TlsCertificate(certificate)) = &secret.r#type else { panic!("a certificate") };
    certificate
}

fn validation(secret: &Secret) -> &CertificateValidationContext {
    let Some(Type::ValidationContext(context)) = &secret.r#type else { panic!("a context") };
    context
}

/// Whose certificate it is: it verifies by the bundle, and the key is a key.
fn identity(secret: &Secret, bundle: &Bundle) -> SpiffeId {
    let certificate = tls_certificate(secret);
    PrivateKeyDer::from_pem_slice(inline(certificate.private_key.as_ref())).unwrap();
    let chain = certificates(certificate.certificate_chain.as_ref());
    let svid = UnverifiedX509Svid::parse_chain(chain).unwrap();
    svid.verify(bundle, marque_spiffe::Clock::now(&SystemClock)).unwrap().id().clone()
}

/// The trust domains and their authorities in Envoy's SPIFFE validator.
fn spiffe_validator(secret: &Secret) -> Vec<(String, Vec<CertificateDer<'static>>)> {
    let extension = validation(secret).custom_validator_config.as_ref().unwrap();
    assert_eq!(extension.name, "envoy.tls.cert_validator.spiffe");
    let config = extension.typed_config.as_ref().unwrap();
    assert_eq!(
        config.type_url,
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
    );
    let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).unwrap();
    let of = |domain: &envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain| {
        (domain.name.clone(), certificates(domain.trust_bundle.as_ref()))
    };
    config.trust_domains.iter().map(of).collect()
}

/// A request of a node that wants plain lists of authorities.
fn without_the_spiffe_validator(mut request: DiscoveryRequest) -> DiscoveryRequest {
    let value = Value { kind: Some(Kind::BoolValue(true)) };
    let fields = [("disable_spiffe_cert_validation".to_owned(), value)].into_iter().collect();
    request.node.as_mut().unwrap().metadata = Some(Struct { fields });
    request
}
