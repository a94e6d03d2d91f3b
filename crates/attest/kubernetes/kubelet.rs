//! The kubelet's own API: `GET /pods`, over TLS or, on the loopback, its read-only port.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::pods::Pods;
use super::tls;
use crate::http::Connection;
use crate::source::SourceError;

/// Where a kubelet is, and how it is asked. Files are read anew for each question, so that rotated
/// tokens and certificates count at once, and no TLS session outlives the certificates it was made
/// with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubelet {
    /// A DNS name or IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `None` on the read-only port, which has neither encryption nor authentication: whoever
    /// listens at the address is believed.
    pub tls: Option<KubeletTls>,
    /// How long one question may take.
    pub timeout: Duration,
    /// The longest list that is read, in bytes.
    pub max_response: usize,
}

/// How a kubelet and this node prove themselves to one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletTls {
    /// PEM certificates in which the kubelet's chain must end. `None` is dangerous: whoever
    /// answers at the address is believed.
    pub ca_file: Option<PathBuf>,
    /// The name that the kubelet's certificate must have.
    pub server_name: String,
    /// A bearer token.
    pub token_file: Option<PathBuf>,
    /// PEM certificate chain and private key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl Kubelet {
    /// The pods of the node as they are now.
    pub(super) async fn pods(&self) -> Result<Pods, SourceError> {
        let limit = self.timeout;
        timeout(limit, self.ask()).await.unwrap_or(Err(SourceError::Deadline { limit }))
    }

    async fn ask(&self) -> Result<Pods, SourceError> {
        let Self { host, port, tls, timeout: _, max_response } = self;
        let to =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let connect = TcpStream::connect((host.as_str(), *port));
        let connected = async {
            connect.await.map_err(|source| SourceError::Connect { to: to.clone(), source })
        };
        let (mut connection, token) = match tls {
            None => (Connection::open(connected.await?, *max_response).await?, None),
            Some(tls) => {
                let (config, name) = tls::client(tls).await?;
                let token = match &tls.token_file {
                    Some(path) => Some(bearer(path).await?),
                    None => None,
                };
                let stream = TlsConnector::from(config).connect(name, connected.await?).await;
                let stream =
                    stream.map_err(|source| SourceError::Tls { to: to.clone(), source })?;
                (Connection::open(stream, *max_response).await?, token)
            }
        };
        let answer = connection.get(&to, "/pods", token).await?;
        if answer.status.as_u16() != 200 {
            return Err(SourceError::Status { status: answer.status.as_u16() });
        }
        serde_json::from_slice(&answer.body).map_err(|error| SourceError::malformed(&error))
    }
}

/// The `Authorization` header with the token in a file.
async fn bearer(path: &Path) -> Result<HeaderValue, SourceError> {
    let text = Zeroizing::new(tls::read(path).await?);
    let token = std::str::from_utf8(&text).map(str::trim).ok().filter(|token| !token.is_empty());
    let header = token.map(|token| Zeroizing::new(format!("Bearer {token}")));
    let header = header.and_then(|header| HeaderValue::from_str(&header).ok());
    let mut header =
        header.ok_or_else(|| SourceError::Content { path: path.to_owned(), what: "token" })?;
    header.set_sensitive(true);
    Ok(header)
}
