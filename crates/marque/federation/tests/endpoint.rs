//! A bundle endpoint that answers as it is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use marque_testkit::{START, ScratchTrustDomain, ScratchX509Svid};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::tls::{DevCertificates, server_config};

#[derive(Clone)]
pub(crate) enum Answer {
    /// 200 with this body.
    Document(String),
    /// Another status.
    Status(u16),
    /// 307 with this location.
    Redirect(String),
    /// The head of an answer that never goes on.
    Silence,
}

/// An endpoint on a port of its own; gone when dropped.
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    /// For `https_web`: who signed its certificate.
    pub(crate) ca_file: PathBuf,
    shared: Arc<Shared>,
    _certificates: TempDir,
    _serving: JoinSet<()>,
}

struct Shared {
    tls: Mutex<Arc<ServerConfig>>,
    answers: Mutex<BTreeMap<String, Answer>>,
    /// The heads of all requests.
    asked: Mutex<Vec<String>>,
}

impl Endpoint {
    /// With a certificate for `localhost`.
    pub(crate) async fn web() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = DevCertificates::make_or_load(folder.path(), START).unwrap();
        Self::start(folder, certificates.server_config()).await
    }

    /// With this X.509-SVID, whoever believes it.
    pub(super) async fn spiffe(svid: &ScratchX509Svid) -> Self {
        Self::start(tempfile::tempdir().unwrap(), config(svid)).await
    }

    async fn start(certificates: TempDir, tls: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            tls: Mutex::new(tls),
            answers: Mutex::default(),
            asked: Mutex::default(),
        });
        let mut serving = JoinSet::new();
        let state = Arc::clone(&shared);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&state)));
            }
        });
        let ca_file = certificates.path().join("ca.pem");
        Self { port, ca_file, shared, _certificates: certificates, _serving: serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Answers so at `path` from now on; 404 where nothing was said.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(super) fn document(&self, document: String) {
        self.answer("/bundle", Answer::Document(document));
    }

    /// Shows this X.509-SVID from now on.
    pub(super) fn show(&self, svid: &ScratchX509Svid) {
        *self.shared.tls.lock().unwrap() = config(svid);
    }

    pub(super) fn set_tls(&self, tls: ServerConfig) {
        *self.shared.tls.lock().unwrap() = Arc::new(tls);
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The paths of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        let path = |head: &String| head.split(' ').nth(1).unwrap().to_owned();
        self.heads().iter().map(path).collect()
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let tls = Arc::clone(&shared.tls.lock().unwrap());
    let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    shared.asked.lock().unwrap().push(head);
    let answer = shared.answers.lock().unwrap().get(&path).cloned();
    let text = match answer.unwrap_or(Answer::Status(404)) {
        Answer::Document(body) => {
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        }
        Answer::Status(status) => format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"),
        Answer::Redirect(to) => {
            format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        Answer::Silence => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{".to_owned(),
    };
    // A client that has read enough hangs up.
    drop(stream.write_all(text.as_bytes()).await);
    drop(stream.flush().await);
    let mut rest = [0; 64];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

fn config(svid: &ScratchX509Svid) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key.clone()));
    server_config(svid.chain.clone(), key).unwrap()
}

/// An endpoint that shows an X.509-SVID of `partner`.
pub(super) async fn of(partner: &ScratchTrustDomain) -> Endpoint {
    Endpoint::spiffe(&partner.x509_svid(&super::server_id(partner))).await
}
