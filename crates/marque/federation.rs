//! Bundles of other trust domains, fetched from their bundle endpoints and kept fresh (SPIFFE Federation).
//!
//! [`FederatedBundles`] holds the present ones, whether they came from a file, from the last run or from the network.
//! [`Relationship`] fetches one of them again and again; one that could not be fetched for too long is not used any more.
//! Absent: what workloads get of it (`issuer/`), and the own bundle's endpoint (`http/bundle.rs`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_registry::TrustDomainDocument;
use marque_spiffe::Bundle;

mod bundles;
mod fetch;
mod kept;
mod relationship;
mod tls;

pub(crate) use self::bundles::FederatedBundles;
pub(crate) use self::fetch::{FetchError, FetchLimits, ask, fetch};
use self::kept::Kept;
pub(crate) use self::kept::KeptBundles;
pub(crate) use self::relationship::{Relationship, relationships, web_authorities};
pub(crate) use self::tls::web;

/// The bundles to begin with: `files` of the folder, and those of the last run where they are newer. How old one is
/// outlives a restart; a file that is newer than what was fetched last is as fresh as the run.
pub(crate) fn open(
    document: &TrustDomainDocument,
    files: Vec<Arc<Bundle>>,
    kept: &KeptBundles,
    now: Timestamp,
) -> Arc<FederatedBundles> {
    let bundles = FederatedBundles::new(document.environment(), files);
    for federation in document.federation() {
        let Some(endpoint) = federation.endpoint() else { continue };
        let trust_domain = federation.trust_domain();
        bundles.use_until(trust_domain, end(now, endpoint.max_staleness));
        if let Some(Kept { bundle, refreshed_at }) = kept.load(trust_domain) {
            // A time that has not come yet is a clock that went back, and nothing to trust a bundle longer for.
            let until = end(refreshed_at.min(now), endpoint.max_staleness);
            if let Err(refused) = bundles.replace(Arc::new(bundle), until) {
                let error = &refused as &dyn std::error::Error;
                tracing::warn!(%trust_domain, error, "the bundle fetched last is left aside");
            }
        }
        bundles.withdraw_stale(trust_domain, now);
    }
    Arc::new(bundles)
}

/// Forgets the bundles that are not fetched any more.
///
/// # Errors
/// They cannot be removed.
pub(crate) fn prune(document: &TrustDomainDocument, kept: &KeptBundles) -> anyhow::Result<()> {
    kept.prune(document.federation()).context("forget the bundles that are not fetched any more")
}

/// When a bundle that was refreshed at some time is used no more.
fn end(refreshed_at: Timestamp, max_staleness: Duration) -> Timestamp {
    refreshed_at.saturating_add(max_staleness).unwrap_or(refreshed_at)
}

#[cfg(test)]
pub(crate) mod tests;
