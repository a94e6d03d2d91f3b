//! One fetch of a document over HTTPS: a `GET` without credentials, redirects followed by hand.
//!
//! Every hop keeps the rules of the configured URL and proves itself by the same TLS settings (FE-5). Nothing is remembered
//! from one fetch to the next: no connection, no session, no cookie, no redirect.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use marque_spiffe::{BundleEndpointUrl, BundleEndpointUrlError};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::destination::Destinations;

/// How many redirects are followed to a bundle.
pub(crate) const MAX_REDIRECTS: usize = 3;

/// What one fetch may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchLimits {
    /// How long it may take, redirects included.
    pub(crate) time: Duration,
    /// How many bytes the document may have.
    pub(crate) bytes: usize,
    /// How many redirects are followed.
    pub(crate) redirects: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30),
            bytes: super::bundles::MAX_BYTES,
            redirects: MAX_REDIRECTS,
        }
    }
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The time was up.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// No connection, or the endpoint did not prove who it is.
    #[error("connect to `{authority}`")]
    Connect {
        /// Host and port.
        authority: String,
        /// What failed, TLS included.
        #[source]
        source: io::Error,
    },
    /// The URL cannot be asked for.
    #[error("make a request")]
    Request(#[source] http::Error),
    /// The connection broke, or what came was not HTTP.
    #[error("speak HTTP")]
    Http(#[source] hyper::Error),
    /// Another status than 200.
    #[error("the answer has status {0}")]
    Status(StatusCode),
    /// A redirect that does not say where to.
    #[error("redirected to nowhere")]
    NoLocation,
    /// A redirect to where nothing may be fetched.
    #[error("redirected to a URL from which no bundle may be fetched")]
    Redirect(#[source] BundleEndpointUrlError),
    /// A redirect to a host that nobody allowed.
    #[error(
        "redirected to `{0}`, another host; list it as `redirect_hosts` in [bundle_fetching] if bundles are there"
    )]
    OtherHost(String),
    /// The host has an address that nobody allowed.
    #[error(
        "`{host}` is at {address}, which is not on the public internet; list the network as `private_addresses` in \
         [bundle_fetching] if bundles are there"
    )]
    Address {
        /// The host.
        host: String,
        /// Where it is.
        address: IpAddr,
    },
    /// More often than the limit.
    #[error("redirected more than {0} times")]
    TooManyRedirects(usize),
    /// The body broke off, or is larger than the limit.
    #[error("read the document of at most {limit} bytes")]
    Body {
        /// The limit.
        limit: usize,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

enum Hop {
    Document(Bytes),
    Redirect(BundleEndpointUrl),
}

/// Fetches the document at `url`, wherever that is.
pub(crate) async fn fetch(
    url: &BundleEndpointUrl,
    tls: &Arc<ClientConfig>,
    limits: FetchLimits,
) -> Result<Bytes, FetchError> {
    fetch_within(&Destinations::Any, url, tls, limits).await
}

/// Fetches the document at `url` by the rules of where it may be.
pub(super) async fn fetch_within(
    destinations: &Destinations,
    url: &BundleEndpointUrl,
    tls: &Arc<ClientConfig>,
    limits: FetchLimits,
) -> Result<Bytes, FetchError> {
    let fetching = async {
        let mut at = url.clone();
        for _hop in 0..=limits.redirects {
            match hop(destinations, &at, tls, limits.bytes).await? {
                Hop::Document(document) => return Ok(document),
                Hop::Redirect(to) => {
                    destinations.check_redirect(&at, &to)?;
                    at = to;
                }
            }
        }
        Err(FetchError::TooManyRedirects(limits.redirects))
    };
    let timed = tokio::time::timeout(limits.time, fetching).await;
    timed.unwrap_or(Err(FetchError::TimedOut(limits.time)))
}

async fn hop(
    destinations: &Destinations,
    url: &BundleEndpointUrl,
    tls: &Arc<ClientConfig>,
    limit: usize,
) -> Result<Hop, FetchError> {
    // Ends the connection when this function does, however it does.
    let mut driver = JoinSet::new();
    let answer = ask_within(destinations, url, Some(tls), HeaderMap::new(), &mut driver).await?;
    let status = answer.status();
    if is_redirect(status) {
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let to = url.redirected(location.ok_or(FetchError::NoLocation)?);
        return Ok(Hop::Redirect(to.map_err(FetchError::Redirect)?));
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status(status));
    }
    let body = Limited::new(answer.into_body(), limit).collect().await;
    let body = body.map_err(|source| FetchError::Body { limit, source })?;
    Ok(Hop::Document(body.to_bytes()))
}

/// Asks once, over TLS where there are settings for it, with more headers; the connection lasts as long as `driver`.
pub(crate) async fn ask(
    url: &BundleEndpointUrl,
    tls: Option<&Arc<ClientConfig>>,
    headers: HeaderMap,
    driver: &mut JoinSet<()>,
) -> Result<Response<Incoming>, FetchError> {
    ask_within(&Destinations::Any, url, tls, headers, driver).await
}

async fn ask_within(
    destinations: &Destinations,
    url: &BundleEndpointUrl,
    tls: Option<&Arc<ClientConfig>>,
    headers: HeaderMap,
    driver: &mut JoinSet<()>,
) -> Result<Response<Incoming>, FetchError> {
    let unreachable =
        |source| FetchError::Connect { authority: url.authority().to_owned(), source };
    let host = url.host();
    let stream = destinations.connect(url).await?;
    let mut sender = match tls {
        Some(tls) => {
            let stream = TlsConnector::from(Arc::clone(tls)).connect(host.clone(), stream).await;
            handshake(stream.map_err(unreachable)?, driver).await?
        }
        None => handshake(stream, driver).await?,
    };
    let mut request = Request::get(url.target())
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(FetchError::Request)?;
    request.headers_mut().extend(headers);
    sender.send_request(request).await.map_err(FetchError::Http)
}

async fn handshake<S>(
    stream: S,
    driver: &mut JoinSet<()>,
) -> Result<SendRequest<Empty<Bytes>>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::Http)?;
    driver.spawn(async move {
        // What breaks the connection breaks the request, too, which tells it.
        drop(connection.await);
    });
    Ok(sender)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}
