//! The bundle endpoint of profile `https_spiffe`: a listener of its own that proves itself by an X.509-SVID, which is replaced in
//! time (FE-7).
//!
//! Its SPIFFE ID is below a path at which no workload can be registered. Nobody has to say who they are (FE-6). Absent: profile
//! `https_web`, which is on the HTTPS edge.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use marque_registry::{RESERVED_SEGMENT, TrustDomainDocument};
use marque_spiffe::SpiffeId;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio_util::sync::CancellationToken;

use super::Lasting;
use super::broker::identity::Identity;
use super::doors::Entrances;
use crate::endpoints::SpiffeBundleEndpoint;
use crate::http::{HttpServer, ListenerHandle, Routers};

/// The endpoint, bound and with an SVID to show.
#[derive(Debug)]
pub(super) struct BundleEndpoint {
    spiffe_id: SpiffeId,
    server: HttpServer,
    identity: Identity,
}

impl BundleEndpoint {
    /// The endpoint of a trust domain; `None` where its document wants none.
    pub(super) async fn build(
        issuer: &Lasting,
        document: &TrustDomainDocument,
        entrances: &Entrances,
    ) -> anyhow::Result<Option<Self>> {
        let Some(address) = document.bundle_endpoint().https_spiffe else { return Ok(None) };
        let spiffe_id = format!("{}/{RESERVED_SEGMENT}/bundle", issuer.trust_domain().id());
        let spiffe_id: SpiffeId = spiffe_id.parse()?;
        let minting = Arc::clone(&issuer.minting);
        let identity = Identity::begin(spiffe_id.clone(), minting, Arc::clone(&issuer.clock));
        let identity = identity.await.context("mint the bundle endpoint's own SVID")?;
        let tls = tls_of(Arc::clone(identity.certificate()) as _)?;
        let server = entrances.bind(address, tls).await;
        let server = server.with_context(|| {
            format!("listen on {address} for the bundle endpoint; is it taken already?")
        })?;
        Ok(Some(Self { spiffe_id, server, identity }))
    }

    /// Where others find it, as the document says.
    pub(super) fn at(&self, document: &TrustDomainDocument) -> SpiffeBundleEndpoint {
        let url = match &document.bundle_endpoint().https_spiffe_url {
            Some(url) => url.to_string(),
            None => format!("https://localhost:{}/", self.server.local_addr().port()),
        };
        SpiffeBundleEndpoint { url, spiffe_id: self.spiffe_id.clone() }
    }

    /// What finds its listener.
    pub(super) fn handle(&self) -> ListenerHandle {
        self.server.handle()
    }

    /// What serves its requests, beginning with `router`.
    pub(super) fn routers(&self, router: Router) -> Routers {
        self.server.routers(router)
    }

    /// Serves until `stop`, or until it is `replaced`. The bundle is the authority's of the moment, whichever rules are in force.
    pub(super) async fn run(
        self,
        routers: Routers,
        stop: CancellationToken,
        replaced: CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { spiffe_id: _, server, identity } = self;
        let serving = server.run_or_be_replaced(routers, stop.clone().cancelled_owned(), replaced);
        tokio::select! {
            () = serving => Ok(()),
            never = identity.keep(stop) => match never {},
        }
    }
}

/// TLS 1.2 and 1.3 as Mozilla's intermediate settings have them (FE-3), without client certificates and without sessions: a
/// resumed one would skip the certificate.
fn tls_of(certificate: Arc<dyn ResolvesServerCert>) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
