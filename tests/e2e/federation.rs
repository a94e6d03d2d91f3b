//! A trust domain of the same environment that some workloads verify, on the real sockets: who gets its bundle, and what it
//! does not open.

use std::fs;
use std::time::Duration;

use marque_testkit::ScratchTrustDomain;
use spiffe::bundle::BundleSource as _;
use spiffe::{TrustDomain, WorkloadApiClient};

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, ROTATOR};
use crate::support::folder::{self, federate};
use crate::support::oauth::{Client, approved_rotation, exchange_fields};
use crate::support::operator::run_marque;
use crate::support::programs::this_program;
use crate::support::tokens::timestamp;

const PARTNER: &str = "partner.example.org";
const AUDIENCE: &str = "https://resource.example.org";

fn partner() -> ScratchTrustDomain {
    ScratchTrustDomain::at(PARTNER, timestamp())
}

/// Registers this test process; with the partner's bundle if it is to have it.
async fn register(daemon: &Daemon, path: &str, more: &[&str]) -> String {
    let id = daemon.place(PRODUCTION).id(path);
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let program = format!("unix:path:{}", this_program().display());
    let entry = [
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
    ];
    let selectors = ["--selector", &uid, "--selector", &program];
    let all = [&entry[..], &selectors, more].concat();
    let created = daemon.operator(PRODUCTION).json(&all).await;
    created["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_gets_the_bundle_that_its_entry_federates_with_as_long_as_it_does() {
    let partner = partner();
    let daemon = Daemon::start_with(|folder| federate(folder, PRODUCTION, &partner)).await;
    register(&daemon, "/service/e2e", &[]).await;
    let place = daemon.place(PRODUCTION);
    let workload = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let name = TrustDomain::new(PARTNER).unwrap();
    let id = partner.id("/service/theirs");
    let soon = timestamp() + Duration::from_secs(300);
    let token = partner.jwt_svid(&id, &[AUDIENCE], soon);
    let token = token.expose_token();

    assert!(workload.fetch_x509_bundles().await.unwrap().get(&name).is_none());
    assert!(workload.fetch_jwt_bundles().await.unwrap().get(&name).is_none());
    workload.validate_jwt_token(AUDIENCE, token).await.unwrap_err();

    let entry = register(&daemon, "/service/e2e-two", &["--federates-with", PARTNER]).await;
    let context = workload.fetch_x509_context().await.unwrap();
    let bundle = context.bundle_set().bundle_for_trust_domain(&name).unwrap().unwrap();
    let root = partner.root().certificate();
    assert_eq!(bundle.authorities().first().unwrap().as_bytes(), root.as_ref());
    assert!(workload.fetch_x509_bundles().await.unwrap().get(&name).is_some());
    assert!(workload.fetch_jwt_bundles().await.unwrap().get(&name).is_some());
    let valid = workload.validate_jwt_token(AUDIENCE, token).await.unwrap();
    assert_eq!(valid.spiffe_id().to_string(), id.to_string());

    daemon.operator(PRODUCTION).run(&["entry", "delete", &entry]).await.succeeded();
    assert!(workload.fetch_x509_bundles().await.unwrap().get(&name).is_none());
    workload.validate_jwt_token(AUDIENCE, token).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_cannot_name_a_trust_domain_that_the_document_does_not() {
    let daemon = Daemon::start().await;
    let id = daemon.place(PRODUCTION).id("/service/e2e");
    for name in [PARTNER, NON_PRODUCTION, PRODUCTION] {
        let entry = ["entry", "create", "--expires-in", "1d", "--spiffe-id", &id, "--owner", "x"];
        let more = ["--selector", "unix:uid:1", "--federates-with", name];
        let said = daemon.operator(PRODUCTION).run(&[&entry[..], &more].concat()).await.failed();
        assert!(said.err.contains("[[federation]]") && said.err.contains(name), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_trust_domain_does_not_get_in_at_the_token_endpoint() {
    let partner = partner();
    let daemon = Daemon::start_with(|folder| federate(folder, PRODUCTION, &partner)).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let soon = timestamp() + Duration::from_secs(200);
    let id = partner.id("/agent/theirs");
    let foreign = partner.jwt_svid(&id, &[&rotator.place.issuer_url], soon);
    let fields = exchange_fields(foreign.expose_token(), &intent);
    let refused = rotator.token(&fields).await.expect(400);
    assert_eq!(refused.json()["error"], "invalid_client", "{refused:?}");
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_federation_of_the_shipped_trust_domains_is_served_or_passes_the_check() {
    let scratch = tempfile::tempdir().unwrap();
    let trust_domains = scratch.path().join("trust-domains");
    folder::copy(&folder::shipped(), &trust_domains);
    // It claims the environment that would fit; the other's own document says otherwise.
    let other = ScratchTrustDomain::new(NON_PRODUCTION);
    federate(&trust_domains, PRODUCTION, &other);
    let path = trust_domains.display().to_string();
    let said = run_marque(&["check".to_owned(), path.clone()]).await.failed();
    assert!(
        said.out.contains("environment_boundary") || said.err.contains("environment_boundary"),
        "{said:?}"
    );
    let data = scratch.path().join("s").display().to_string();
    let dev = ["dev", "--trust-domains", &path, "--data-dir", &data].map(ToOwned::to_owned);
    let said = run_marque(&dev).await.failed();
    assert!(said.err.contains("environment_boundary"), "{said:?}");
    assert!(!fs::exists(scratch.path().join("s/endpoints.json")).unwrap());
}
