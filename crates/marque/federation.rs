//! Bundles of other trust domains, fetched from their bundle endpoints and kept fresh (SPIFFE Federation).
//!
//! `FederatedBundles` holds the present ones, whether they came from a file, from the last run or from the network.
//! `Relationship` fetches one of them again and again; one that could not be fetched for too long is not used any more.
//! [`Federations`] has all relationships, those of the folder and those that operators add by command.
//! Absent: what workloads get of it (`issuer/`), and the own bundle's endpoint (`http/bundle.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_registry::TrustDomainDocument;
use marque_spiffe::{Bundle, TrustDomain};

mod bundles;
mod change;
mod desk;
mod destination;
mod fetch;
mod kept;
mod relationship;
mod stored;
mod tls;
mod view;

pub(crate) use self::bundles::FederatedBundles;
pub use self::change::FederationError;
pub use self::desk::Federations;
pub(crate) use self::desk::{FederationsParts, HandsOn, News, fetched_by_command};
pub(crate) use self::fetch::{FetchError, FetchLimits, ask, fetch};
use self::kept::Kept;
pub(crate) use self::kept::{KeptBundles, sequence_of_kept};
pub(crate) use self::relationship::{Relationship, web_authorities};
pub use self::stored::{NewEndpoint, NewFederation, NewProfile};
pub(crate) use self::tls::{spiffe_mutual, web};
pub use self::view::{BundleSummary, FederationView};

/// The bundles to begin with: `files` of the folder, and those of the last run where they are newer. How old one is
/// outlives a restart; a file that is newer than what was fetched last is as old as its bundle is known here.
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
        bundles.count_from_first_sight(trust_domain, kept, (now, endpoint.max_staleness));
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

/// Forgets the bundles that are fetched neither by the folder nor `by_command` any more.
///
/// # Errors
/// They cannot be removed.
pub(crate) fn prune(
    document: &TrustDomainDocument,
    kept: &KeptBundles,
    by_command: &BTreeSet<TrustDomain>,
) -> anyhow::Result<()> {
    let fetched = document.federation().iter().filter(|one| one.endpoint().is_some());
    let fetched = fetched.map(|one| one.trust_domain()).chain(by_command);
    kept.prune(&fetched.cloned().collect())
        .context("forget the bundles that are not fetched any more")
}

/// When a bundle that was refreshed at some time is used no more.
fn end(refreshed_at: Timestamp, max_staleness: Duration) -> Timestamp {
    refreshed_at.saturating_add(max_staleness).unwrap_or(refreshed_at)
}

#[cfg(test)]
pub(crate) mod tests;
