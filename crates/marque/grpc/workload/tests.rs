//! The Workload API over real sockets: with the crates.io client where a client can say it, raw where it would not.

mod endpoint;
mod federation;
mod limits;
mod pin;
mod profiles;
mod reload;
mod sharing;
mod wit;

use std::time::Duration;

use futures::StreamExt;
use marque_registry::EntryRole;
use marque_spiffe::Clock;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::super::client::connect;
use super::super::proto::workload as proto;
use super::super::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use super::super::serve::Limits;
use super::super::stage::{PATIENCE, Served, Stage};
use super::SECURITY_HEADER;
use crate::clock::SystemClock;

type Headers = fn(Request<()>) -> Result<Request<()>, Status>;
type Raw = SpiffeWorkloadApiClient<InterceptedService<Channel, Headers>>;

const AUDIENCE: &str = "https://api.example.org";

fn proper(request: Request<()>) -> Result<Request<()>, Status> {
    with(request, &["true"])
}

fn with(mut request: Request<()>, values: &[&'static str]) -> Result<Request<()>, Status> {
    for value in values {
        request.metadata_mut().append(SECURITY_HEADER, MetadataValue::from_static(value));
    }
    Ok(request)
}

async fn raw(served: &Served, headers: Headers) -> Raw {
    SpiffeWorkloadApiClient::with_interceptor(connect(&served.socket).await.unwrap(), headers)
}

fn jwt_request(audience: &[&str], spiffe_id: &str) -> proto::JwtsvidRequest {
    let audience = audience.iter().map(ToString::to_string).collect();
    proto::JwtsvidRequest { audience, spiffe_id: spiffe_id.to_owned() }
}

fn validation(audience: &str, svid: &str) -> proto::ValidateJwtsvidRequest {
    proto::ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() }
}

/// The status that a stream's opening or its first message fails with.
async fn first<T>(opened: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Code {
    match opened {
        Err(status) => status.code(),
        Ok(stream) => code(timeout(PATIENCE, stream.into_inner().message()).await.unwrap()),
    }
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.err().map_or(Code::Ok, |status| status.code())
}

/// How each of the seven RPCs fails.
async fn every_rpc(client: &mut Raw) -> [Code; 7] {
    [
        first(client.fetch_x509svid(proto::X509svidRequest {}).await).await,
        first(client.fetch_x509_bundles(proto::X509BundlesRequest {}).await).await,
        code(client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await),
        first(client.fetch_jwt_bundles(proto::JwtBundlesRequest {}).await).await,
        code(client.validate_jwtsvid(validation(AUDIENCE, "a.b.c")).await),
        first(client.fetch_witsvid(proto::WitsvidRequest::default()).await).await,
        first(client.fetch_wit_bundles(proto::WitBundlesRequest {}).await).await,
    ]
}

/// Waits until `attempt` succeeds.
async fn eventually(mut attempt: impl AsyncFnMut() -> bool) {
    let trying = async {
        while !attempt().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, trying).await.unwrap();
}

#[tokio::test]
async fn a_caller_without_an_identity_is_refused_by_every_method() {
    let stage = Stage::new();
    stage.register_for("/agent/a", EntryRole::Agent, "unix:uid:4294967290");
    let served = stage.serve_workload(Limits::default());
    let codes = every_rpc(&mut raw(&served, proper).await).await;
    assert_eq!(codes, [Code::PermissionDenied; 7]);
}

#[tokio::test]
async fn wa_4_a_request_that_can_never_work_is_refused_before_anybody_is_attested() {
    // Without an entry, whoever is attested gets PermissionDenied.
    let stage = Stage::new();
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let many = vec![AUDIENCE; marque_workload::MAX_AUDIENCES + 1];
    let long = "a".repeat(marque_workload::MAX_AUDIENCE_BYTES + 1);
    let requests = [
        jwt_request(&[], ""),
        jwt_request(&[AUDIENCE, ""], ""),
        jwt_request(&many, ""),
        jwt_request(&[&long], ""),
        jwt_request(&[AUDIENCE], "spiffe://test.example.org/agent//a"),
        jwt_request(&[AUDIENCE], "http://test.example.org/agent/a"),
    ];
    for request in requests {
        assert_eq!(
            code(client.fetch_jwtsvid(request.clone()).await),
            Code::InvalidArgument,
            "{request:?}"
        );
    }
    for request in [validation("", "a.b.c"), validation(AUDIENCE, ""), validation(&long, "a.b.c")] {
        assert_eq!(code(client.validate_jwtsvid(request).await), Code::InvalidArgument);
    }
    assert_eq!(
        code(client.fetch_jwtsvid(jwt_request(&[AUDIENCE], "")).await),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn an_identity_of_somebody_else_is_not_handed_out() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    stage.register_for("/agent/b", EntryRole::Agent, "unix:uid:4294967290");
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let other = jwt_request(&[AUDIENCE], "spiffe://test.example.org/agent/b");
    assert_eq!(code(client.fetch_jwtsvid(other).await), Code::PermissionDenied);
    let own = jwt_request(&[AUDIENCE], "spiffe://test.example.org/agent/a");
    assert_eq!(code(client.fetch_jwtsvid(own).await), Code::Ok);
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_an_invalid_argument_and_is_not_repeated() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let soon = SystemClock.now() + Duration::from_secs(60);
    let other_domain =
        marque_testkit::ScratchTrustDomain::at("other.example.org", SystemClock.now());
    let forged = marque_testkit::ScratchTrustDomain::at("test.example.org", SystemClock.now());
    let tokens = [
        "not a token".to_owned(),
        stage.scratch.jwt_svid(&id, &["https://other.example.org"], soon).expose_token().to_owned(),
        stage
            .scratch
            .jwt_svid(&id, &[AUDIENCE], SystemClock.now() - Duration::from_secs(600))
            .expose_token()
            .to_owned(),
        forged.jwt_svid(&id, &[AUDIENCE], soon).expose_token().to_owned(),
        other_domain
            .jwt_svid(&other_domain.id("/agent/a"), &[AUDIENCE], soon)
            .expose_token()
            .to_owned(),
    ];
    for token in tokens {
        let refused = client.validate_jwtsvid(validation(AUDIENCE, &token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(!refused.message().contains(&token), "{refused}");
    }
}

#[tokio::test]
async fn the_claims_of_a_valid_token_come_back_with_aud_as_a_list() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let soon = SystemClock.now() + Duration::from_secs(60);
    let token = stage.scratch.jwt_svid(&id, &[AUDIENCE], soon);
    let answer = client
        .validate_jwtsvid(validation(AUDIENCE, token.expose_token()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.spiffe_id, id.to_string());
    let claims = answer.claims.unwrap().fields;
    let list = prost_types::ListValue { values: vec![AUDIENCE.to_owned().into()] };
    assert_eq!(claims["aud"].kind, Some(prost_types::value::Kind::ListValue(list)));
    assert_eq!(claims["sub"], id.to_string().into());
    assert_eq!(claims["exp"], (soon.as_second() as f64).into());
}

#[tokio::test]
async fn jwt_bundles_hold_keys_for_jwt_svids_and_nothing_else() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream =
        client.fetch_jwt_bundles(proto::JwtBundlesRequest {}).await.unwrap().into_inner();
    let bundles = stream.message().await.unwrap().unwrap().bundles;
    let keys: serde_json::Value =
        serde_json::from_slice(&bundles["spiffe://test.example.org"]).unwrap();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert!(
        keys.iter().all(|key| key["use"] == "jwt-svid" && key.get("x5c").is_none()),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_stream_is_pushed_to_on_every_change_and_ends_with_the_entitlement() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream = client.fetch_x509svid(proto::X509svidRequest {}).await.unwrap().into_inner();
    let mut ids = async || {
        let message = timeout(PATIENCE, stream.message()).await.unwrap();
        message.map(|message| {
            message.unwrap().svids.into_iter().map(|svid| svid.spiffe_id).collect::<Vec<_>>()
        })
    };
    assert_eq!(ids().await.unwrap(), ["spiffe://test.example.org/agent/a"]);
    let second = stage.register("/agent/b", EntryRole::Agent);
    assert_eq!(ids().await.unwrap().len(), 2);
    stage.deregister("/agent/a");
    assert_eq!(ids().await.unwrap(), ["spiffe://test.example.org/agent/b"]);
    stage.kill(&second);
    assert_eq!(ids().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn open_streams_end_when_the_daemon_stops_and_it_stops_in_time() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let mut client = raw(&served, proper).await;
    let mut stream =
        client.fetch_x509_bundles(proto::X509BundlesRequest {}).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    served.shutdown.cancel();
    assert_eq!(
        timeout(PATIENCE, stream.message()).await.unwrap().unwrap_err().code(),
        Code::Unavailable
    );
    drop((stream, client));
    timeout(PATIENCE, served.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_never_ends_does_not_hold_up_the_stop() {
    let stage = Stage::new();
    let served =
        stage.serve_workload(Limits { drain: Duration::from_millis(20), ..Limits::default() });
    let mut idle = UnixStream::connect(&served.socket).await.unwrap();
    // The server's own first frames: the connection is accepted and served.
    idle.read_u8().await.unwrap();
    served.shutdown.cancel();
    timeout(PATIENCE, served.task).await.unwrap().unwrap().unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[cfg(feature = "demo")]
#[tokio::test]
async fn the_crates_io_client_gets_svids_and_bundles_and_has_tokens_checked() {
    let stage = Stage::new();
    let id = stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let client = spiffe::WorkloadApiClient::connect_to(served.endpoint()).await.unwrap();

    let context = client.fetch_x509_context().await.unwrap();
    let svid = context.default_svid().unwrap();
    assert_eq!(svid.spiffe_id().to_string(), id.to_string());
    assert_eq!(svid.hint(), Some("agent-a"));
    let trust_domain = spiffe::TrustDomain::new("test.example.org").unwrap();
    assert_eq!(context.bundle_set().get(&trust_domain).unwrap().authorities().len(), 1);
    assert!(client.fetch_x509_bundles().await.unwrap().get(&trust_domain).is_some());

    let token = client.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
    assert_eq!(token.spiffe_id().to_string(), id.to_string());
    let bundles = client.fetch_jwt_bundles().await.unwrap();
    assert!(bundles.get(&trust_domain).unwrap().find_jwt_authority(token.key_id()).is_some());
    let checked = client.validate_jwt_token(AUDIENCE, token.token()).await.unwrap();
    assert_eq!(checked.spiffe_id(), token.spiffe_id());
    assert!(client.validate_jwt_token("https://other.example.org", token.token()).await.is_err());
}

#[cfg(feature = "demo")]
#[tokio::test]
async fn the_crates_io_client_is_pushed_to() {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_workload(Limits::default());
    let client = spiffe::WorkloadApiClient::connect_to(served.endpoint()).await.unwrap();
    let mut contexts = Box::pin(client.stream_x509_contexts().await.unwrap());
    assert_eq!(contexts.next().await.unwrap().unwrap().svids().len(), 1);
    stage.register("/agent/b", EntryRole::Agent);
    let pushed = timeout(PATIENCE, contexts.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pushed.svids().len(), 2);
}
