//! As cheap a client as there is: prepared bytes out, and as much of an answer read as tells where it ends.

use std::fs;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::place::Place;

/// A connection with its handshake done.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(place: &Place) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pem = fs::read(&place.ca_file).expect("the certificate authority");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("a certificate")).expect("a root");
        }
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let url: http::Uri = place.token_endpoint.parse().expect("a URL");
        let (host, port) = (url.host().expect("a host"), url.port_u16().expect("a port"));
        let stream = TcpStream::connect((host, port)).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.expect("a handshake");
        Self { stream, read: Vec::with_capacity(16 * 1024) }
    }

    /// Sends a request and reads its answer, which must have this status. Its body.
    pub(crate) async fn ask(&mut self, request: &[u8], status: u16) -> &[u8] {
        self.stream.write_all(request).await.expect("sent");
        self.read.clear();
        loop {
            if let Some((body, end)) = end_of_answer(&self.read) {
                let answer = String::from_utf8_lossy(&self.read);
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
                assert_eq!(end, self.read.len(), "more than an answer");
                return &self.read[body..];
            }
            let read = self.stream.read_buf(&mut self.read).await.expect("an answer");
            assert!(read > 0, "the connection was closed");
        }
    }
}

/// Where the body of the answer begins and ends, once its headers are there and it too.
fn end_of_answer(read: &[u8]) -> Option<(usize, usize)> {
    let headers = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&read[..headers]).expect("headers");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let end = headers + length.unwrap_or(0_usize);
    (read.len() >= end).then_some((headers, end))
}
