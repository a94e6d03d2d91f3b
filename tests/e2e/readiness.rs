//! A daemon says that it is not ready for as long as it is not: while it starts, while it drains, while the log is not signed.
//! What a collector did not take when it ends is counted.

use std::net::Ipv4Addr;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::collector::{Collector, Manner};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER};
use crate::support::http::Call;
use crate::support::oauth::Client;
use crate::support::telemetry::{Numbers, ask, try_ask};
use crate::support::wait::until;

/// The database of the production trust domain, for whoever is in its way.
fn database(daemon: &Daemon) -> rusqlite::Connection {
    let file = daemon.data_dir().join(PRODUCTION).join("private/marque.sqlite");
    rusqlite::Connection::open(file).expect("the database")
}

fn codes(of: &Value) -> Vec<&str> {
    let reasons = of["reasons"].as_array().expect("reasons").iter();
    reasons.map(|reason| reason["code"].as_str().expect("a code")).collect()
}

fn of_domain<'a>(health: &'a Value, name: &str) -> &'a Value {
    let domains = health["trust_domains"].as_array().expect("trust domains");
    domains.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{health}"))
}

/// That `reason`, and no other, keeps a trust domain from being ready, says the scrape.
#[track_caller]
fn only(numbers: &Numbers, name: &str, reason: &str) {
    let domain = ("trust_domain", name);
    let told = (
        numbers.sum("marque_ready", &[domain]),
        numbers.sum("marque_not_ready", &[domain, ("reason", reason)]),
        numbers.sum("marque_not_ready", &[domain]),
    );
    assert_eq!(told, (0.0, 1.0, 1.0), "{name} {reason}");
}

/// A request of which the daemon has the head, and waits for the rest.
async fn half_a_request(daemon: &Daemon) -> TlsStream<TcpStream> {
    let place = daemon.place(PRODUCTION);
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(&place.ca_file).expect("the authority");
    roots.add(authority).expect("it is one");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let port = place.issuer_url.rsplit(':').next().and_then(|port| port.parse().ok());
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.expect("a port"))).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(name, stream.expect("a connection")).await.expect("TLS");
    let head = "POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 64\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    tls.write_all(head.as_bytes()).await.expect("written");
    tls.flush().await.expect("sent");
    // It is being served from here on.
    let mut answer = [0; 12];
    tls.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 100");
    tls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_drains_is_not_ready_and_says_so() {
    let mut daemon = Daemon::start().await;
    let open = half_a_request(&daemon).await;
    assert_eq!(ask(&daemon, "/ready").await.status, 200);
    kill(daemon.pid(), Signal::SIGTERM).expect("SIGTERM");
    let told = until("a daemon that drains", async || {
        let told = ask(&daemon, "/ready").await;
        (told.status == 503).then_some(told)
    })
    .await
    .json();
    assert_eq!(codes(&told), ["draining"], "{told}");
    let numbers = Numbers::of(&daemon).await;
    for name in [PRODUCTION, NON_PRODUCTION] {
        assert_eq!(codes(of_domain(&told, name)), ["draining"], "{told}");
        only(&numbers, name, "draining");
    }
    assert_eq!(ask(&daemon, "/live").await.status, 200);
    drop(open);
    assert!(daemon.stop().await.success(), "{}", daemon.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_starts_is_not_ready_and_says_so() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    // It has to wait for its database, and has nothing to serve before.
    let holder = database(&daemon);
    holder.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    daemon.begin();
    let socket = daemon.data_dir().join("telemetry.sock");
    let told = until("a daemon that starts", async || {
        let told = try_ask(&socket, "/ready").await.ok()?.json();
        (told["trust_domains"].as_array().map(Vec::len) == Some(2)).then_some(told)
    })
    .await;
    assert_eq!((codes(&told), &told["ready"]), (vec!["starting"], &json!(false)), "{told}");
    assert_eq!(codes(of_domain(&told, PRODUCTION)), ["starting"], "{told}");
    let scrape = try_ask(&socket, "/metrics").await.expect("a scrape").body;
    only(&Numbers::read(&scrape), PRODUCTION, "starting");
    holder.execute_batch("ROLLBACK").expect("no lock");
    daemon.begun().await;
    until("a daemon that is ready", async || {
        (ask(&daemon, "/ready").await.status == 200).then_some(())
    })
    .await;
    let numbers = Numbers::of(&daemon).await;
    let domain = ("trust_domain", PRODUCTION);
    assert_eq!(numbers.sum("marque_ready", &[domain]), 1.0);
    assert_eq!(numbers.sum("marque_not_ready", &[domain]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_log_is_not_signed_is_not_ready_and_says_so() {
    let daemon = Daemon::start().await;
    let refuse = "CREATE TRIGGER no_checkpoint BEFORE %% ON checkpoints BEGIN SELECT RAISE(ABORT, 'no'); END;";
    let triggers: String = ["INSERT", "UPDATE"]
        .map(|what| refuse.replace("no_checkpoint", &format!("no_{what}")).replace("%%", what))
        .concat();
    let meddler = database(&daemon);
    meddler.busy_timeout(std::time::Duration::from_secs(10)).expect("patience");
    meddler.execute_batch(&triggers).expect("the triggers");
    // The log grows.
    let agent = daemon.place(PRODUCTION).id("/agent/nobody");
    daemon.operator(PRODUCTION).kill(&["agent", &agent]).await;
    let told = until("a log that is not signed", async || {
        let told = ask(&daemon, "/ready").await;
        (told.status == 503).then_some(told)
    })
    .await
    .json();
    assert_eq!(codes(of_domain(&told, PRODUCTION)), ["log_unsigned"], "{told}");
    assert_eq!(of_domain(&told, NON_PRODUCTION)["ready"], true, "{told}");
    only(&Numbers::of(&daemon).await, PRODUCTION, "log_unsigned");
    meddler.execute_batch("DROP TRIGGER no_INSERT; DROP TRIGGER no_UPDATE;").expect("none");
    until("a daemon that is ready again", async || {
        (ask(&daemon, "/ready").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_did_not_take_at_the_end_is_counted_and_said() {
    let collector = Collector::start(Manner::Hangs).await;
    let arguments = vec!["--otlp-endpoint".to_owned(), collector.url.clone()];
    let mut daemon = Daemon::start_told(|_| {}, arguments).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    for _ in 0..3 {
        restarter.send(Call::get(&restarter.place.jwks_url)).await.expect(200);
    }
    drop(restarter);
    assert!(daemon.stop().await.success());
    let said = daemon.output();
    let lost = said.lines().find(|line| {
        line.contains("telemetry was dropped as the daemon ended") && line.contains("traces")
    });
    let lost = lost.unwrap_or_else(|| panic!("{said}"));
    let count = lost.split("lost=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let count: u64 = count.and_then(|count| count.parse().ok()).expect("a number");
    assert!(count >= 3, "{lost}");
    // The metrics go last: they say how much was lost, and that nobody is served any more.
    let last = collector.taken("/v1/metrics");
    let last = String::from_utf8_lossy(&last);
    assert!(last.contains("marque_telemetry_dropped_total") && last.contains("ended"));
    assert!(last.contains("draining"));
}
