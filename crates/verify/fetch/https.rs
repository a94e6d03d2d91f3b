//! The HTTPS client that comes with the feature `ureq` (docs/adr/0004): rustls on ring, and exactly the roots handed in.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{Fetch, FetchError, FetchFuture, FetchRequest, Fetched};

/// How long one call may take, connection set-up included.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Fetches over HTTPS from servers that chain to the given roots. It blocks on a thread of the tokio runtime's pool.
#[derive(Debug, Clone)]
pub struct HttpsFetch {
    agent: Agent,
}

/// The roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpsFetchError {
    /// Not PEM.
    #[error("the roots are not PEM")]
    Pem(#[source] Box<dyn Error + Send + Sync>),
    /// PEM without a certificate.
    #[error("the roots hold no certificate")]
    Empty,
}

impl HttpsFetch {
    /// A client that trusts the certificates of `pem` and no other.
    ///
    /// # Errors
    /// See [`HttpsFetchError`].
    pub fn trusting(pem: &[u8]) -> Result<Self, HttpsFetchError> {
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(pem) {
            let item = item.map_err(|error| HttpsFetchError::Pem(Box::new(error)))?;
            if let PemItem::Certificate(certificate) = item {
                roots.push(certificate);
            }
        }
        if roots.is_empty() {
            return Err(HttpsFetchError::Empty);
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(CALL_LIMIT))
            .build();
        Ok(Self { agent: config.new_agent() })
    }

    fn get_blocking(&self, url: &str, accept: &str, limit: u64) -> Result<Fetched, FetchError> {
        let mut response =
            self.agent.get(url).header("accept", accept).call().map_err(FetchError::new)?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::new(format!("the answer has status {}", response.status())));
        }
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        Ok(Fetched { body: body.map_err(FetchError::new)? })
    }
}

impl Fetch for HttpsFetch {
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> FetchFuture<'a> {
        let (client, url) = (self.clone(), request.url.to_owned());
        let limit = u64::try_from(request.max_bytes).unwrap_or(u64::MAX);
        Box::pin(async move {
            let call = move || client.get_blocking(&url, request.accept, limit);
            tokio::task::spawn_blocking(call).await.map_err(FetchError::new)?
        })
    }
}
