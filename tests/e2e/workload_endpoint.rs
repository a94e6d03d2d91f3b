//! The Workload API socket below any client library: the security header and the status codes (SPIFFE Workload Endpoint
//! and Workload API).

use std::path::Path;

use prost::Message;
use tonic::{Code, Request};

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::grpc::Client;
use crate::support::http::Call;
use crate::support::programs::this_program;

const HEADER: &str = "workload.spiffe.io";

/// The messages as the standard numbers their fields, written here by hand so that our own `proto/` is under test too.
#[derive(Clone, PartialEq, Message)]
struct X509SvidRequest {}

#[derive(Clone, PartialEq, Message)]
struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
    #[prost(string, tag = "2")]
    spiffe_id: String,
}

async fn connect(daemon: &Daemon) -> Client {
    Client::connect(&daemon.place(PRODUCTION).workload_api_socket).await
}

fn with_header<T>(message: T, value: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, value.parse().expect("a header value"));
    request
}

const FETCH_X509: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
const FETCH_JWT: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";

#[tokio::test(flavor = "multi_thread")]
async fn we_1_the_endpoint_is_grpc_on_a_unix_socket_and_on_no_port() {
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION);
    let mut connection = connect(&daemon).await;
    let code = connection.refused(FETCH_X509, with_header(X509SvidRequest {}, "true")).await;
    assert_eq!(code.code(), Code::PermissionDenied);
    let call = Call::post(&format!("{}{FETCH_X509}", place.issuer_url), "application/grpc", "");
    let answer = daemon.http(PRODUCTION).send(call.header(HEADER, "true")).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(!answer.headers.contains_key("grpc-status"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_refuse_is_counted_where_operators_see_it() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let long = JwtSvidRequest { audience: vec!["a".repeat(100_000)], spiffe_id: String::new() };
    let refused = connect(&daemon).await.refused(FETCH_JWT, with_header(long, "true")).await;
    assert_eq!(refused.metadata().get("marque-code").unwrap(), "message_bytes");
    let told = operator.json(&["metrics"]).await;
    let text = told["prometheus"].as_str().expect("text");
    let line = "marque_limit_refusals_total{limit=\"message_bytes\"} 1";
    assert!(text.lines().any(|counted| counted == line), "{text}");
    assert!(text.contains("# TYPE marque_connections_open gauge"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_the_security_header_is_an_invalid_argument() {
    let daemon = Daemon::start().await;
    let mut client = connect(&daemon).await;
    assert_eq!(
        client.refused(FETCH_X509, Request::new(X509SvidRequest {})).await.code(),
        Code::InvalidArgument
    );
    for value in ["false", "TRUE", "1", ""] {
        let code = client.refused(FETCH_X509, with_header(X509SvidRequest {}, value)).await.code();
        assert_eq!(code, Code::InvalidArgument, "`{value}`");
    }
    let mut twice = with_header(X509SvidRequest {}, "true");
    twice.metadata_mut().append(HEADER, "true".parse().unwrap());
    assert_eq!(client.refused(FETCH_X509, twice).await.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_every_service_asks_for_the_security_header() {
    let daemon = Daemon::start().await;
    let mut client = connect(&daemon).await;
    for method in [
        "/SpiffeWorkloadAPI/FetchX509SVID",
        "/SpiffeWorkloadAPI/FetchX509Bundles",
        "/SpiffeWorkloadAPI/FetchJWTSVID",
        "/SpiffeWorkloadAPI/FetchJWTBundles",
        "/SpiffeWorkloadAPI/ValidateJWTSVID",
        "/SpiffeWorkloadAPI/FetchWITSVID",
        "/SpiffeWorkloadAPI/FetchWITBundles",
        "/SpiffeWorkloadAPI/NoSuchMethod",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/no.such.Service/Method",
    ] {
        let refused = client.refused(method, Request::new(X509SvidRequest {})).await;
        assert_eq!(refused.code(), Code::InvalidArgument, "{method}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_unimplemented() {
    let daemon = Daemon::start().await;
    let id = daemon.place(PRODUCTION).id("/service/e2e");
    daemon.operator(PRODUCTION).register(&id, "service", &this_program()).await;
    let mut client = connect(&daemon).await;
    // WIT-SVIDs are off in production unless its document says otherwise.
    for method in [
        "/SpiffeWorkloadAPI/FetchWITSVID",
        "/SpiffeWorkloadAPI/FetchWITBundles",
        "/no.such.Service/Method",
    ] {
        let refused = client.refused(method, with_header(X509SvidRequest {}, "true")).await;
        assert_eq!(refused.code(), Code::Unimplemented, "{method}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_the_security_header_is_denied() {
    let daemon = Daemon::start().await;
    let mut client = connect(&daemon).await;
    let code = client.refused(FETCH_X509, with_header(X509SvidRequest {}, "true")).await.code();
    assert_eq!(code, Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn wa_4_a_jwt_svid_request_that_asks_for_nothing_sensible_is_an_invalid_argument() {
    let daemon = Daemon::start().await;
    let id = daemon.place(PRODUCTION).id("/service/e2e");
    let program = this_program();
    daemon.operator(PRODUCTION).register(&id, "service", &program).await;
    let mut client = connect(&daemon).await;
    let good = JwtSvidRequest { audience: vec!["a".to_owned()], spiffe_id: String::new() };
    client.call(FETCH_JWT, with_header(good.clone(), "true")).await.expect("a JWT-SVID");
    for request in [
        JwtSvidRequest { audience: Vec::new(), ..good.clone() },
        JwtSvidRequest { audience: vec![String::new()], ..good.clone() },
        JwtSvidRequest { spiffe_id: "not an id".to_owned(), ..good.clone() },
        JwtSvidRequest { audience: vec!["a".repeat(1_000)], ..good.clone() },
    ] {
        let told = format!("{:?}, {} audiences", request.spiffe_id, request.audience.len());
        let code = client.refused(FETCH_JWT, with_header(request, "true")).await.code();
        assert_eq!(code, Code::InvalidArgument, "{told}");
    }
    let huge = JwtSvidRequest { audience: vec!["a".repeat(1_000); 1_000], ..good };
    let refused = client.refused(FETCH_JWT, with_header(huge, "true")).await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sockets_and_the_data_folder_are_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt as _;

    let daemon = Daemon::start().await;
    let mode =
        |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(
        mode(&daemon.place(PRODUCTION).admin_socket) & 0o007,
        0,
        "others reach the admin socket"
    );
    let mut folders = vec![daemon.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.is_dir() {
                folders.push(entry);
            } else if name.ends_with(".key") || name.contains("sealing") || name.contains("sealed")
            {
                assert_eq!(mode(&entry) & 0o077, 0, "others read {}", entry.display());
            }
        }
    }
}
