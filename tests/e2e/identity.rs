//! Identity as a Rust workload sees it, through the crates.io `spiffe` client: this test process is the workload.

use futures::{Stream, StreamExt as _};
use spiffe::bundle::BundleSource as _;
use spiffe::{
    JwtSource, JwtSvid, SpiffeId, TrustDomain, WorkloadApiClient, WorkloadApiError, X509Context,
    X509Source,
};

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, ROTATOR};
use crate::support::programs::this_program;
use crate::support::wait::within;

const AUDIENCE: &str = "https://resource.example.org";

/// Registers this test process as a service, so that its own children may still act as operators.
async fn register_this_process(daemon: &Daemon, path: &str) -> (String, String) {
    let id = daemon.place(PRODUCTION).id(path);
    let entry = daemon.operator(PRODUCTION).register(&id, "service", &this_program()).await;
    (id, entry)
}

async fn connect(daemon: &Daemon, trust_domain: &str) -> WorkloadApiClient {
    WorkloadApiClient::connect_to(daemon.place(trust_domain).workload_api())
        .await
        .expect("the Workload API")
}

fn trust_domain() -> TrustDomain {
    TrustDomain::new(PRODUCTION).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x509_source_gets_an_svid_and_the_bundle_that_it_chains_to() {
    let daemon = Daemon::start().await;
    let (id, _entry) = register_this_process(&daemon, "/service/e2e").await;
    let source = X509Source::builder().endpoint(daemon.place(PRODUCTION).workload_api());
    let source = within("the X.509 source", source.build()).await.unwrap();
    let svid = source.svid().unwrap();
    assert_eq!(svid.spiffe_id().to_string(), id);
    let bundle = source.bundle_for_trust_domain(&trust_domain()).unwrap().unwrap();
    let root = bundle.authorities().first().unwrap();
    let (_rest, leaf) = x509_parser::parse_x509_certificate(svid.leaf().as_bytes()).unwrap();
    let (_rest, root) = x509_parser::parse_x509_certificate(root.as_bytes()).unwrap();
    leaf.verify_signature(Some(root.public_key()))
        .expect("the leaf is signed by the bundle's authority");
    source.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn id_10_the_signing_authority_has_an_svid_of_its_own_without_a_path() {
    let daemon = Daemon::start().await;
    register_this_process(&daemon, "/service/e2e").await;
    let bundles = connect(&daemon, PRODUCTION).await.fetch_x509_bundles().await.unwrap();
    let bundle = bundles.get(&trust_domain()).unwrap();
    let authority = bundle.authorities().first().unwrap();
    let (_rest, root) = x509_parser::parse_x509_certificate(authority.as_bytes()).unwrap();
    let names = root.subject_alternative_name().unwrap().expect("names");
    let uris: Vec<_> = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            x509_parser::extensions::GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    assert_eq!(uris, [format!("spiffe://{PRODUCTION}")]);
    assert!(root.is_ca());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_source_gets_svids_that_its_own_bundle_validates() {
    let daemon = Daemon::start().await;
    let (id, _entry) = register_this_process(&daemon, "/service/e2e").await;
    let source = JwtSource::builder().endpoint(daemon.place(PRODUCTION).workload_api());
    let source = within("the JWT source", source.build()).await.unwrap();
    let svid = source.fetch_jwt_svid([AUDIENCE]).await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), id);
    let bundles = source.bundle_set().unwrap();
    let valid = JwtSvid::parse_and_validate(svid.token(), bundles.as_ref(), &[AUDIENCE]).unwrap();
    assert_eq!(valid.spiffe_id(), svid.spiffe_id());
    JwtSvid::parse_and_validate(svid.token(), bundles.as_ref(), &["https://other.example.org"])
        .expect_err("another audience");
    let requested = SpiffeId::new(&id).unwrap();
    let by_id = source.fetch_jwt_svid_with_id([AUDIENCE], Some(&requested)).await.unwrap();
    assert_eq!(by_id.spiffe_id(), &requested);
    source.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_hold_the_own_trust_domain_and_nothing_of_the_other_environment() {
    let daemon = Daemon::start().await;
    register_this_process(&daemon, "/service/e2e").await;
    let workload = connect(&daemon, PRODUCTION).await;
    let other = TrustDomain::new(NON_PRODUCTION).unwrap();
    let x509 = workload.fetch_x509_bundles().await.unwrap();
    assert_eq!(x509.get(&trust_domain()).unwrap().authorities().len(), 1);
    assert!(x509.get(&other).is_none(), "a bundle crossed the firebreak");
    let jwt = workload.fetch_jwt_bundles().await.unwrap();
    assert!(jwt.get(&trust_domain()).unwrap().jwt_authorities().count() > 0);
    assert!(jwt.get(&other).is_none(), "a bundle crossed the firebreak");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workload_api_validates_jwt_svids_and_refuses_what_is_not_one() {
    let daemon = Daemon::start().await;
    register_this_process(&daemon, "/service/e2e").await;
    let workload = connect(&daemon, PRODUCTION).await;
    let svid = workload.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
    let valid = workload.validate_jwt_token(AUDIENCE, svid.token()).await.unwrap();
    assert_eq!(valid.spiffe_id(), svid.spiffe_id());
    for (audience, token) in [
        ("https://other.example.org", svid.token().to_owned()),
        (AUDIENCE, format!("{}A", svid.token())),
        (AUDIENCE, "no.token.atall".to_owned()),
    ] {
        let error = workload.validate_jwt_token(audience, &token).await.unwrap_err();
        assert!(error.is_invalid_argument(), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_gets_a_push_when_an_entry_comes_and_when_it_goes() {
    let daemon = Daemon::start().await;
    let (first, _entry) = register_this_process(&daemon, "/service/e2e").await;
    let workload = connect(&daemon, PRODUCTION).await;
    let mut stream = Box::pin(workload.stream_x509_contexts().await.unwrap());
    assert_eq!(identities(&next(&mut stream).await), [first.as_str()]);
    let (second, entry) = register_this_process(&daemon, "/service/e2e-two").await;
    assert_eq!(identities(&next(&mut stream).await), [first.as_str(), &second]);
    daemon.operator(PRODUCTION).run(&["entry", "delete", &entry]).await.succeeded();
    assert_eq!(identities(&next(&mut stream).await), [first.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wa_3_what_is_gone_is_not_in_the_next_message() {
    let daemon = Daemon::start().await;
    let (first, _entry) = register_this_process(&daemon, "/service/e2e").await;
    let (second, entry) = register_this_process(&daemon, "/service/e2e-two").await;
    let workload = connect(&daemon, PRODUCTION).await;
    let mut stream = Box::pin(workload.stream_x509_contexts().await.unwrap());
    assert_eq!(identities(&next(&mut stream).await), [first.as_str(), &second]);
    daemon.operator(PRODUCTION).run(&["entry", "delete", &entry]).await.succeeded();
    let context = next(&mut stream).await;
    assert_eq!(identities(&context), [first.as_str()]);
    assert!(context.bundle_set().get(&trust_domain()).is_some(), "the rest is sent again");
    let error = workload.fetch_jwt_svid([AUDIENCE], Some(&SpiffeId::new(&second).unwrap())).await;
    assert!(is_permission_denied(&error.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_workload_that_loses_its_last_entry_ends_with_permission_denied() {
    let daemon = Daemon::start().await;
    let (_id, entry) = register_this_process(&daemon, "/service/e2e").await;
    let workload = connect(&daemon, PRODUCTION).await;
    let mut stream = Box::pin(workload.stream_x509_contexts().await.unwrap());
    next(&mut stream).await;
    daemon.operator(PRODUCTION).run(&["entry", "delete", &entry]).await.succeeded();
    let end = within("the end of the stream", stream.next()).await.expect("a status");
    assert!(is_permission_denied(&end.expect_err("no further SVID")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_nobody_registered_gets_nothing() {
    let daemon = Daemon::start().await;
    let workload = connect(&daemon, PRODUCTION).await;
    assert!(is_permission_denied(&workload.fetch_x509_svid().await.unwrap_err()));
    assert!(is_permission_denied(&workload.fetch_x509_bundles().await.unwrap_err()));
    assert!(is_permission_denied(&workload.fetch_jwt_svid([AUDIENCE], None).await.unwrap_err()));
    assert!(is_permission_denied(&workload.fetch_jwt_bundles().await.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_gets_only_its_own_identity() {
    let daemon = Daemon::start().await;
    register_this_process(&daemon, "/service/e2e").await;
    let workload = connect(&daemon, PRODUCTION).await;
    let other = SpiffeId::new(daemon.place(PRODUCTION).id(ROTATOR.path)).unwrap();
    let error = workload.fetch_jwt_svid([AUDIENCE], Some(&other)).await.unwrap_err();
    assert!(is_permission_denied(&error), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spiffe_id_is_registered_once() {
    let daemon = Daemon::start().await;
    register_this_process(&daemon, "/service/e2e").await;
    let place = daemon.place(PRODUCTION);
    let (id, uid) = (place.id("/service/e2e"), format!("unix:uid:{}", nix::unistd::geteuid()));
    let again = [
        "entry",
        "create",
        "--expires-in",
        "1d",
        "--spiffe-id",
        &id,
        "--role",
        "service",
        "--owner",
        "x",
        "--selector",
        &uid,
    ];
    let said = daemon.operator(PRODUCTION).run(&again).await.failed();
    assert!(said.err.contains(&id), "{said:?}");
}

async fn next(
    stream: &mut (impl Stream<Item = Result<X509Context, WorkloadApiError>> + Unpin),
) -> X509Context {
    within("a push", stream.next()).await.expect("the stream goes on").expect("a context")
}

fn identities(context: &X509Context) -> Vec<String> {
    context.svids().iter().map(|svid| svid.spiffe_id().to_string()).collect()
}

fn is_permission_denied(error: &WorkloadApiError) -> bool {
    matches!(error, WorkloadApiError::PermissionDenied(_) | WorkloadApiError::NoIdentityIssued)
}
