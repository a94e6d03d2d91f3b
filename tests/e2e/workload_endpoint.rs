//! The Workload API socket below any client library: the security header and the status codes (SPIFFE Workload Endpoint
//! and Workload API).

use std::path::Path;

use prost::Message;
use tonic::{Code, Request};

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::grpc::Client;
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
async fn what_is_not_served_yet_is_unimplemented() {
    let daemon = Daemon::start().await;
    let id = daemon.place(PRODUCTION).id("/service/e2e");
    daemon.operator(PRODUCTION).register(&id, "service", &this_program()).await;
    let mut client = connect(&daemon).await;
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
async fn a_jwt_svid_request_that_asks_for_nothing_sensible_is_an_invalid_argument() {
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
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
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
