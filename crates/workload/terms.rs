//! What a trust domain's document says of every SVID: how long it may last, and whom a JWT-SVID names as its issuer.
//!
//! The document is another one when the folder was read anew. What was minted by the one before and would not be minted so any
//! more is replaced at the next look, and is served until then rather than nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_registry::{Entry, TrustDomainDocument};

use crate::material::{JwtSvidMaterial, WitSvidMaterial, X509SvidMaterial};

/// What is minted by the terms of a document.
pub(crate) trait ByTerms {
    /// Whether one that was minted for `entry` by the terms of `was` is also what those of `is` give at `now`.
    fn keeps(
        &self,
        entry: &Entry,
        was: &TrustDomainDocument,
        is: &TrustDomainDocument,
        now: Timestamp,
    ) -> bool;
}

impl ByTerms for X509SvidMaterial {
    fn keeps(
        &self,
        entry: &Entry,
        _was: &TrustDomainDocument,
        is: &TrustDomainDocument,
        now: Timestamp,
    ) -> bool {
        let ceiling = entry.x509_lifetime().unwrap_or_else(|| is.x509_svid_lifetime());
        ends_within(self.not_after, ceiling, now)
    }
}

impl ByTerms for JwtSvidMaterial {
    fn keeps(
        &self,
        entry: &Entry,
        was: &TrustDomainDocument,
        is: &TrustDomainDocument,
        now: Timestamp,
    ) -> bool {
        let ceiling = entry.jwt_lifetime().unwrap_or_else(|| is.jwt_svid_lifetime());
        issuer_of(was) == issuer_of(is) && ends_within(self.expires_at, ceiling, now)
    }
}

impl ByTerms for WitSvidMaterial {
    fn keeps(
        &self,
        entry: &Entry,
        _was: &TrustDomainDocument,
        is: &TrustDomainDocument,
        now: Timestamp,
    ) -> bool {
        let ceiling = is.wit_svid_lifetime();
        let ceiling = entry.x509_lifetime().map_or(ceiling, |own| own.min(ceiling));
        ends_within(self.expires_at, ceiling, now)
    }
}

/// Whether two documents have SVIDs minted alike.
pub(crate) fn mint_alike(one: &Arc<TrustDomainDocument>, other: &Arc<TrustDomainDocument>) -> bool {
    let lifetimes = |document: &TrustDomainDocument| {
        (document.x509_svid_lifetime(), document.jwt_svid_lifetime(), document.wit_svid_lifetime())
    };
    Arc::ptr_eq(one, other)
        || (lifetimes(one) == lifetimes(other) && issuer_of(one) == issuer_of(other))
}

/// Whether JWT-SVIDs name an issuer, and which, where the document says.
fn issuer_of(document: &TrustDomainDocument) -> Option<Option<&str>> {
    document.oidc_discovery().map(|settings| settings.issuer())
}

fn ends_within(end: Timestamp, lifetime: Duration, now: Timestamp) -> bool {
    now.checked_add(lifetime).is_ok_and(|latest| end <= latest)
}
