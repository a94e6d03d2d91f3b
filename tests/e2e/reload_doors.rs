//! Reloading what the doors go by: limits, profiles, attestors, brokers and where listeners are. Whoever is connected stays
//! connected.

use std::fs;
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use ureq::tls::TlsConfig;

use crate::reload::{entry, folder, refused, reload, status};
use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::folder::{append, edit};
use crate::support::http::{Call, Http};
use crate::support::issuer::Issuer;
use crate::support::place::Place;
use crate::support::programs::copy_of_this_program;
use crate::support::supervisor::{Dial, Order};
use crate::support::wait::{until, within};

const DOCUMENT: &str = "trust-domain.toml";
const AUDIENCE: &str = "https://api.example.org";
const SUPERVISOR: &str = "/service/supervisor";

/// What a daemon says of one of its trust domains now.
fn told(endpoints: &Path, trust_domain: &str) -> Place {
    let places = Place::read_all(endpoints).expect("endpoints");
    places.into_iter().find(|place| place.name == trust_domain).expect("the trust domain")
}

/// A port that nobody listened on a moment ago.
fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_limit_holds_for_the_next_connection_and_closes_none() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    // Two, so that a command finds room on the admin socket while the one before it is still hanging up.
    let (mut first, mut other) = (daemon.agent(ROTATOR), daemon.agent(ROTATOR));
    first.watch().await;
    other.watch().await;
    append(
        &folder,
        DOCUMENT,
        "\n[limits]\nconnections_per_uid = 2\nhttps_connections_per_address = 1\n",
    );
    reload(&operator).await;
    let mut second = daemon.agent(SECOND_ROTATOR);
    second.try_jwt_svid(&[AUDIENCE]).await.expect_err("two connections are there already");
    // The same for the HTTPS edge.
    let place = daemon.place(PRODUCTION);
    let address = place.issuer_url.strip_prefix("https://").expect("https").to_owned();
    let held = TcpStream::connect(&address).await.expect("a connection");
    let bundle = Call::get(&place.bundle_url);
    daemon
        .http(PRODUCTION)
        .try_send(bundle.clone())
        .await
        .expect_err("a connection is there already");
    // A limit that no folder may have leaves those of now.
    edit(&folder, DOCUMENT, "connections_per_uid = 2", "connections_per_uid = 0");
    refused(&operator, "folder_invalid").await;
    second.try_jwt_svid(&[AUDIENCE]).await.expect_err("as it was");
    edit(
        &folder,
        DOCUMENT,
        "connections_per_uid = 0\nhttps_connections_per_address = 1",
        "message_bytes = 1024",
    );
    reload(&operator).await;
    let mut second = daemon.agent(SECOND_ROTATOR);
    second.try_jwt_svid(&[AUDIENCE]).await.expect("there is room");
    daemon.http(PRODUCTION).send(bundle).await.expect(200);
    drop(held);
    let long = format!("https://api.example.org/{}", "x".repeat(1024));
    let error = second.try_jwt_svid(&[&long]).await.expect_err("a long message");
    assert!(error.contains("ResourceExhausted") || error.contains("larger"), "{error}");
    // The stream that was open from the beginning is open still: it ends by the kill and by nothing else.
    operator.kill(&["agent", &place.id(ROTATOR.path)]).await;
    let ended = within("the end of its stream", first.watch_ended()).await;
    assert!(ended.contains("NoIdentityIssued") || ended.contains("PermissionDenied"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_are_switched_on_and_off_and_the_streams_of_one_that_goes_end() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    let (mut agent, mut other) = (daemon.agent(ROTATOR), daemon.agent(SECOND_ROTATOR));
    agent.jwt_svid(AUDIENCE).await;
    other.watch().await;
    // Production serves no WIT-SVIDs unless it is asked to; the first key for them is made then.
    append(
        &folder,
        DOCUMENT,
        "\n[workload_api]\nwit_svid = true\njwt_svid = false\nsplay = \"1s\"\n",
    );
    let would = operator.json(&["reload", "--dry-run"]).await;
    assert_eq!(would[0]["result"], "would_reload", "{would}");
    let keys = operator.json(&["authority", "list"]).await;
    assert!(!keys.to_string().contains("wit-svid"), "a dry run makes no key: {keys}");
    reload(&operator).await;
    agent.wit_svid().await;
    let off = agent.try_jwt_svid(&[AUDIENCE]).await.expect_err("switched off");
    assert!(off.contains("Unimplemented") || off.contains("not served"), "{off}");
    agent.x509_svid().await.expect("an X.509-SVID");
    edit(&folder, DOCUMENT, "jwt_svid = false", "jwt_svid = 1");
    refused(&operator, "folder_invalid").await;
    agent.wit_svid().await;
    edit(&folder, DOCUMENT, "jwt_svid = 1", "x509_svid = false");
    reload(&operator).await;
    let ended = within("the end of the stream", other.watch_ended()).await;
    assert!(ended.contains("Unimplemented") || ended.contains("not served"), "{ended}");
    agent.jwt_svid(AUDIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_attestors_decide_from_the_next_call_on_and_over_open_streams_at_once() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    // The digest of a program is told up to a size that the document says.
    let program = copy_of_this_program("with-a-digest");
    entry(&folder, "with-a-digest", PRODUCTION, &program);
    let digest =
        ring::digest::digest(&ring::digest::SHA256, &fs::read(&program).expect("the program"));
    let uid = format!("\"unix:uid:{}\"", Uid::effective());
    let told = format!("\"unix:sha256:{}\"", hex::encode(digest));
    edit(&folder, "entries/with-a-digest.toml", &uid, &told);
    append(&folder, DOCUMENT, "\n[attestation.unix]\nmax_executable_mib = 1\n");
    reload(&operator).await;
    let mut agent = Workload::start(&program, daemon.place(PRODUCTION));
    agent.try_jwt_svid(&[AUDIENCE]).await.expect_err("nobody knows its digest");
    edit(&folder, DOCUMENT, "max_executable_mib = 1\n", "max_executable_mib = 4096\n");
    reload(&operator).await;
    agent.jwt_svid(AUDIENCE).await;
    agent.watch().await;
    edit(&folder, DOCUMENT, "max_executable_mib = 4096\n", "max_executable_mib = 0\n");
    refused(&operator, "folder_invalid").await;
    agent.jwt_svid(AUDIENCE).await;
    edit(&folder, DOCUMENT, "max_executable_mib = 0\n", "max_executable_mib = 1\n");
    reload(&operator).await;
    let ended = within("the end of the stream", agent.watch_ended()).await;
    assert!(ended.contains("NoIdentityIssued") || ended.contains("PermissionDenied"), "{ended}");
    agent.try_jwt_svid(&[AUDIENCE]).await.expect_err("nobody knows its digest any more");
    daemon.agent(ROTATOR).jwt_svid(AUDIENCE).await;
}

fn brokers(identities: &str) -> String {
    format!(
        "\n[[brokers]]\nspiffe_id = \"spiffe://{PRODUCTION}{SUPERVISOR}\"\nreferences = [\"pid\"]\n\
         identities = [\"spiffe://{PRODUCTION}{identities}\"]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_come_change_and_go_with_their_socket() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let folder = folder(&daemon, PRODUCTION);
    let before = fs::read_to_string(folder.join(DOCUMENT)).expect("the document");
    let now = || told(&daemon.endpoints_file(), PRODUCTION);
    assert_eq!(now().broker_api_socket, None);
    append(&folder, DOCUMENT, &brokers("/agent/cert-rotator/*"));
    reload(&operator).await;
    let socket = now().broker_api_socket.expect("a socket");
    let status = operator.json(&["status"]).await;
    assert_eq!(status[0]["broker_api_socket"], json!(socket), "{status}");
    let mut supervisor = daemon.service(PRODUCTION, SUPERVISOR, "supervisor-reloaded").await;
    let program = copy_of_this_program(ROTATOR.program).display().to_string();
    let started = supervisor.supervise(Order::Start { program }).await.expect("an agent");
    let pid = started["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    let dial = Dial::proper(&now());
    let stream = || Order::X509 { dial: dial.clone(), pid };
    let own = json!([daemon.place(PRODUCTION).id(ROTATOR.path)]);
    assert_eq!(supervisor.supervise(stream()).await, Ok(own.clone()));
    // What stays as it was for this broker ends nothing; another rule ends its streams.
    append(&folder, DOCUMENT, "\n[limits]\ncalls_per_broker = 9\n");
    reload(&operator).await;
    edit(&folder, DOCUMENT, "/agent/cert-rotator/*", "/agent/other/*");
    reload(&operator).await;
    let ended = supervisor.supervise(Order::Next).await.expect_err("another rule");
    assert!(ended.contains("Unavailable"), "{ended}");
    let ended = supervisor.supervise(stream()).await.expect_err("not on the list");
    assert!(ended.contains("WORKLOAD_NOT_ENTITLED"), "{ended}");
    edit(&folder, DOCUMENT, "references = [\"pid\"]", "references = [\"name\"]");
    refused(&operator, "folder_invalid").await;
    assert!(socket.exists());
    // The list is gone, and the socket with it; and back.
    fs::write(folder.join(DOCUMENT), &before).expect("write the document");
    reload(&operator).await;
    assert!(!socket.exists() && now().broker_api_socket.is_none());
    append(&folder, DOCUMENT, &brokers("/agent/cert-rotator/*"));
    reload(&operator).await;
    assert_eq!(supervisor.supervise(stream()).await, Ok(own));
    UnixStream::connect(&socket).await.expect("it is served");
}

/// Gets something from whoever is there: whom the certificate names is looked at elsewhere.
async fn get(port: u16) -> Result<Value, String> {
    tokio::task::spawn_blocking(move || {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .disable_verification(true)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        let answer = agent.get(format!("https://localhost:{port}/")).call();
        let text = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        let text = text.map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    })
    .await
    .expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_endpoint_comes_moves_and_goes_and_an_address_that_is_taken_is_refused() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let folder = folder(&daemon, NON_PRODUCTION);
    let now = || told(&daemon.endpoints_file(), NON_PRODUCTION).bundle_spiffe;
    let taken = StdListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("an address");
    let before = status(&operator).await;
    append(&folder, DOCUMENT, &format!("\n[bundle_endpoint]\nhttps_spiffe = \"{at}\"\n"));
    let report = refused(&operator, "folder_invalid").await;
    let message = report["findings"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&at.to_string()), "{report}");
    assert_eq!(status(&operator).await["digest"], before["digest"]);
    assert!(now().is_none());
    drop(taken);
    reload(&operator).await;
    assert_eq!(now().expect("an endpoint").url, format!("https://localhost:{}/", at.port()));
    assert!(get(at.port()).await.expect("a bundle")["keys"].is_array());
    let port = free_port();
    edit(&folder, DOCUMENT, &at.to_string(), &format!("127.0.0.1:{port}"));
    reload(&operator).await;
    assert!(get(port).await.expect("a bundle")["keys"].is_array());
    until("the end of the old one", async || get(at.port()).await.is_err().then_some(())).await;
    // Another name for the same listener.
    append(&folder, DOCUMENT, "https_spiffe_url = \"https://bundle.example.org/\"\n");
    reload(&operator).await;
    assert_eq!(now().expect("an endpoint").url, "https://bundle.example.org/");
    get(port).await.expect("the same listener");
    let text = fs::read_to_string(folder.join(DOCUMENT)).expect("the document");
    let (without, _) = text.split_once("\n[bundle_endpoint]").expect("the table");
    fs::write(folder.join(DOCUMENT), without).expect("write the document");
    reload(&operator).await;
    assert!(now().is_none());
    until("the end of the endpoint", async || get(port).await.is_err().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_below_are_listened_to_from_a_reload_on_and_no_longer_than_that() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let folder = folder(&daemon, NON_PRODUCTION);
    let now = || told(&daemon.endpoints_file(), NON_PRODUCTION).downstream;
    let (first, second) = (free_port(), free_port());
    let before = fs::read_to_string(folder.join(DOCUMENT)).expect("the document");
    let below = format!(
        "\n[authorities]\npath_length = 1\n\n[downstream]\nlisten = \"127.0.0.1:{first}\"\n\
         spiffe_ids = [\"spiffe://{NON_PRODUCTION}/issuer/eu\"]\nmax_lifetime = \"24h\"\n"
    );
    append(&folder, DOCUMENT, &below);
    reload(&operator).await;
    let at = now().expect("a listener");
    assert_eq!(at.address, format!("127.0.0.1:{first}"));
    assert_eq!(at.spiffe_id, format!("spiffe://{NON_PRODUCTION}/spire/server"));
    let connection = TcpStream::connect(&at.address).await.expect("it listens");
    // Others may ask there: it is the same listener.
    edit(&folder, DOCUMENT, "/issuer/eu\"]", "/issuer/us\"]");
    reload(&operator).await;
    edit(&folder, DOCUMENT, &format!(":{first}\""), &format!(":{second}\""));
    reload(&operator).await;
    assert_eq!(now().expect("a listener").address, format!("127.0.0.1:{second}"));
    TcpStream::connect(("127.0.0.1", second)).await.expect("it listens");
    let closed = async |port| TcpStream::connect(("127.0.0.1", port)).await.is_err().then_some(());
    drop(connection);
    until("the end of the first", async || closed(first).await).await;
    fs::write(folder.join(DOCUMENT), before).expect("write the document");
    reload(&operator).await;
    assert!(now().is_none());
    until("the end of the second", async || closed(second).await).await;
}

/// Has an issuer be known by a name of its own, and listen at this port.
fn named(folder: &Path, port: u16) {
    let text = fs::read_to_string(folder.join(DOCUMENT)).expect("the document");
    let listen = "listen = \"127.0.0.1:0\"";
    assert!(text.contains(listen), "{text}");
    let named = format!("listen = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"");
    fs::write(folder.join(DOCUMENT), text.replace(listen, &named)).expect("write the document");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_https_edge_moves_and_a_request_that_is_open_is_answered_where_it_came() {
    const NAME: &str = "moving.example.org";
    let (old, new) = (free_port(), free_port());
    let issuer = Issuer::start_with(NAME, |folder| named(folder, old)).await;
    let (operator, folder) = (issuer.operator(), issuer.path("t").join(NAME));
    let http = Http::trusting(&issuer.place.ca_file);
    let bundle_at = |port: u16| Call::get(&format!("https://localhost:{port}/spiffe/bundle"));
    http.send(bundle_at(old)).await.expect(200);
    // Taken: everything is as it was.
    let taken = StdListener::bind(("127.0.0.1", new)).expect("the port");
    let listens = |port: u16| format!("listen = \"127.0.0.1:{port}\"");
    edit(&folder, DOCUMENT, &listens(old), &listens(new));
    let report = refused(&operator, "folder_invalid").await;
    assert!(report["findings"][0]["message"].to_string().contains("taken"), "{report}");
    http.send(bundle_at(old)).await.expect(200);
    drop(taken);
    // Half of a request is there when the edge moves, and the rest comes after.
    let mut open = connect(old, &issuer.place.ca_file).await;
    open.write_all(b"GET /spiffe/bundle HTTP/1.1\r\nhost: localhost\r\n").await.expect("half");
    open.flush().await.expect("half");
    let whole = connect(old, &issuer.place.ca_file).await;
    reload(&operator).await;
    http.send(bundle_at(new)).await.expect(200);
    open.write_all(b"connection: close\r\n\r\n").await.expect("the rest");
    let mut answer = Vec::new();
    let _how_it_ended = within("the answer", open.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    drop(whole);
    until("the end of the old listener", async || {
        TcpStream::connect(("127.0.0.1", old)).await.is_err().then_some(())
    })
    .await;
    // The name by which tokens know the issuer is the same, and needs a restart.
    edit(&folder, DOCUMENT, "url = \"https://localhost", "url = \"https://elsewhere.example.org");
    refused(&operator, "restart_required").await;
    http.send(bundle_at(new)).await.expect(200);
}

/// A TLS connection to a port of this host.
async fn connect(port: u16, ca_file: &Path) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(ca_file).expect("the certificate authority");
    for certificate in rustls_pki_types::CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect(name, stream).await.expect("a handshake")
}
