//! Bundles of other trust domains, fetched from their bundle endpoints and kept fresh (SPIFFE Federation).
//!
//! [`FederatedBundles`] holds the present ones, whether they came from a file, from the last run or from the network.
//! [`Relationship`] fetches one of them again and again. Absent: what workloads get of it (`issuer/`), the own bundle's
//! endpoint (`http/bundle.rs`), and any end to trust in a bundle that cannot be fetched any more.

use std::sync::Arc;

use anyhow::Context as _;
use marque_registry::TrustDomainDocument;
use marque_spiffe::Bundle;

mod bundles;
mod fetch;
mod kept;
mod relationship;
mod tls;

pub(crate) use self::bundles::FederatedBundles;
pub(crate) use self::fetch::{FetchError, FetchLimits, fetch};
pub(crate) use self::kept::KeptBundles;
pub(crate) use self::relationship::{Relationship, relationships, web_authorities};
pub(crate) use self::tls::web;

/// The bundles to begin with: `files` of the folder, and those of the last run where they are newer.
pub(crate) fn open(
    document: &TrustDomainDocument,
    files: Vec<Arc<Bundle>>,
    kept: &KeptBundles,
) -> anyhow::Result<Arc<FederatedBundles>> {
    kept.prune(document.federation())
        .context("forget the bundles that are not fetched any more")?;
    let bundles = FederatedBundles::new(document.environment(), files);
    for federation in document.federation().iter().filter(|one| one.endpoint().is_some()) {
        let trust_domain = federation.trust_domain();
        let Some(bundle) = kept.load(trust_domain) else { continue };
        if let Err(refused) = bundles.replace(Arc::new(bundle)) {
            let error = &refused as &dyn std::error::Error;
            tracing::warn!(%trust_domain, error, "the bundle fetched last is left aside");
        }
    }
    Ok(Arc::new(bundles))
}

#[cfg(test)]
pub(crate) mod tests;
