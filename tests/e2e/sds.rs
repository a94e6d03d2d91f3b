//! Envoy's secret discovery service on the real socket, asked by a client made of `envoy-types`: this test process is the
//! sidecar.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use envoy_types::pb::google::rpc;
use prost::Message as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::process::Command;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming};

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::grpc::channel;
use crate::support::programs::{copy_of_this_program, this_program};
use crate::support::tools::several_users;
use crate::support::wait::within;

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// Set for a copy of this program that is to ask as another user.
const SOCKET_VARIABLE: &str = "MARQUE_E2E_SECRETS_SOCKET";

fn ask(names: &[&str]) -> DiscoveryRequest {
    let resource_names = names.iter().map(ToString::to_string).collect();
    DiscoveryRequest { resource_names, type_url: SECRET.to_owned(), ..DiscoveryRequest::default() }
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().expect("a header value"));
    request
}

/// Both halves of a StreamSecrets call.
struct Sidecar {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Sidecar {
    async fn open(socket: &Path, first: DiscoveryRequest) -> Self {
        let (requests, mut queue) = mpsc::unbounded_channel();
        requests.send(first).unwrap();
        let queue = futures::stream::poll_fn(move |context| queue.poll_recv(context));
        let mut client = SecretDiscoveryServiceClient::new(channel(socket).await);
        let responses = client.stream_secrets(with_header(queue)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    async fn try_next(&mut self) -> Result<DiscoveryResponse, Status> {
        let message = within("a response", self.responses.message()).await;
        message.map(|response| response.expect("the stream goes on"))
    }

    fn answer(&self, response: &DiscoveryResponse, names: &[&str], refusal: Option<&str>) {
        let error_detail = refusal.map(|message| rpc::Status {
            code: 13,
            message: message.to_owned(),
            details: Vec::new(),
        });
        let (version_info, response_nonce) =
            (response.version_info.clone(), response.nonce.clone());
        let answer = DiscoveryRequest { version_info, response_nonce, error_detail, ..ask(names) };
        self.requests.send(answer).unwrap();
    }
}

fn secrets(response: &DiscoveryResponse) -> Vec<Secret> {
    let decode = |any: &envoy_types::pb::google::protobuf::Any| {
        assert_eq!(any.type_url, SECRET);
        Secret::decode(any.value.as_slice()).unwrap()
    };
    response.resources.iter().map(decode).collect()
}

fn names(response: &DiscoveryResponse) -> Vec<String> {
    secrets(response).into_iter().map(|secret| secret.name).collect()
}

/// The URI in the only certificate of the only secret, and its serial number.
fn identity(response: &DiscoveryResponse) -> (String, Vec<u8>) {
    let secret = secrets(response).remove(0);
    let Some(Type::TlsCertificate(certificate)) = secret.r#type else { panic!("a certificate") };
    let chain = certificate.certificate_chain.and_then(|source| source.specifier);
    let Some(Specifier::InlineBytes(chain)) = chain else { panic!("inline bytes") };
    let leaf = CertificateDer::from_pem_slice(&chain).unwrap();
    let (_rest, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let uri = names.value.general_names.iter().find_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    (uri.unwrap(), leaf.raw_serial().to_vec())
}

async fn register_this_process(daemon: &Daemon, path: &str) -> (String, String) {
    let id = daemon.place(PRODUCTION).id(path);
    let entry = daemon.operator(PRODUCTION).register(&id, "service", &this_program()).await;
    (id, entry)
}

fn change(trust_domains: &Path, from: &str, to: &str) {
    let file = trust_domains.join(PRODUCTION).join("trust-domain.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_is_pushed_each_rotation_and_keeps_its_stream_whatever_it_answers() {
    let daemon = Daemon::start_with(|folder| {
        change(folder, "x509_svid = \"1h\"", "x509_svid = \"3s\"");
    })
    .await;
    let (id, _entry) = register_this_process(&daemon, "/service/e2e").await;
    let socket = &daemon.place(PRODUCTION).workload_api_socket;
    let mut sidecar = Sidecar::open(socket, ask(&["default"])).await;
    let mut last = sidecar.try_next().await.unwrap();
    for refusal in [None, Some("Failed to load private key"), None] {
        assert_eq!(identity(&last).0, id);
        sidecar.answer(&last, &["default"], refusal);
        let next = sidecar.try_next().await.unwrap();
        assert_ne!((&next.version_info, &next.nonce), (&last.version_info, &last.nonce));
        assert_ne!(identity(&next).1, identity(&last).1);
        last = next;
    }
    let output = daemon.output();
    let told = output.lines().filter(|line| line.contains("could not use its secrets"));
    assert_eq!(told.count(), 1, "{output}");
    assert!(!output.contains("PRIVATE KEY"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_served_and_the_stream_ends_with_the_entry() {
    let daemon = Daemon::start().await;
    let (id, entry) = register_this_process(&daemon, "/service/e2e").await;
    let socket = &daemon.place(PRODUCTION).workload_api_socket;
    let wanted = ["ALL", "ROOTCA", "default", "spiffe://prod.example.org", &id];
    let mut sidecar = Sidecar::open(socket, ask(&wanted)).await;
    let first = sidecar.try_next().await.unwrap();
    assert_eq!(names(&first), wanted);
    sidecar.answer(&first, &wanted, None);
    daemon.operator(PRODUCTION).run(&["entry", "delete", &entry]).await.succeeded();
    let ended = sidecar.try_next().await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::PermissionDenied, "no identity issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_secret_without_the_header_or_without_an_entry() {
    let daemon = Daemon::start().await;
    let socket = &daemon.place(PRODUCTION).workload_api_socket;
    let mut client = SecretDiscoveryServiceClient::new(channel(socket).await);
    let refused = client.fetch_secrets(with_header(ask(&["default"]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    register_this_process(&daemon, "/service/e2e").await;
    client.fetch_secrets(with_header(ask(&["default"]))).await.unwrap();
    let refused = client.fetch_secrets(ask(&["default"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_domain_without_envoy_sds_answers_unimplemented_and_serves_the_workload_api() {
    let daemon = Daemon::start_with(|folder| {
        change(folder, "[tokens]", "[workload_api]\nenvoy_sds = false\n\n[tokens]");
    })
    .await;
    register_this_process(&daemon, "/service/e2e").await;
    let place = daemon.place(PRODUCTION);
    let mut client = SecretDiscoveryServiceClient::new(channel(&place.workload_api_socket).await);
    let refused = client.fetch_secrets(with_header(ask(&["default"]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let workload = spiffe::WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    workload.fetch_x509_svid().await.unwrap();
}

#[tokio::test]
#[ignore = "a process of `another_user_on_the_same_machine_gets_nothing`"]
#[expect(clippy::disallowed_methods, reason = "the part is handed over by the environment")]
async fn asks_for_every_secret() {
    let Some(socket) = std::env::var_os(SOCKET_VARIABLE) else { return };
    let mut client = SecretDiscoveryServiceClient::new(channel(Path::new(&socket)).await);
    for names in [&[][..], &["default"], &["ROOTCA"], &["ALL"]] {
        let answer = client.fetch_secrets(with_header(ask(names))).await;
        println!("{names:?}: {:?}", answer.map(|_| ()).map_err(|status| status.code()));
    }
}

/// The user `nobody`.
const NOBODY: u32 = 65534;

#[tokio::test(flavor = "multi_thread")]
async fn another_user_on_the_same_machine_gets_nothing() {
    if !several_users() {
        return;
    }
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION);
    let program = copy_of_this_program("somebody-else");
    let operator = daemon.operator(PRODUCTION);
    // The program alone would fit: what is missing is the user.
    operator.register(&place.id("/service/e2e"), "service", &program).await;
    // The socket is for everybody; only this test's own folder around it is not.
    fs::set_permissions(daemon.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let ask = |user| {
        let mut command = Command::new(&program);
        command
            .args(["sds::asks_for_every_secret", "--exact", "--ignored", "--nocapture"])
            .env(SOCKET_VARIABLE, &place.workload_api_socket)
            .uid(user)
            .kill_on_drop(true);
        async move {
            let output = within("the other process", command.output()).await.unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
    };
    let own = ask(0).await;
    assert_eq!(own.matches("Ok(())").count(), 4, "{own}");
    let other = ask(NOBODY).await;
    assert_eq!(other.matches("Err(PermissionDenied)").count(), 4, "{other}");
    assert!(!other.contains("Ok(())"), "{other}");
}
