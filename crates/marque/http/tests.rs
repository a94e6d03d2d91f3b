//! The HTTP edge over real TLS sockets, with an issuer that only pretends.

mod accept;
mod backchannel;
mod bundle;
mod discipline;
mod discovery;
pub(super) mod door;
mod framing;
mod intents;
mod leaving;
mod log;
mod status;
mod token;

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use jiff::Timestamp;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use self::door::FakeDoor;
use super::{HttpLimits, HttpServer, ListenerHandle, router};
use crate::tls::DevCertificates;

/// A server on a port and with certificates of its own.
pub(super) struct Server {
    address: SocketAddr,
    door: Arc<FakeDoor>,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    /// Has another listener take its place.
    replaced: CancellationToken,
    listener: ListenerHandle,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with(FakeDoor::default(), HttpLimits::default()).await
    }

    pub(super) async fn with(door: FakeDoor, limits: HttpLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = DevCertificates::make_or_load(folder.path(), wall_clock()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = HttpServer::bind(address, certificates.server_config(), limits).await.unwrap();
        let (address, listener) = (server.local_addr(), server.handle());
        let door = Arc::new(door);
        let routes = server.routers(router(Arc::clone(&door) as _));
        let (stop, stopped) = oneshot::channel::<()>();
        let (replaced, stopped) = (CancellationToken::new(), async move { drop(stopped.await) });
        let running = server.run_or_be_replaced(routes, stopped, replaced.clone());
        let running = tokio::spawn(running);
        Self { address, door, folder, stop: Some(stop), running, replaced, listener }
    }

    fn stop(&mut self) {
        drop(self.stop.take());
    }

    async fn connect(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One HTTP/1.1 request as text, on a connection of its own.
    pub(super) async fn ask(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect(client(self.folder.path())).await.unwrap();
        stream.write_all(request).await.unwrap();
        Answer::read(stream).await
    }

    pub(super) async fn get(&self, path: &str, headers: &str) -> Answer {
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        self.ask(head.as_bytes()).await
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        self.ask(post(path, headers, body).as_bytes()).await
    }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    async fn read(mut stream: TlsStream<TcpStream>) -> Self {
        let mut bytes = Vec::new();
        // A server that closes without saying goodbye in TLS has still answered.
        let _ended = stream.read_to_end(&mut bytes).await;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn assert_never_stored(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("pragma"), Some("no-cache"));
    }
}

/// A client that trusts the certificates of a folder and shows none.
fn client(folder: &Path) -> ClientConfig {
    builder(folder, rustls::ALL_VERSIONS).with_no_client_auth()
}

fn builder(
    folder: &Path,
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

#[expect(clippy::disallowed_methods, reason = "TLS clients judge certificates by the real time")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}
