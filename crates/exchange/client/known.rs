//! JWT-SVIDs that were verified before: an agent shows the same one with every request until it renews it.
//!
//! A hit stands for the signature alone. That the SVID has not ended, that its bundle is still the very one that it was
//! verified with, that its trust domain may come here and that it does not live too long is looked at each time; kills
//! are the decision's. Deliberately absent: tokens themselves, of which only a digest is kept.

use std::sync::Arc;

use jiff::Timestamp;
use marque_jose::sha256;
use marque_spiffe::{Bundle, SpiffeId};
use moka::sync::Cache;

use super::jwt_svid::Audience;

/// The SVIDs that were verified.
#[derive(Debug, Clone)]
pub(super) struct KnownSvids(Option<Cache<([u8; 32], Audience), Known>>);

/// What was verified of one.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: SpiffeId,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
    pub(super) verified_at: Timestamp,
    pub(super) bundle: Arc<Bundle>,
}

impl KnownSvids {
    /// Room for so many; none is kept if that is 0.
    pub(super) fn new(capacity: u64) -> Self {
        Self((capacity > 0).then(|| Cache::new(capacity)))
    }

    /// What was verified of this token, unless the clock has left the time for which that holds.
    pub(super) fn find(&self, token: &str, audience: Audience, now: Timestamp) -> Option<Known> {
        let known = self.0.as_ref()?.get(&(sha256(token.as_bytes()), audience))?;
        (known.verified_at <= now && now < known.expires_at).then_some(known)
    }

    pub(super) fn keep(&self, token: &str, audience: Audience, known: Known) {
        if let Some(cache) = &self.0 {
            cache.insert((sha256(token.as_bytes()), audience), known);
        }
    }
}
