//! One SVID that several callers share: who renews it, when, and what is served when that fails.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_registry::{Entry, EntryId, TrustDomainDocument};
use marque_spiffe::{Bundle, Clock};
use tokio::sync::Mutex;

use crate::error::WorkloadError;
use crate::material::Material;
use crate::state::BundleSet;
use crate::terms::ByTerms;

/// After a renewal failed, the valid SVID is served this long before the issuer is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// Never renewed more often than this, however short the lifetime.
const SHORTEST_RENEWAL: Duration = Duration::from_millis(250);

/// The place of one SVID. Whoever finds it due mints while the others wait, so that many callers
/// cost one minting.
#[derive(Debug)]
pub(crate) struct Slot<M> {
    held: Mutex<Option<Held<M>>>,
}

/// An SVID and when to look at it again.
#[derive(Debug)]
pub(crate) struct Current<M> {
    pub(crate) material: Arc<M>,
    pub(crate) look_again: Timestamp,
}

/// For whom an SVID is needed, and what stands behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need<'a> {
    pub(crate) entry: &'a Arc<Entry>,
    pub(crate) bundles: &'a BundleSet,
    pub(crate) document: &'a Arc<TrustDomainDocument>,
    pub(crate) clock: &'a dyn Clock,
}

#[derive(Debug)]
struct Held<M> {
    material: Arc<M>,
    /// The entry it was minted for; a changed entry needs another SVID.
    entry: Arc<Entry>,
    /// The untainted own authorities by which it was last looked whether it is backed.
    untainted: Arc<Bundle>,
    /// The document by whose terms it was last looked whether it is what would be minted.
    document: Arc<TrustDomainDocument>,
    look_again: Timestamp,
}

impl<M: Material + ByTerms> Slot<M> {
    pub(crate) fn new() -> Self {
        Self { held: Mutex::new(None) }
    }

    /// The SVID that is held, or a new one when it is due. An SVID that is still valid is served
    /// when minting fails; one that ended, whose entry changed or whose authority is gone never.
    pub(crate) async fn current<'a>(
        &self,
        need: Need<'_>,
        mint: impl FnOnce() -> BoxFuture<'a, Result<Arc<M>, WorkloadError>>,
    ) -> Result<Current<M>, WorkloadError> {
        let mut place = self.held.lock().await;
        let now = need.clock.now();
        if !place.as_mut().is_some_and(|held| held.serves(need, now)) {
            *place = None;
        }
        if let Some(held) = place.as_ref().filter(|held| now < held.look_again) {
            return Ok(held.current());
        }
        let minted = mint().await.and_then(|material| Held::new(material, need));
        match minted {
            Ok(held) => Ok(place.insert(held).current()),
            Err(error) => {
                // The issuer's word that nothing may be served counts for what is held, too.
                if matches!(error, WorkloadError::NotEntitled) {
                    *place = None;
                }
                let now = need.clock.now();
                let Some(held) = place.as_mut().filter(|held| now < held.material.ends_at()) else {
                    return Err(error);
                };
                tracing::warn!(
                    entry = need.entry.id().as_str(),
                    error = &error as &dyn std::error::Error,
                    "SVID could not be renewed; the valid one is served"
                );
                held.look_again = after(now, RETRY).min(held.material.ends_at());
                Ok(held.current())
            }
        }
    }
}

impl<M: Material + ByTerms> Held<M> {
    fn new(material: Arc<M>, need: Need<'_>) -> Result<Self, WorkloadError> {
        let now = need.clock.now();
        if material.spiffe_id() != need.entry.spiffe_id() || material.ends_at() <= now {
            return Err(WorkloadError::WrongSvid);
        }
        let look_again = renewal(need.entry.id(), now, material.ends_at());
        let untainted = Arc::clone(need.bundles.untainted());
        let (entry, document) = (Arc::clone(need.entry), Arc::clone(need.document));
        Ok(Self { material, entry, untainted, document, look_again })
    }

    fn serves(&mut self, need: Need<'_>, now: Timestamp) -> bool {
        if now >= self.material.ends_at() || !same_entry(&self.entry, need.entry) {
            return false;
        }
        let untainted = need.bundles.untainted();
        if !Arc::ptr_eq(&self.untainted, untainted) && self.untainted != *untainted {
            if !self.material.is_backed_by(need.bundles.own(), now) {
                return false;
            }
            // What a tainted authority signed is valid still, and better than nothing when no other can be had.
            if !self.material.is_backed_by(untainted, now) {
                self.look_again = now;
            }
        }
        self.untainted = Arc::clone(untainted);
        if !Arc::ptr_eq(&self.document, need.document) {
            if !self.material.keeps(need.entry, &self.document, need.document, now) {
                self.look_again = now;
            }
            self.document = Arc::clone(need.document);
        }
        true
    }

    fn current(&self) -> Current<M> {
        Current { material: Arc::clone(&self.material), look_again: self.look_again }
    }
}

/// When half of what is left at `now` will be over, give or take a tenth. The share is drawn from
/// the entry and the end, so entries that were minted together are not renewed together.
fn renewal(entry: &EntryId, now: Timestamp, end: Timestamp) -> Timestamp {
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (entry, end.as_nanosecond()).hash(&mut hasher);
    let per_mille = 450 + u32::try_from(hasher.finish() % 101).unwrap_or_default();
    after(now, (left / 1000).saturating_mul(per_mille).max(SHORTEST_RENEWAL)).min(end)
}

fn after(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

pub(crate) fn same_entry(held: &Arc<Entry>, needed: &Arc<Entry>) -> bool {
    Arc::ptr_eq(held, needed) || held == needed
}
