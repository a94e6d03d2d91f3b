//! A plain HTTP listener for who watches over the daemon: `/live`, `/ready` and `/metrics`, and nothing else.
//!
//! It is apart from the HTTPS edge, so that it can be on a loopback address or a Unix socket. Everybody who reaches it may
//! read it: what it tells names no workload, no person and no token. Deliberately absent: TLS, and anything that changes
//! something.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::join_all;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::health::{DomainHealth, Health, NotReady, measure};
use super::inventory::Textfile;
use crate::issuer::Lasting;

/// How many connections are served at once; more wait.
const MAX_CONNECTIONS: usize = 32;
/// How long a request's head may take, and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The content type of the text format, version 0.0.4.
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Who may open the socket: the daemon's user and group.
const SOCKET_MODE: u32 = 0o660;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TelemetryListen {
    /// Nowhere.
    Off,
    /// On an address.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// A place to listen on that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither `off`, nor `unix:PATH` with an absolute path, nor an address with a port such as 127.0.0.1:9464"
)]
pub struct TelemetryListenError(String);

impl FromStr for TelemetryListen {
    type Err = TelemetryListenError;

    fn from_str(text: &str) -> Result<Self, TelemetryListenError> {
        let refused = || TelemetryListenError(text.to_owned());
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(_) => Err(refused()),
            None if text == "off" => Ok(Self::Off),
            None => text.parse().map(Self::Tcp).map_err(|_malformed| refused()),
        }
    }
}

impl fmt::Display for TelemetryListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What the listener tells of: the trust domains of the process, once they are there.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// The trust domains that will be served, by name.
    expected: OnceLock<Vec<String>>,
    issuers: OnceLock<Vec<Arc<Lasting>>>,
    stop: OnceLock<CancellationToken>,
    textfile: Option<Textfile>,
}

impl Watched {
    /// Nothing yet; numbers of an inventory come from `textfile`.
    pub(crate) fn new(textfile: Option<Textfile>) -> Self {
        Self { textfile, ..Self::default() }
    }

    /// These will be served: until then they are starting.
    pub(crate) fn expect(&self, trust_domains: Vec<String>) {
        for name in &trust_domains {
            measure(name, &[NotReady::Starting]);
        }
        self.expected.get_or_init(|| trust_domains);
    }

    /// Nobody is served any more, whoever asks from now on.
    pub(crate) fn ended(&self) {
        for name in self.expected.get().into_iter().flatten() {
            measure(name, &[NotReady::Draining]);
        }
    }

    /// From now on these serve, until `stop` is cancelled. Only the first word counts.
    pub(crate) fn serve(&self, issuers: Vec<Arc<Lasting>>, stop: CancellationToken) {
        for issuer in &issuers {
            if let Some(textfile) = &self.textfile {
                issuer.knows_inventory_by(textfile.clone());
            }
        }
        self.stop.get_or_init(|| stop);
        self.issuers.get_or_init(|| issuers);
    }

    /// How the process is, now.
    pub(crate) async fn health(&self) -> Health {
        let process = match self.stop.get() {
            None => Some(NotReady::Starting),
            Some(stop) if stop.is_cancelled() => Some(NotReady::Draining),
            Some(_) => None,
        };
        let Some(issuers) = self.issuers.get() else {
            let starting = |name: &String| DomainHealth::of(name.clone(), &[NotReady::Starting]);
            let names = self.expected.get().into_iter().flatten();
            return Health::of(process, names.map(starting).collect());
        };
        // All at once: one whose store hangs holds up no answer about the others.
        let domains = issuers.iter().map(async |issuer| {
            DomainHealth::of(issuer.trust_domain().to_string(), &issuer.readiness().await)
        });
        Health::of(process, join_all(domains).await)
    }

    /// Measures what is not counted as it happens.
    pub(crate) async fn measure(&self) {
        let issuers = self.issuers.get().into_iter().flatten();
        join_all(issuers.map(|issuer| issuer.measure())).await;
    }
}

/// The listener, bound and not yet serving.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// Where it is reached.
    pub(crate) at: TelemetryListen,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds it, unless it is off.
    pub(crate) async fn bind(at: &TelemetryListen) -> anyhow::Result<Option<Self>> {
        match at {
            TelemetryListen::Off => Ok(None),
            TelemetryListen::Tcp(address) => {
                let socket = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("listen on {address} for health and metrics"))?;
                let bound = socket.local_addr().context("read the listener's address")?;
                if !bound.ip().is_loopback() {
                    tracing::warn!(%bound, "health and metrics are told to whoever reaches this address");
                }
                Ok(Some(Self { socket: Socket::Tcp(socket), at: TelemetryListen::Tcp(bound) }))
            }
            TelemetryListen::Unix(path) => {
                let socket = crate::issuer::sockets::bind_plain_socket(path, SOCKET_MODE)?;
                let path = path.canonicalize().context("find the socket")?;
                Ok(Some(Self { socket: Socket::Unix(socket), at: TelemetryListen::Unix(path) }))
            }
        }
    }

    /// Serves until `stop` is cancelled.
    pub(crate) async fn run(self, watched: Arc<Watched>, stop: CancellationToken) {
        let router = router(watched);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = tokio::select! {
                () = stop.cancelled() => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    tokio::spawn(async move {
                        connection(stream, router, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a connection for health or metrics could not be accepted"
                    );
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        if let TelemetryListen::Unix(path) = &self.at
            && let Err(error) = std::fs::remove_file(path)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, path = %path.display(), "the socket was not removed");
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.socket {
            Socket::Tcp(listener) => Box::new(listener.accept().await?.0),
            Socket::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connection(stream: Box<dyn Stream>, router: Router, stop: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| router.clone().oneshot(request));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 * 1024)
        // One answer each: nobody keeps the places that there are.
        .keep_alive(false);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(PATIENCE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, "a connection for health or metrics ended early");
    }
}

fn router(watched: Arc<Watched>) -> Router {
    Router::new()
        .route("/live", get(async || "alive\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            PATIENCE,
        ))
        .with_state(watched)
}

async fn ready(State(watched): State<Arc<Watched>>) -> Response {
    let health = watched.health().await;
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let never_stored = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (status, [never_stored], Json(health)).into_response()
}

async fn metrics(State(watched): State<Arc<Watched>>) -> Response {
    watched.measure().await;
    ([(header::CONTENT_TYPE, PROMETHEUS)], super::metrics()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_on_is_an_address_a_socket_or_nowhere() {
        let read = |text: &str| text.parse::<TelemetryListen>();
        assert_eq!(read("off"), Ok(TelemetryListen::Off));
        assert_eq!(read("unix:/run/t.sock"), Ok(TelemetryListen::Unix("/run/t.sock".into())));
        assert_eq!(read("127.0.0.1:9464").unwrap().to_string(), "http://127.0.0.1:9464");
        for text in ["", "unix:t.sock", "localhost:9464", "9464", "on"] {
            assert!(read(text).unwrap_err().to_string().contains("unix:PATH"), "{text}");
        }
    }

    #[tokio::test]
    async fn who_starts_or_drains_is_not_ready() {
        let codes = |health: &Health| serde_json::to_value(&health.reasons).unwrap();
        let (watched, stop) = (Watched::new(None), CancellationToken::new());
        watched.expect(vec!["prod.example.org".to_owned()]);
        let health = watched.health().await;
        assert_eq!((health.ready, &codes(&health)[0]["code"]), (false, &"starting".into()));
        let told = serde_json::to_value(&health.trust_domains).unwrap();
        assert_eq!(told[0]["reasons"][0]["code"], "starting", "{told}");
        watched.serve(Vec::new(), stop.clone());
        assert!(watched.health().await.ready);
        stop.cancel();
        let health = watched.health().await;
        assert_eq!((health.ready, &codes(&health)[0]["code"]), (false, &"draining".into()));
    }

    #[tokio::test]
    async fn a_listener_serves_while_the_daemon_starts() {
        let at = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&at).await.unwrap().unwrap();
        let TelemetryListen::Tcp(address) = listener.at else { panic!("{listener:?}") };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listener.run(Arc::new(Watched::new(None)), stop.clone()));
        let ask = move |path: &'static str| {
            tokio::task::spawn_blocking(move || {
                let config = ureq::Agent::config_builder().http_status_as_error(false).build();
                let url = format!("http://{address}{path}");
                config.new_agent().get(url).call().unwrap().status().as_u16()
            })
        };
        assert_eq!(ask("/live").await.unwrap(), 200);
        assert_eq!(ask("/ready").await.unwrap(), 503);
        stop.cancel();
        serving.await.unwrap();
    }
}
