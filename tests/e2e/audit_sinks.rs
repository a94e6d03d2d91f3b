//! Sinks of the log: records and signed checkpoints reach a folder, an HTTP server, a collector of OpenTelemetry and every
//! kind of syslog receiver, each a real one; over failures and a restart nothing is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use regex::Regex;
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};
use tokio_rustls::TlsAcceptor;

use crate::audit_export::read_by_others;
use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::oauth::Client;
use crate::support::operator::run_marque;
use crate::support::wait::until;

const TOKEN: &str = "e2e-audit-sink-token";

/// A server of the test's own: what came to each path, and what is answered.
#[derive(Debug, Clone)]
struct Receiver {
    came: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
    status: Arc<Mutex<StatusCode>>,
    url: String,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let own = Self::at(url);
        let app = own.app();
        tokio::spawn(async move { axum::serve(listener, app).await });
        own
    }

    /// Over TLS, with this acceptor's certificate.
    async fn start_tls(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let own = Self::at(format!("https://localhost:{port}"));
        let app = own.app();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, app) = (acceptor.clone(), app.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let app = TowerToHyperService::new(app);
                    let serving = hyper::server::conn::http1::Builder::new();
                    drop(serving.serve_connection(TokioIo::new(stream), app).await);
                });
            }
        });
        own
    }

    fn at(url: String) -> Self {
        Self { came: Arc::default(), status: Arc::new(Mutex::new(StatusCode::OK)), url }
    }

    fn app(&self) -> axum::Router {
        let receiver = self.clone();
        let take = move |uri: axum::http::Uri, headers: HeaderMap, body: Bytes| {
            let status = *receiver.status.lock().unwrap();
            let body = String::from_utf8(body.to_vec()).expect("text");
            if status.is_success() {
                receiver.came.lock().unwrap().push((uri.path().to_owned(), headers, body));
            }
            async move { status }
        };
        axum::Router::new().fallback(take)
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }

    fn came_to(&self, path: &str) -> Vec<(HeaderMap, String)> {
        let came = self.came.lock().unwrap();
        let own = came.iter().filter(|(at, _, _)| at == path);
        own.map(|(_, headers, body)| (headers.clone(), body.clone())).collect()
    }
}

fn append(trust_domains: &Path, tables: &str) {
    let file = trust_domains.join(NON_PRODUCTION).join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    fs::write(&file, format!("{text}\n{tables}\n")).expect("write the document");
}

fn sink(name: &str, sends: &str, to: &str, more: &str) -> String {
    let sends = match sends {
        "checkpoints" => "sends = \"checkpoints\"\nevery = \"1s\"".to_owned(),
        format => format!("sends = \"records\"\nformat = \"{format}\""),
    };
    format!("[[audit.sinks]]\nname = \"{name}\"\n{sends}\nto = \"{to}\"\n{more}\n")
}

/// The sinks in `marque status`, by name.
async fn standing(daemon: &Daemon, name: &str) -> Value {
    let status = daemon.operator(NON_PRODUCTION).json(&["status"]).await;
    let sinks = status[0]["audit_sinks"].as_array().expect("the sinks").clone();
    sinks.into_iter().find(|sink| sink["name"] == name).expect("the sink")
}

async fn caught_up(daemon: &Daemon, names: &[&str]) {
    for name in names {
        until("a sink that has everything", async || {
            (standing(daemon, name).await["behind"] == 0).then_some(())
        })
        .await;
    }
}

/// The numbers of CloudEvents in bodies that came.
fn numbers(bodies: &[(HeaderMap, String)]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for (_, body) in bodies {
        let events: Vec<Value> = serde_json::from_str(body).expect("a batch of events");
        let id = |event: &Value| event["id"].as_str().unwrap().parse::<u64>().unwrap();
        numbers.extend(events.iter().map(id));
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn records_reach_an_http_server_a_collector_and_a_folder_and_nothing_is_left_out() {
    let receiver = Receiver::start().await;
    let kept = tempfile::tempdir().expect("a folder");
    let mut daemon = Daemon::start_with(|trust_domains| {
        let folder = trust_domains.join(NON_PRODUCTION);
        fs::write(folder.join("token"), format!("{TOKEN}\n")).expect("write the token");
        let tables = [
            sink(
                "events",
                "cloudevents",
                &format!("{}/events", receiver.url),
                "bearer_file = \"token\"",
            ),
            sink("otel", "otlp", &format!("{}/v1/logs", receiver.url), ""),
            sink("files", "ocsf", &format!("file://{}", kept.path().display()), ""),
        ];
        append(trust_domains, &tables.concat());
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    caught_up(&daemon, &["events", "otel", "files"]).await;
    let (headers, _) = receiver.came_to("/events")[0].clone();
    assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
    assert!(headers["marque-records"].to_str().unwrap().starts_with("0-"));
    assert!(receiver.came_to("/v1/logs")[0].0.get("authorization").is_none());

    // A receiver that takes nothing holds up neither the issuer nor the others, and is told of.
    receiver.answers(503);
    agent.ask_restart().await;
    caught_up(&daemon, &["files"]).await;
    let failing = until("a sink that falls behind", async || {
        let sink = standing(&daemon, "events").await;
        (sink["failed"].as_u64()? > 0).then_some(sink)
    })
    .await;
    assert_eq!(failing["failure"], "answered with status 503");
    assert!(failing["behind"].as_u64() > Some(0) && failing["retry_at"].is_string(), "{failing}");
    let metrics = daemon.operator(NON_PRODUCTION).run(&["metrics"]).await.succeeded().out;
    let lag =
        Regex::new("marque_audit_sink_lag_records\\{[^}]*sink=.{0,2}events[^}]*\\} [1-9]").unwrap();
    assert!(lag.is_match(&metrics), "{metrics}");
    assert!(daemon.output().contains("a push was not taken by an audit sink"));

    // It goes on where it was, in another process.
    daemon.stop().await;
    receiver.answers(200);
    daemon.launch().await;
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    caught_up(&daemon, &["events", "otel", "files"]).await;
    let came = numbers(&receiver.came_to("/events"));
    let distinct: BTreeSet<u64> = came.iter().copied().collect();
    let last = *distinct.last().expect("records");
    assert_eq!(distinct, (0..=last).collect(), "{came:?}");
    for secret in [TOKEN, &agent.svid] {
        assert!(!daemon.output().contains(secret), "{secret}");
    }

    let logs: Vec<String> =
        receiver.came_to("/v1/logs").into_iter().map(|(_, body)| body).collect();
    if let Some(read) = read_by_others("otlp", &logs).await {
        let read: BTreeSet<u64> = read.iter().map(|one| one["seq"].as_u64().unwrap()).collect();
        assert_eq!(read, (0..=last).collect());
    }
    let mut files: Vec<_> =
        fs::read_dir(kept.path()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let lines: Vec<String> = files
        .iter()
        .flat_map(|file| {
            fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert!(files.len() > 1 && files[0].ends_with("00000000000000000000.ocsf.jsonl"), "{files:?}");
    if let Some(read) = read_by_others("ocsf", &lines).await {
        let read: Vec<u64> = read.iter().map(|one| one["seq"].as_u64().unwrap()).collect();
        assert_eq!(read, (0..read.len() as u64).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_were_pushed_show_whether_the_log_is_still_the_same() {
    let receiver = Receiver::start().await;
    let kept = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start_with(|trust_domains| {
        let tables = [
            sink("witness", "checkpoints", &format!("{}/checkpoint", receiver.url), ""),
            sink("notes", "checkpoints", &format!("file://{}", kept.path().display()), ""),
        ];
        append(trust_domains, &tables.concat());
    })
    .await;
    caught_up(&daemon, &["witness", "notes"]).await;
    let early = fs::read_dir(kept.path()).unwrap().next().expect("a note").unwrap().path();
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    caught_up(&daemon, &["witness", "notes"]).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let pushed = receiver.came_to("/checkpoint");
    let file = daemon.path("pushed.note");
    fs::write(&file, &pushed.last().expect("a checkpoint").1).expect("keep it");
    for note in [&early, &file] {
        let note = note.display().to_string();
        operator.run(&["audit", "verify", "--checkpoint", &note]).await.succeeded();
    }
    // Another trust domain's log does not contain it.
    let other = daemon.operator(crate::support::daemon::PRODUCTION);
    let note = early.display().to_string();
    other.run(&["audit", "verify", "--checkpoint", &note]).await.failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_checkpoints_reach_an_https_server_of_the_named_authority_and_no_other() {
    let [own, others] = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("one")];
    let receiver = Receiver::start_tls(certificate(own.path())).await;
    certificate(others.path());
    let daemon = Daemon::start_with(|trust_domains| {
        let folder = trust_domains.join(NON_PRODUCTION);
        fs::write(folder.join("token"), format!("{TOKEN}\n")).expect("write the token");
        let ca = |of: &Path| format!("ca_file = \"{}\"", of.join("syslog-ca.pem").display());
        let to = |path: &str| format!("{}{path}", receiver.url);
        let bearer = format!("{}\nbearer_file = \"token\"", ca(own.path()));
        let tables = [
            sink("events", "cloudevents", &to("/events"), &bearer),
            sink("notes", "checkpoints", &to("/notes"), &ca(own.path())),
            sink("misled", "cloudevents", &to("/misled"), &ca(others.path())),
        ];
        append(trust_domains, &tables.concat());
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    caught_up(&daemon, &["events", "notes"]).await;
    let came = receiver.came_to("/events");
    assert_eq!(came[0].0["authorization"], format!("Bearer {TOKEN}"));
    let numbers: BTreeSet<u64> = numbers(&came).into_iter().collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect());
    assert!(receiver.came_to("/notes")[0].1.starts_with("dev.example.org/marque/audit\n"));
    // Whoever cannot prove by the named authority who it is gets nothing.
    let misled = until("a sink that does not trust", async || {
        let sink = standing(&daemon, "misled").await;
        (sink["failed"].as_u64()? > 0).then_some(sink)
    })
    .await;
    assert!(misled["failure"].as_str().unwrap().contains("connect to `localhost"), "{misled}");
    assert!(receiver.came_to("/misled").is_empty());
}

/// Everything that a connection says until its other side ends it.
async fn whole(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("a stream that ends");
    bytes
}

/// Messages behind their length (RFC 6587 section 3.4.1).
fn framed(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').expect("a length");
        let length: usize =
            std::str::from_utf8(&bytes[..blank]).unwrap().parse().expect("a length");
        let end = blank + 1 + length;
        messages.push(String::from_utf8(bytes[blank + 1..end].to_vec()).expect("text"));
        bytes = &bytes[end..];
    }
    messages
}

/// What a message says, after its header is found to be that of RFC 5424 section 6.
fn said(message: &str) -> Value {
    let form = Regex::new(
        r"^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) dev\.example\.org marque - ([!-~]{1,32}) - (\{.*\})$",
    )
    .unwrap();
    let parts = form.captures(message).unwrap_or_else(|| panic!("{message}"));
    let priority: u16 = parts[1].parse().unwrap();
    assert_eq!(priority / 8, 13, "{message}");
    serde_json::from_str(&parts[4]).expect("JSON")
}

type Heard = Arc<Mutex<Vec<String>>>;

fn certificate(folder: &Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
    fs::write(folder.join("syslog-ca.pem"), made.cert.pem()).expect("write it");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key)
    .expect("a configuration");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_reach_every_kind_of_syslog_receiver() {
    let folder = tempfile::tempdir().expect("a folder");
    let heard: [Heard; 4] = Default::default();
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let unix = UnixDatagram::bind(folder.path().join("log")).expect("a socket");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let tls = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let ports = [
        udp.local_addr().unwrap().port(),
        tcp.local_addr().unwrap().port(),
        tls.local_addr().unwrap().port(),
    ];
    let acceptor = certificate(folder.path());
    let [by_udp, by_unix, by_tcp, by_tls] = heard.clone();
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(length) = udp.recv(&mut bytes).await {
            by_udp.lock().unwrap().push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
    });
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(length) = unix.recv(&mut bytes).await {
            by_unix.lock().unwrap().push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            let messages = framed(&whole(stream).await);
            by_tcp.lock().unwrap().extend(messages);
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = tls.accept().await {
            let messages = framed(&whole(acceptor.accept(stream).await.expect("TLS")).await);
            by_tls.lock().unwrap().extend(messages);
        }
    });
    let daemon = Daemon::start_with(|trust_domains| {
        let ca = format!("ca_file = \"{}\"", folder.path().join("syslog-ca.pem").display());
        let socket = format!("syslog+unix://{}", folder.path().join("log").display());
        let tables = [
            sink("udp", "cadf", &format!("syslog+udp://127.0.0.1:{}", ports[0]), ""),
            sink("unix", "otlp", &socket, ""),
            sink("tcp", "ocsf", &format!("syslog+tcp://127.0.0.1:{}", ports[1]), ""),
            sink("tls", "cloudevents", &format!("syslog+tls://localhost:{}", ports[2]), &ca),
        ];
        append(trust_domains, &tables.concat());
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    caught_up(&daemon, &["udp", "unix", "tcp", "tls"]).await;
    for heard in &heard {
        let messages = until("the intent's records", async || {
            let messages = heard.lock().unwrap().clone();
            messages.iter().any(|message| message.contains(&intent)).then_some(messages)
        })
        .await;
        for message in messages {
            assert!(said(&message).is_object());
        }
    }
    let events: Vec<Value> = heard[3].lock().unwrap().iter().map(|message| said(message)).collect();
    let ids: Vec<String> =
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..ids.len()).map(|id| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_sink_that_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::support::folder::copy(&crate::support::folder::shipped(), folder.path());
    let checked = folder.path().join(NON_PRODUCTION);
    let check = async || {
        let arguments = ["check".to_owned(), checked.display().to_string()];
        run_marque(&arguments).await
    };
    check().await.succeeded();
    append(folder.path(), &sink("siem", "leef", "file:///var/log", ""));
    let refused = check().await.failed();
    let told = format!("{}{}", refused.out, refused.err);
    assert!(told.contains("`leef`") && told.contains("trust-domain.toml:"), "{told}");
}
