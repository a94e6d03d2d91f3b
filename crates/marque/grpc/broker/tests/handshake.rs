//! BR-1: mutual TLS with X.509-SVIDs, and the security header.

use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::Clock as _;
use marque_testkit::{ScratchTrustDomain, rcgen};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic::service::interceptor::InterceptedService;

use super::super::super::proto::broker as proto;
use super::client::{
    ExactServer, Headers, Identity, config, every_rpc, handshake, is_let_in, proper, raw, with,
    x509,
};
use super::{SUPERVISOR, Scene, child, pid, pid_of};
use crate::clock::SystemClock;

const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

async fn is_refused(scene: &Scene, identity: Option<Identity>) -> String {
    let config = config(ExactServer::of(scene), identity, TLS13);
    is_let_in(&scene.socket, config).await.expect_err("refused in the handshake").to_string()
}

#[tokio::test]
async fn br_1_a_broker_and_the_server_authenticate_each_other_by_x509_svids() {
    let scene = Scene::new();
    let server = ExactServer::of(&scene);
    let config = config(Arc::clone(&server), Some(scene.identity(SUPERVISOR)), TLS13);
    is_let_in(&scene.socket, config).await.unwrap();
    assert_eq!(server.shown.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn br_1_a_client_without_a_certificate_is_refused_in_the_handshake() {
    let scene = Scene::new();
    assert!(is_refused(&scene, None).await.contains("CertificateRequired"));
}

#[tokio::test]
async fn br_1_without_tls_there_is_no_answer_even_on_a_unix_socket() {
    let scene = Scene::new();
    let mut stream = tokio::net::UnixStream::connect(&scene.socket).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(super::PATIENCE, reading).await.unwrap().unwrap();
    // A TLS alert at most.
    assert!(answer.len() < 9 && answer.first().is_none_or(|kind| *kind == 21), "{answer:?}");
}

#[tokio::test]
async fn clients_that_say_nothing_hold_up_nobodys_handshake() {
    let scene = Scene::new();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::UnixStream::connect(&scene.socket).await.unwrap());
    }
    let config = config(ExactServer::of(&scene), Some(scene.identity(SUPERVISOR)), TLS13);
    is_let_in(&scene.socket, config).await.unwrap();
}

#[tokio::test]
async fn br_1_a_certificate_of_another_trust_domain_or_authority_is_refused_in_the_handshake() {
    let scene = Scene::new();
    for name in ["prod.example.org", "test.example.org"] {
        let other = ScratchTrustDomain::at(name, SystemClock.now());
        let svid = other.x509_svid(&other.id(SUPERVISOR));
        let refused = is_refused(&scene, Some(Identity::from(svid))).await;
        assert!(refused.contains("UnknownCA"), "{name}: {refused}");
    }
}

#[tokio::test]
async fn br_1_a_certificate_that_is_no_x509_svid_is_refused_in_the_handshake() {
    let scene = Scene::new();
    let scratch = &scene.stage.scratch;
    let id = scene.id(SUPERVISOR);
    let spoilt: [fn(&mut rcgen::CertificateParams); 4] = [
        |params| params.subject_alt_names.clear(),
        |params| params.subject_alt_names.extend(params.subject_alt_names.clone()),
        |params| params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign],
        |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        },
    ];
    for spoil in spoilt {
        let mut params = scratch.leaf_params(&id);
        spoil(&mut params);
        is_refused(&scene, Some(Identity::from(scratch.root().issue(&params)))).await;
    }
    // Somebody else's certificate is worth nothing without its key.
    let Identity { chain, key: _ } = scene.identity(SUPERVISOR);
    let Identity { chain: _, key } = scene.identity(SUPERVISOR);
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let stolen = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
    let mut config = Arc::unwrap_or_clone(config(ExactServer::of(&scene), None, TLS13));
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
    assert!(is_let_in(&scene.socket, Arc::new(config)).await.is_err());
}

#[tokio::test]
async fn br_1_an_svid_is_refused_in_the_handshake_from_the_second_after_its_last() {
    let scene = Scene::new();
    let issued_at = scene.clock.now();
    let offered =
        |scene: &Scene| config(ExactServer::of(scene), Some(scene.identity(SUPERVISOR)), TLS13);
    // The scratch authority backdates nothing beyond ten seconds, and its SVIDs last an hour.
    scene.clock.set(issued_at + Duration::from_secs(3599));
    is_let_in(&scene.socket, offered(&scene)).await.unwrap();
    scene.clock.set(issued_at + Duration::from_secs(3602));
    let refused = is_let_in(&scene.socket, offered(&scene)).await.unwrap_err().to_string();
    assert!(refused.contains("CertificateExpired"), "{refused}");
    scene.clock.set(issued_at - Duration::from_secs(60));
    is_let_in(&scene.socket, offered(&scene)).await.unwrap_err();
}

#[tokio::test]
async fn br_1_no_session_is_resumed_and_tls_1_2_is_not_spoken() {
    let scene = Scene::new();
    let config = config(ExactServer::of(&scene), Some(scene.identity(SUPERVISOR)), TLS13);
    for _ in 0..3 {
        is_let_in(&scene.socket, Arc::clone(&config)).await.unwrap();
        let stream = handshake(&scene.socket, Arc::clone(&config)).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
    let old = super::client::config(
        ExactServer::of(&scene),
        Some(scene.identity(SUPERVISOR)),
        &[&rustls::version::TLS12],
    );
    handshake(&scene.socket, old).await.unwrap_err();
}

#[tokio::test]
async fn br_1_the_servers_certificate_is_replaced_under_an_open_connection() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let mut client = scene.supervisor().await;
    let (_first, mut stream) = x509(&mut client, pid(pid_of(&workload))).await.unwrap();
    let shown = async || {
        let server = ExactServer::of(&scene);
        let config = config(Arc::clone(&server), Some(scene.identity(SUPERVISOR)), TLS13);
        is_let_in(&scene.socket, config).await.unwrap();
        server.shown.lock().unwrap().clone()
    };
    let before = shown().await;
    scene.show_new_certificate();
    assert_ne!(shown().await, before);
    scene.register_child("/agent/second");
    let pushed = super::client::next(&mut stream).await.unwrap();
    assert_eq!(pushed.svids.len(), 2);
    scene.certificate.withdraw();
    let config = config(ExactServer::of(&scene), Some(scene.identity(SUPERVISOR)), TLS13);
    is_let_in(&scene.socket, config).await.unwrap_err();
}

#[tokio::test]
async fn br_1_the_security_header_is_required_once_and_exactly_by_every_method() {
    let scene = Scene::new();
    scene.register_child("/agent/child");
    let workload = child();
    let wrong: [Headers; 6] = [
        Ok,
        |request| with(request, &["True"]),
        |request| with(request, &["1"]),
        |request| with(request, &["true,true"]),
        |request| with(request, &["true", "true"]),
        |request| with(request, &["true", "false"]),
    ];
    for headers in wrong {
        let mut client = raw(&scene, Some(scene.identity(SUPERVISOR)), headers).await.unwrap();
        for outcome in every_rpc(&mut client, pid(pid_of(&workload))).await {
            assert_eq!(outcome.unwrap_err().code(), Code::InvalidArgument);
        }
    }
    for outcome in every_rpc(&mut scene.supervisor().await, pid(pid_of(&workload))).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn br_1_the_security_header_is_required_by_every_other_service_too() {
    let scene = Scene::new();
    let call = async |path: &'static str, headers: Headers| {
        let channel = super::client::channel(&scene, Some(scene.identity(SUPERVISOR))).await;
        let mut grpc = tonic::client::Grpc::new(InterceptedService::new(channel.unwrap(), headers));
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::<
            proto::WorkloadPidReference,
            proto::WorkloadPidReference,
        >::default();
        let request = tonic::Request::new(proto::WorkloadPidReference { pid: 0 });
        grpc.unary(request, path, codec).await.err().map_or(Code::Ok, |status| status.code())
    };
    for path in ["/no.such.Service/Method", "/grpc.health.v1.Health/Check"] {
        assert_eq!(call(path, Ok).await, Code::InvalidArgument);
    }
    assert_eq!(call("/no.such.Service/Method", proper).await, Code::Unimplemented);
    assert_eq!(call("/grpc.health.v1.Health/Check", proper).await, Code::Ok);
}

#[tokio::test]
async fn reflection_names_the_broker_api() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_response};

    let scene = Scene::new();
    let channel = super::client::channel(&scene, Some(scene.identity(SUPERVISOR))).await.unwrap();
    let mut client = ServerReflectionClient::with_interceptor(channel, proper);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let questions = futures::stream::iter([question]);
    let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&"spiffe.broker.API") && !names.contains(&"SpiffeWorkloadAPI"),
        "{names:?}"
    );
}
