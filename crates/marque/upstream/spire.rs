//! A server with SPIRE's API, another Marque or SPIRE itself: `NewDownstreamX509CA` and `GetBundle` over mutual TLS.
//!
//! Who is asking is said by the X.509-SVID that the Workload API of the upstream gives this process, over a stream that stays
//! open; the server proves itself by the bundle that comes with it. One request is one connection.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use marque_authority::{
    CertificateRequest, SignedAuthority, ToldBundle, UpstreamAuthority, UpstreamError,
};
use marque_registry::{SPIRE_SEGMENT, ServerAddress, SpireSettings};
use marque_spiffe::{Bundle, BundleError, BundleSource, Clock, SpiffeId, TrustDomain};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::plain;
use crate::federation::spiffe_mutual;
use crate::grpc::CallError;
use crate::grpc::upstream::{SignedBySpire, get_bundle, new_downstream_ca};
use crate::grpc::workload::{FetchedX509, FetchedX509Svid, WorkloadClient};

/// A server with SPIRE's API.
pub(super) struct Spire {
    trust_domain: TrustDomain,
    server: ServerAddress,
    name: ServerName<'static>,
    spiffe_id: SpiffeId,
    workload_api: PathBuf,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// The server's address, as its bundle is named by it.
    source: String,
    shown: Mutex<Option<Shown>>,
}

/// What is shown to the server, and where the next one comes from.
struct Shown {
    tls: Arc<ClientConfig>,
    next: BoxStream<'static, Result<FetchedX509, CallError>>,
}

/// Why it gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the Workload API at `{}` gives no X.509-SVID to ask with", .socket.display())]
    WorkloadApi { socket: PathBuf, source: CallError },
    #[error("the X.509-SVID to ask with is `{spiffe_id}`; it has to be of `{trust_domain}`")]
    OtherTrustDomain { spiffe_id: String, trust_domain: TrustDomain },
    #[error("the bundle that came with the X.509-SVID cannot be used")]
    Bundle(#[source] BundleError),
    #[error("the X.509-SVID cannot be shown")]
    Svid(#[source] rustls::Error),
    #[error("connect to `{server}`, which has to be `{spiffe_id}`")]
    Connect { server: ServerAddress, spiffe_id: SpiffeId, source: io::Error },
    #[error("the request is none in PEM")]
    Request,
    #[error("it answered: {0}")]
    Said(String),
    #[error("the call broke off")]
    Call(#[source] CallError),
}

impl fmt::Debug for Spire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spire").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Spire {
    /// Whom to ask; nobody is asked yet.
    pub(super) fn new(
        settings: &SpireSettings,
        trust_domain: &TrustDomain,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let spiffe_id = match settings.server_spiffe_id() {
            Some(id) => id.clone(),
            None => format!("{}/{SPIRE_SEGMENT}/server", trust_domain.id()).parse()?,
        };
        let server = settings.server().clone();
        let name = ServerName::try_from(server.host().to_owned());
        let name = name.with_context(|| format!("`{server}` as the upstream server"))?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            server,
            name,
            spiffe_id,
            workload_api: settings.workload_api().to_owned(),
            timeout: settings.timeout(),
            clock,
            source: settings.server().to_string(),
            shown: Mutex::new(None),
        })
    }

    async fn ask(&self, request: &CertificateRequest) -> Result<SignedAuthority, Refused> {
        let csr = CertificateSigningRequestDer::from_pem_slice(request.pem.as_bytes());
        let csr = csr.map_err(|_pem_error| Refused::Request)?;
        let seconds = i32::try_from(request.lifetime.as_secs()).unwrap_or(i32::MAX);
        let stream = self.connect().await?;
        let signed = new_downstream_ca(stream, csr.to_vec(), seconds).await;
        let SignedBySpire { chain, roots } = signed.map_err(not_answered)?;
        let certificates = |all: Vec<Vec<u8>>| all.into_iter().map(CertificateDer::from).collect();
        Ok(SignedAuthority { chain: certificates(chain), roots: certificates(roots) })
    }

    async fn told(&self) -> Result<ToldBundle, Refused> {
        let stream = self.connect().await?;
        get_bundle(stream).await.map_err(not_answered)
    }

    /// Within the time that one request may take. What was shown is shown again only where that went well.
    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, Refused>>,
    ) -> Result<T, UpstreamError> {
        let asked = tokio::time::timeout(self.timeout, asked).await;
        let asked = asked.unwrap_or(Err(Refused::TimedOut(self.timeout)));
        if asked.is_err() {
            *self.shown.lock().await = None;
        }
        asked.map_err(UpstreamError::new)
    }

    /// What the server is shown: the newest X.509-SVID by the upstream, the default one where there are several.
    async fn shown(&self) -> Result<Arc<ClientConfig>, Refused> {
        let mut shown = self.shown.lock().await;
        if let Some(mut present) = shown.take() {
            let is_open = loop {
                match present.next.next().now_or_never() {
                    None => break true,
                    Some(Some(Ok(newer))) => present.tls = self.tls(first(newer)?)?,
                    Some(_failed_or_ended) => break false,
                }
            };
            if is_open {
                return Ok(Arc::clone(&shown.insert(present).tls));
            }
        }
        let begin = async {
            let mut client = WorkloadClient::connect(&self.workload_api).await?;
            let mut next = client.watch_x509().await?.boxed();
            let fetched = next.next().await.ok_or(CallError::Ended)??;
            Ok((fetched, next))
        };
        let refused = |source| Refused::WorkloadApi { socket: self.workload_api.clone(), source };
        let (fetched, next) = begin.await.map_err(refused)?;
        let tls = self.tls(first(fetched)?)?;
        Ok(Arc::clone(&shown.insert(Shown { tls, next }).tls))
    }

    fn tls(&self, svid: FetchedX509Svid) -> Result<Arc<ClientConfig>, Refused> {
        let FetchedX509Svid { spiffe_id, chain, key_der, bundle, .. } = svid;
        let named: Option<SpiffeId> = spiffe_id.parse().ok();
        if named.is_none_or(|id| *id.trust_domain() != self.trust_domain) {
            let trust_domain = self.trust_domain.clone();
            return Err(Refused::OtherTrustDomain { spiffe_id: plain(&spiffe_id), trust_domain });
        }
        let mut own = Bundle::builder(self.trust_domain.clone());
        for authority in bundle {
            own = own.x509_authority(authority).map_err(Refused::Bundle)?;
        }
        let bundles = Arc::new(OfUpstream(Arc::new(own.build())));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_der.to_vec()));
        let clock = Arc::clone(&self.clock);
        spiffe_mutual(self.spiffe_id.clone(), bundles, (chain, key), clock).map_err(Refused::Svid)
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, Refused> {
        let tls = self.shown().await?;
        let connected = async {
            let stream = TcpStream::connect((self.server.host(), self.server.port())).await?;
            TlsConnector::from(tls).connect(self.name.clone(), stream).await
        };
        connected.await.map_err(|source| Refused::Connect {
            server: self.server.clone(),
            spiffe_id: self.spiffe_id.clone(),
            source,
        })
    }
}

fn first(fetched: FetchedX509) -> Result<FetchedX509Svid, Refused> {
    fetched.svids.into_iter().next().ok_or(Refused::Call(CallError::Malformed("svids")))
}

fn not_answered(error: CallError) -> Refused {
    match error {
        CallError::Refused { message, .. } => Refused::Said(plain(&message)),
        other => Refused::Call(other),
    }
}

impl UpstreamAuthority for Spire {
    fn sign<'a>(
        &'a self,
        request: &'a CertificateRequest,
    ) -> BoxFuture<'a, Result<SignedAuthority, UpstreamError>> {
        self.in_time(self.ask(request)).boxed()
    }

    fn source(&self) -> Option<&str> {
        Some(&self.source)
    }

    fn bundle(&self) -> BoxFuture<'_, Result<ToldBundle, UpstreamError>> {
        self.in_time(self.told()).boxed()
    }
}

/// The bundle that came with the SVID.
#[derive(Debug)]
struct OfUpstream(Arc<Bundle>);

impl BundleSource for OfUpstream {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        let Self(bundle) = self;
        (trust_domain == bundle.trust_domain()).then(|| Arc::clone(bundle))
    }
}
