//! What settings that were replaced still mean: SVIDs and tokens that were signed by them, and verifiers who go by them.
//!
//! A key is published until everything that it signed has ended, and before it signs anything for as long as verifiers need
//! to hear of it. Settings that become shorter do not shorten either for what came before them.

use std::time::Duration;

use jiff::Timestamp;
use marque_keys::KeyPurpose;

use crate::{
    AuthorityConfig,
    schedule::{CLOCKS_DIFFER, publication},
};

/// The longest lifetimes and the longest refresh hint that were in force lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierLifetimes {
    x509_svid: Duration,
    jwt_svid: Duration,
    wit_svid: Duration,
    access_token: Duration,
    refresh_hint: Duration,
    /// Since when nothing is made by them any more; `None` as long as verifiers are still told of that refresh hint.
    over_since: Option<Timestamp>,
}

impl EarlierLifetimes {
    /// For how long they count when nothing is made by them any more.
    fn counts_for(&self) -> Duration {
        let longest = self.x509_svid.max(self.jwt_svid).max(self.wit_svid).max(self.access_token);
        longest.max(publication(self.refresh_hint)).saturating_add(CLOCKS_DIFFER)
    }
}

impl AuthorityConfig {
    /// The longest that what a key of this purpose signed may last, from when it was signed.
    #[must_use]
    pub fn longest(&self, purpose: KeyPurpose) -> Duration {
        let earlier = self.earlier.as_ref();
        let (now, before) = match purpose {
            KeyPurpose::X509Authority => {
                (self.longest_below_a_root(), earlier.map(|e| e.x509_svid))
            }
            KeyPurpose::JwtSvid => (self.max_jwt_svid_lifetime, earlier.map(|e| e.jwt_svid)),
            KeyPurpose::WitSvid => (self.max_wit_svid_lifetime, earlier.map(|e| e.wit_svid)),
            KeyPurpose::AccessToken | KeyPurpose::AuditCheckpoint => {
                (self.max_access_token_lifetime, earlier.map(|e| e.access_token))
            }
        };
        before.map_or(now, |before| before.max(now))
    }

    /// SVIDs, and the authorities of servers below.
    fn longest_below_a_root(&self) -> Duration {
        self.max_x509_svid_lifetime.max(self.max_downstream_lifetime.unwrap_or_default())
    }

    /// The longest that verifiers may take to fetch the bundle again.
    pub(crate) fn slowest_refresh(&self) -> Duration {
        self.earlier
            .map_or(self.refresh_hint, |earlier| earlier.refresh_hint.max(self.refresh_hint))
    }

    /// These settings as they take the place of others.
    pub(crate) fn in_place_of(self, before: &Self) -> Self {
        let lifetimes = |config: &Self| {
            (
                config.longest_below_a_root(),
                config.max_jwt_svid_lifetime,
                config.max_wit_svid_lifetime,
                config.max_access_token_lifetime,
                config.refresh_hint,
            )
        };
        if lifetimes(&self) == lifetimes(before) {
            return Self { earlier: before.earlier, ..self };
        }
        let earlier = EarlierLifetimes {
            x509_svid: before.longest(KeyPurpose::X509Authority),
            jwt_svid: before.longest(KeyPurpose::JwtSvid),
            wit_svid: before.longest(KeyPurpose::WitSvid),
            access_token: before.longest(KeyPurpose::AccessToken),
            refresh_hint: before.slowest_refresh(),
            over_since: None,
        };
        Self { earlier: Some(earlier), ..self }
    }

    /// These settings at `now`, where verifiers are told of a refresh hint of `published`; `None` where they stay as they are.
    pub(crate) fn without_what_is_over(&self, published: Duration, now: Timestamp) -> Option<Self> {
        let earlier = self.earlier.filter(|_| published == self.refresh_hint)?;
        let earlier = match earlier.over_since {
            None => Some(EarlierLifetimes { over_since: Some(now), ..earlier }),
            Some(since) => {
                let until = since.checked_add(earlier.counts_for()).unwrap_or(Timestamp::MAX);
                if now < until {
                    return None;
                }
                None
            }
        };
        Some(Self { earlier, ..self.clone() })
    }
}
