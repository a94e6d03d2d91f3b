//! A real Envoy as a sidecar: it takes its certificates, and how to verify others, from the Workload API socket.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use marque_testkit::ScratchTrustDomain;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::envoy::{self, Envoy, GREETING, Plan, connect_with, plain_server};
use crate::support::folder::federate;
use crate::support::mutual_tls;
use crate::support::programs::this_program;
use crate::support::tokens::timestamp;
use crate::support::wait::{until, within};

const PARTNER: &str = "partner.example.org";

/// A daemon whose production trust domain knows this test process and Envoy; their SPIFFE IDs and Envoy's entry.
async fn daemon_with(program: &Path, prepare: impl FnOnce(&Path)) -> (Daemon, [String; 3]) {
    let daemon = Daemon::start_with(prepare).await;
    let place = daemon.place(PRODUCTION);
    let (test, envoy) = (place.id("/service/e2e"), place.id("/service/envoy"));
    let operator = daemon.operator(PRODUCTION);
    operator.register(&test, "service", &this_program()).await;
    let entry = operator.register(&envoy, "service", program).await;
    (daemon, [test, envoy, entry])
}

/// What comes out of `outbound`.
async fn through(port: u16) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let mut said = Vec::new();
    drop(within("an answer through Envoy", stream.read_to_end(&mut said)).await);
    said
}

async fn mutual_tls_in_both_directions(api_type: &str) {
    let Some(program) = envoy::program() else { return };
    let (daemon, [test, envoy_id, _entry]) = daemon_with(&program, |_| {}).await;
    let place = daemon.place(PRODUCTION);
    let workload_api = place.workload_api();
    let server = mutual_tls::serve_one(&workload_api, &envoy_id).await.unwrap();
    let plan = Plan {
        socket: &place.workload_api_socket,
        api_type,
        identity: "default",
        trust: "ROOTCA",
        peer: Some(&test),
        plain_port: plain_server().await,
        tls_port: server.port,
    };
    let envoy = Envoy::start(&program, &daemon.path("e"), &plan).await;
    let said = mutual_tls::connect(&workload_api, envoy.port("inbound").await, &envoy_id).await;
    assert_eq!(said.unwrap().as_bytes(), GREETING);
    assert_eq!(through(envoy.port("outbound").await).await, b"over mutual TLS");
    server.outcome.await.unwrap().unwrap();
    assert!(envoy.count("update_success").await > 0);
    assert_eq!(envoy.count("update_rejected").await, 0, "{}", envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_does_mutual_tls_in_both_directions_with_secrets_of_the_socket() {
    mutual_tls_in_both_directions("GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_asks_for_deltas_does_too() {
    mutual_tls_in_both_directions("DELTA_GRPC").await;
}

/// Production SVIDs that live for three seconds.
fn shorten(trust_domains: &Path) {
    let file = trust_domains.join(PRODUCTION).join("trust-domain.toml");
    let text = fs::read_to_string(&file).unwrap();
    let short = text.replace("x509_svid = \"1h\"", "x509_svid = \"3s\"");
    assert_ne!(text, short, "the lifetime is where it was");
    fs::write(file, short).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_changes_its_certificate_with_each_rotation_and_never_stops_serving() {
    let Some(program) = envoy::program() else { return };
    let (daemon, [test, envoy_id, _entry]) = daemon_with(&program, shorten).await;
    let place = daemon.place(PRODUCTION);
    let plan = Plan {
        socket: &place.workload_api_socket,
        api_type: "GRPC",
        identity: &envoy_id,
        trust: "spiffe://prod.example.org",
        peer: Some(&test),
        plain_port: plain_server().await,
        tls_port: 1,
    };
    let envoy = Envoy::start(&program, &daemon.path("e"), &plan).await;
    let port = envoy.port("inbound").await;
    let mut seen = BTreeSet::new();
    until("three rotations", async || {
        seen.extend(envoy.own_serials().await);
        let said = mutual_tls::connect(&place.workload_api(), port, &envoy_id).await;
        // The client's library may be taking up another SVID itself: it is asked again, and nothing else is.
        let pending =
            said.as_ref().is_err_and(|told| format!("{told:?}").contains("PendingRevision"));
        if !pending {
            assert_eq!(said.unwrap().as_bytes(), GREETING);
        }
        (seen.len() > 3).then_some(())
    })
    .await;
    assert_eq!(envoy.count("update_rejected").await, 0, "{}", envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_whose_entry_goes_is_told_so_and_gets_its_identity_back_with_the_entry() {
    let Some(program) = envoy::program() else { return };
    let (daemon, [test, envoy_id, entry]) = daemon_with(&program, |_| {}).await;
    let place = daemon.place(PRODUCTION);
    let plan = Plan {
        socket: &place.workload_api_socket,
        api_type: "GRPC",
        identity: "default",
        trust: "ROOTCA",
        peer: Some(&test),
        plain_port: plain_server().await,
        tls_port: 1,
    };
    let envoy = Envoy::start(&program, &daemon.path("e"), &plan).await;
    let before = envoy.own_serials().await;
    let operator = daemon.operator(PRODUCTION);
    operator.run(&["entry", "delete", &entry]).await.succeeded();
    until("the refusal in Envoy's log", async || {
        // `PermissionDenied`, with the text as it went over the wire.
        envoy.log().contains("closed: 7, no%20identity%20issued").then_some(())
    })
    .await;
    operator.register(&envoy_id, "service", &program).await;
    until("another certificate", async || (envoy.own_serials().await != before).then_some(()))
        .await;
    let port = envoy.port("inbound").await;
    let said = mutual_tls::connect(&place.workload_api(), port, &envoy_id).await;
    assert_eq!(said.unwrap().as_bytes(), GREETING);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_takes_a_federated_trust_domain_by_all_and_by_its_name_and_not_by_rootca() {
    let Some(program) = envoy::program() else { return };
    let partner = ScratchTrustDomain::at(PARTNER, timestamp());
    let daemon = Daemon::start_with(|folder| federate(folder, PRODUCTION, &partner)).await;
    let place = daemon.place(PRODUCTION);
    let (uid, path) = (
        format!("unix:uid:{}", nix::unistd::geteuid()),
        format!("unix:path:{}", program.display()),
    );
    let id = place.id("/service/envoy");
    let create = [
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
    let rest = ["--selector", &uid, "--selector", &path, "--federates-with", PARTNER];
    let created = daemon.operator(PRODUCTION).json(&[&create[..], &rest[..]].concat()).await;
    assert_eq!(created["federates_with"], serde_json::json!([PARTNER]));

    let svid = partner.x509_svid(&partner.id("/service/client"));
    let stranger = ScratchTrustDomain::at(PARTNER, timestamp());
    let forged = stranger.x509_svid(&partner.id("/service/client"));
    for (trust, taken) in [("ALL", true), ("spiffe://partner.example.org", true), ("ROOTCA", false)]
    {
        let plan = Plan {
            socket: &place.workload_api_socket,
            api_type: "GRPC",
            identity: "default",
            trust,
            peer: None,
            plain_port: plain_server().await,
            tls_port: 1,
        };
        let envoy = Envoy::start(&program, &daemon.path("e"), &plan).await;
        let port = envoy.port("inbound").await;
        let said = connect_with(port, svid.chain.clone(), svid.private_key.clone()).await;
        assert_eq!(said.is_ok_and(|said| said == GREETING), taken, "{trust}");
        let said = connect_with(port, forged.chain.clone(), forged.private_key.clone()).await;
        assert!(!said.is_ok_and(|said| said == GREETING), "{trust}: a namesake's SVID");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_in_the_documentation_works() {
    let Some(program) = envoy::program() else { return };
    let (daemon, [test, envoy_id, _entry]) = daemon_with(&program, |_| {}).await;
    let place = daemon.place(PRODUCTION);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/envoy.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, block) = page.split_once("```yaml\n").unwrap();
    let mut config = block.split_once("```").unwrap().0.to_owned();
    let own = [
        (
            "/var/lib/marque/prod.example.org/workload.sock",
            place.workload_api_socket.display().to_string(),
        ),
        ("port_value: 8443", "port_value: 0".to_owned()),
        ("port_value: 8080", format!("port_value: {}", plain_server().await)),
        ("spiffe://prod.example.org/agent/cert-rotator", test),
    ];
    for (written, own) in own {
        assert_eq!(config.matches(written).count(), 1, "{written}");
        config = config.replace(written, &own);
    }
    let folder = daemon.path("e");
    let envoy = Envoy::start_configured(&program, &folder, "envoy.yaml", &config).await;
    let port = envoy.port("inbound").await;
    let said = mutual_tls::connect(&place.workload_api(), port, &envoy_id).await;
    assert_eq!(said.unwrap().as_bytes(), GREETING);
}
