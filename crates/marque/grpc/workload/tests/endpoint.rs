//! The SPIFFE Workload Endpoint: what holds for the socket, whatever is called on it.

use marque_testkit::http2::{RawClient, call, preface};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;

/// Every way in which the header is not there once with the value `true`.
const WRONG: [Headers; 6] = [
    Ok,
    |request| with(request, &["True"]),
    |request| with(request, &["1"]),
    |request| with(request, &["true,true"]),
    |request| with(request, &["true", "true"]),
    |request| with(request, &["true", "false"]),
];

#[tokio::test]
async fn we_2_the_security_header_is_required_once_and_exactly_by_every_method() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    for headers in WRONG {
        let codes = every_rpc(&mut raw(&served, headers).await).await;
        assert_eq!(codes, [Code::InvalidArgument; 7]);
    }
    let codes = every_rpc(&mut raw(&served, proper).await).await;
    assert_eq!(codes[..4], [Code::Ok; 4]);
}

/// How a call to any method fails, whether that exists or not.
async fn call_any(served: &Served, method: &'static str, headers: Headers) -> Option<Status> {
    let channel = connect(&served.socket).await.unwrap();
    let mut grpc = tonic::client::Grpc::new(InterceptedService::new(channel, headers));
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(method);
    let codec =
        tonic_prost::ProstCodec::<proto::X509svidRequest, proto::X509svidRequest>::default();
    let opened = grpc.server_streaming(Request::new(proto::X509svidRequest {}), path, codec).await;
    match opened {
        Ok(stream) => timeout(PATIENCE, stream.into_inner().message()).await.unwrap().err(),
        Err(status) => Some(status),
    }
}

#[tokio::test]
async fn we_2_the_security_header_is_required_by_every_service_and_by_those_that_do_not_exist() {
    let stage = Stage::new();
    let served = stage.serve_workload(Limits::default());
    for method in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/SpiffeWorkloadAPI/NoSuchMethod",
        "/no.such.Service/Method",
    ] {
        for headers in WRONG {
            let refused = call_any(&served, method, headers).await.unwrap();
            assert_eq!(refused.code(), Code::InvalidArgument, "{method}");
            assert!(refused.message().contains(SECURITY_HEADER), "{method}: {refused}");
        }
        let answered = call_any(&served, method, proper).await;
        let told = answered.as_ref().map_or("", Status::message);
        assert!(!told.contains(SECURITY_HEADER), "{method}: {told}");
    }
}

#[tokio::test]
async fn we_3_a_client_needs_neither_tls_nor_credentials_of_its_own() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let socket = served.socket.clone();
    let got = tokio::task::spawn_blocking(move || {
        let mut client = RawClient::connect(&socket);
        let header = [(SECURITY_HEADER, "true")];
        client.send(&preface());
        client.send(&call(1, "/SpiffeWorkloadAPI/FetchX509SVID", &header, &[]));
        client.gets_a_message(1)
    });
    assert!(timeout(PATIENCE, got).await.unwrap().unwrap());
}

#[tokio::test]
async fn we_5_each_situation_has_the_code_of_the_standard() {
    let stage = Stage::new();
    let served = stage.serve_workload(Limits { calls_per_uid: 1, ..Limits::default() });
    let fetch = async |client: &mut Raw| {
        first(client.fetch_x509_bundles(proto::X509BundlesRequest {}).await).await
    };
    let mut client = raw(&served, proper).await;
    assert_eq!(fetch(&mut raw(&served, Ok).await).await, Code::InvalidArgument);
    assert_eq!(fetch(&mut client).await, Code::PermissionDenied);
    let unknown = call_any(&served, "/SpiffeWorkloadAPI/Unknown", proper).await.unwrap();
    assert_eq!(unknown.code(), Code::Unimplemented);
    stage.register("/agent/a", EntryRole::Agent);
    let held = client.fetch_x509_bundles(proto::X509BundlesRequest {}).await.unwrap();
    assert_eq!(fetch(&mut raw(&served, proper).await).await, Code::Unavailable, "shedding");
    let mut stream = held.into_inner();
    stream.message().await.unwrap().unwrap();
    served.shutdown.cancel();
    let end = timeout(PATIENCE, stream.message()).await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "stopping");
}

async fn reflect(served: &Served, request: MessageRequest) -> MessageResponse {
    let channel = connect(&served.socket).await.unwrap();
    let mut client = ServerReflectionClient::with_interceptor(channel, proper as Headers);
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let asked = futures::stream::iter([request]);
    let mut answers = client.server_reflection_info(asked).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn we_6_reflection_tells_the_services_and_the_workload_api_has_the_standards_methods_alone() {
    let stage = Stage::new();
    let served = stage.serve_workload(Limits::default());
    let MessageResponse::ListServicesResponse(listed) =
        reflect(&served, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in
        ["SpiffeWorkloadAPI", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    {
        assert!(names.iter().any(|listed| listed == name), "{name} is not in {names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("SpiffeWorkloadAPI".to_owned());
    let MessageResponse::FileDescriptorResponse(file) = reflect(&served, symbol).await else {
        panic!("no file")
    };
    let file = FileDescriptorProto::decode(&*file.file_descriptor_proto[0]).unwrap();
    let [service] = &file.service[..] else { panic!("{:?}", file.service) };
    let methods: Vec<_> = service.method.iter().map(|method| method.name()).collect();
    let standard = [
        "FetchX509SVID",
        "FetchX509Bundles",
        "FetchJWTSVID",
        "FetchJWTBundles",
        "ValidateJWTSVID",
        "FetchWITSVID",
        "FetchWITBundles",
    ];
    assert_eq!(methods, standard);
}

#[tokio::test]
async fn we_6_health_tells_that_the_socket_serves_and_that_it_stops() {
    let stage = Stage::new();
    let served = stage.serve_workload(Limits::default());
    let channel = connect(&served.socket).await.unwrap();
    let mut client = HealthClient::with_interceptor(channel, proper as Headers);
    for service in ["", "SpiffeWorkloadAPI"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = client.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
    }
    let unknown = client.check(HealthCheckRequest { service: "unknown".to_owned() }).await;
    assert_eq!(code(unknown), Code::NotFound);
    let watched = HealthCheckRequest { service: "SpiffeWorkloadAPI".to_owned() };
    let mut watch = client.watch(watched).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    served.shutdown.cancel();
    let last = timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
}
