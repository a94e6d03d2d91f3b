//! The endpoint's own SVID, replaced in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_spiffe::{Bundle, Clock, SpiffeId, UnverifiedX509Svid};
use marque_workload::{IssuerState, WorkloadError, X509SvidMaterial};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::minting::InProcessIssuer;
use crate::grpc::ServerCertificate;

/// How long to wait before an SVID is asked for again after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Whoever mints for the trust domain's own endpoints.
pub(in crate::issuer) trait EndpointIssuer:
    std::fmt::Debug + Send + Sync
{
    /// An X.509-SVID with a fresh key.
    fn mint<'a>(
        &'a self,
        spiffe_id: &'a SpiffeId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>>;

    /// The bundle, as it changes.
    fn state(&self) -> watch::Receiver<Arc<IssuerState>>;
}

impl EndpointIssuer for InProcessIssuer {
    fn mint<'a>(
        &'a self,
        spiffe_id: &'a SpiffeId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>> {
        Box::pin(self.mint_endpoint_svid(spiffe_id))
    }

    fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        marque_workload::Issuer::state(self)
    }
}

/// The endpoint's own SVID.
#[derive(Debug)]
pub(in crate::issuer) struct Identity {
    spiffe_id: SpiffeId,
    issuer: Arc<dyn EndpointIssuer>,
    clock: Arc<dyn Clock>,
    certificate: Arc<ServerCertificate>,
    current: Arc<X509SvidMaterial>,
}

impl Identity {
    /// Mints the first.
    pub(in crate::issuer) async fn begin(
        spiffe_id: SpiffeId,
        issuer: Arc<dyn EndpointIssuer>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let certificate = Arc::new(ServerCertificate::default());
        let current = issuer.mint(&spiffe_id).await?;
        certificate.show(&current)?;
        Ok(Self { spiffe_id, issuer, clock, certificate, current })
    }

    pub(in crate::issuer) fn certificate(&self) -> &Arc<ServerCertificate> {
        &self.certificate
    }

    /// Replaces the SVID at half its life, and at once when its authority is tainted or gone, or when SVIDs are to be shorter.
    /// During the drain the one that is there will do.
    pub(in crate::issuer) async fn keep(mut self, stop: CancellationToken) -> Infallible {
        let mut state = self.issuer.state();
        let mut due = half_life(&self.current, self.clock.now());
        let mut document = Arc::clone(state.borrow().registry.document());
        loop {
            let newest = Arc::clone(&state.borrow_and_update());
            let (bundles, now) = (&newest.bundles, self.clock.now());
            if !Arc::ptr_eq(&document, newest.registry.document()) {
                document = Arc::clone(newest.registry.document());
                if self.current.not_after > now + document.x509_svid_lifetime() {
                    due = now;
                }
            }
            let verifies = |bundle: &Bundle| {
                UnverifiedX509Svid::parse_chain(self.current.chain.clone())
                    .and_then(|svid| svid.verify(bundle, now))
                    .is_ok()
            };
            if !verifies(bundles.own()) {
                self.certificate.withdraw();
            }
            // What a tainted authority signed is shown until there is another one.
            if !verifies(bundles.untainted()) || now >= due {
                due = match self.renew().await {
                    Ok(()) => half_life(&self.current, self.clock.now()),
                    Err(error) => {
                        let endpoint = &self.spiffe_id;
                        tracing::error!(error = &*error, %endpoint, "an endpoint got no new SVID");
                        self.clock.now() + RETRY
                    }
                };
            }
            tokio::select! {
                () = stop.cancelled() => return std::future::pending().await,
                () = self.clock.sleep_until(due) => {}
                changed = state.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
            }
        }
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        let next = self.issuer.mint(&self.spiffe_id).await?;
        self.certificate.show(&next)?;
        self.current = next;
        Ok(())
    }
}

fn half_life(svid: &X509SvidMaterial, now: Timestamp) -> Timestamp {
    let left = Duration::try_from(svid.not_after.duration_since(now)).unwrap_or_default();
    now + left / 2
}

#[cfg(test)]
mod tests;
