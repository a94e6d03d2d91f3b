//! One HTTP request to somebody else: a connection of its own, a limit for the time and one for the answer.
//!
//! No redirect is ever followed, no proxy is asked and nothing is remembered: no session, no cookie, no connection. A plain
//! connection is for loopback addresses; whoever makes the [`Destination`] sees to that. Absent: what is said.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Where requests go: one scheme, one host and one port.
#[derive(Clone)]
pub(crate) struct Destination {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutgoingLimits {
    /// How long it may take, connection and answer included.
    pub(crate) time: Duration,
    /// How many bytes the answer may have.
    pub(crate) bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutgoingError {
    /// The URL is none that can be called, or says another scheme than there are settings for.
    #[error("the URL cannot be called")]
    Url,
    /// The time was up.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// No connection, or the server did not prove who it is.
    #[error("connect to `{host}:{port}`")]
    Connect {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What failed, TLS included.
        #[source]
        source: io::Error,
    },
    /// The request cannot be made.
    #[error("make a request")]
    Request(#[source] http::Error),
    /// The connection broke, or what came was not HTTP.
    #[error("speak HTTP")]
    Http(#[source] hyper::Error),
    /// The answer broke off, or is larger than the limit.
    #[error("read an answer of at most {limit} bytes")]
    Body {
        /// The limit.
        limit: usize,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What broke, in one line; nothing that the other side wrote.
pub(crate) fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path or a query may be what a webhook is protected by.
        f.debug_struct("Destination").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Destination {
    /// An `https` URL with its TLS settings, or an `http` URL without any.
    pub(crate) fn new(url: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, OutgoingError> {
        let uri: Uri = url.parse().map_err(|_no_uri| OutgoingError::Url)?;
        let host = uri.host().ok_or(OutgoingError::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (default, tls) = match (uri.scheme_str(), tls) {
            (Some("https"), Some(tls)) => {
                let name =
                    ServerName::try_from(host.clone()).map_err(|_none| OutgoingError::Url)?;
                (443, Some((tls, name)))
            }
            (Some("http"), None) => (80, None),
            _ => return Err(OutgoingError::Url),
        };
        let port = uri.port_u16().unwrap_or(default);
        Ok(Self { uri, host, port, tls })
    }

    /// Sends one request; its URI is put in here.
    pub(crate) async fn send(
        &self,
        request: Request<Vec<u8>>,
        limits: OutgoingLimits,
    ) -> Result<Response<Vec<u8>>, OutgoingError> {
        let sending = tokio::time::timeout(limits.time, self.ask(request, limits.bytes));
        sending.await.unwrap_or(Err(OutgoingError::TimedOut(limits.time)))
    }

    async fn ask(
        &self,
        request: Request<Vec<u8>>,
        limit: usize,
    ) -> Result<Response<Vec<u8>>, OutgoingError> {
        let unreachable = |source| {
            let (host, port) = (self.host.clone(), self.port);
            OutgoingError::Connect { host, port, source }
        };
        let stream =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        let answer = match &self.tls {
            None => self.exchange(stream, request, limit).await?,
            Some((tls, name)) => {
                let connector = TlsConnector::from(Arc::clone(tls));
                let stream = connector.connect(name.clone(), stream).await.map_err(unreachable)?;
                self.exchange(stream, request, limit).await?
            }
        };
        Ok(answer)
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Vec<u8>>,
        limit: usize,
    ) -> Result<Response<Vec<u8>>, OutgoingError> {
        // Ends the connection when this function does, however it does.
        let mut driver = JoinSet::new();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(OutgoingError::Http)?;
        driver.spawn(async move {
            // What breaks the connection breaks the request, too, which tells it.
            drop(connection.await);
        });
        let request = self.addressed(request)?;
        let answer: Response<Incoming> =
            sender.send_request(request).await.map_err(OutgoingError::Http)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|source| OutgoingError::Body { limit, source })?;
        Ok(Response::from_parts(parts, body.to_bytes().to_vec()))
    }

    fn addressed(&self, request: Request<Vec<u8>>) -> Result<Request<Full<Bytes>>, OutgoingError> {
        let (mut parts, body) = request.into_parts();
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        parts.uri = target.parse().map_err(|_no_uri| OutgoingError::Url)?;
        let authority = self.uri.authority().ok_or(OutgoingError::Url)?.as_str();
        let host = HeaderValue::try_from(authority)
            .map_err(|error| OutgoingError::Request(error.into()))?;
        parts.headers.insert(HOST, host);
        Ok(Request::from_parts(parts, Full::new(Bytes::from(body))))
    }
}
