//! What is remembered of an authority's keys, and the seam to whoever remembers it.

use std::{error::Error, fmt};

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_keys::{KeyPurpose, SlotId};
use serde::{Deserialize, Serialize};

use crate::{AuthorityOrder, FollowedBundle, OrderRefusal};

/// Where a slot stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorityState {
    /// Published in the bundle and not signing yet.
    Prepared,
    /// Signing. There is one per purpose.
    Active,
    /// No longer signing, and still published for what it signed.
    Old,
    /// No longer published: it was tainted, and nothing that it signed is believed any more.
    Revoked,
    /// No longer published: everything that it signed has ended.
    Retired,
}

impl AuthorityState {
    /// The state as it is written in records and lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
        }
    }

    /// Whether whoever verifies gets to know the key.
    #[must_use]
    pub const fn is_published(self) -> bool {
        matches!(self, Self::Prepared | Self::Active | Self::Old)
    }
}

impl fmt::Display for AuthorityState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When a key came to its states, in whole seconds; what did not happen is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityTimes {
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Since when it signs or from when on it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// Since when another key signs in its place, or it was given up before it ever signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_at: Option<Timestamp>,
    /// Since when it is believed to be in wrong hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted_at: Option<Timestamp>,
    /// Since when it is no longer published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
}

impl AuthorityTimes {
    /// Whether nothing is known of it.
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// One key of a trust domain: its slot, its public half and its state. Private keys are never part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityRecord {
    /// The slot, unique over all records of a trust domain.
    pub slot: SlotId,
    /// Where the slot stands.
    pub state: AuthorityState,
    /// The certificate, for the purpose of X.509-SVIDs alone: a root, unless somebody else signed it.
    pub certificate_der: Option<Vec<u8>>,
    /// The public half as [`marque_keys::SigningKey::public_key`] gives it.
    pub public_key: Vec<u8>,
    /// When the key was put on record, and so published, in whole seconds.
    pub created_at: Timestamp,
    /// The bundle's sequence from this record on (TB-2); the bundle has the highest one of all records.
    pub bundle_sequence: u64,
    /// When it came to where it stands.
    #[serde(default, skip_serializing_if = "AuthorityTimes::is_unknown")]
    pub times: AuthorityTimes,
    /// What is above the certificate, where somebody else signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamCertificates>,
    /// What is followed of the upstream's bundle, on one of the records of X.509 authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<Box<FollowedBundle>>,
}

/// The certificates above one that somebody else signed, each in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamCertificates {
    /// Those between it and the root, in order.
    pub above: Vec<Vec<u8>>,
    /// The roots, which the bundle has in its place.
    pub roots: Vec<Vec<u8>>,
    /// The upstream whose bundle has the roots of now, where it tells one: then those count, and not these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl AuthorityRecord {
    /// Whether the key is believed to be in wrong hands.
    #[must_use]
    pub const fn is_tainted(&self) -> bool {
        self.times.tainted_at.is_some()
    }
}

/// Where the records of one trust domain are kept.
pub trait AuthorityStore: fmt::Debug + Send + Sync {
    /// Every record, in any order; what another process saved before this began is among them.
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>>;

    /// Carries out an order: [`AuthorityOrder::decide`] rules on the records that are there, in the one transaction that
    /// also writes what it decided, its audit leaf included, durably before the future completes. A refusal writes nothing.
    /// Of two orders at the same time, by two processes as well, the second is ruled on what the first one left.
    fn order(
        &self,
        order: AuthorityOrder,
    ) -> BoxFuture<'_, Result<Result<(), OrderRefusal>, AuthorityStoreError>>;
}

/// The records could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("the records of the authorities could not be used")]
pub struct AuthorityStoreError(#[source] Box<dyn Error + Send + Sync>);

impl AuthorityStoreError {
    /// Wraps the reason.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// The purposes whose keys take turns. The key for checkpoints of the audit log is not among them: those who verify the log
/// have pinned it.
pub(crate) const ROTATED: [KeyPurpose; 4] =
    [KeyPurpose::X509Authority, KeyPurpose::JwtSvid, KeyPurpose::AccessToken, KeyPurpose::WitSvid];

/// Whether keys of this purpose are part of the bundle.
pub(crate) const fn is_in_bundle(purpose: KeyPurpose) -> bool {
    matches!(purpose, KeyPurpose::X509Authority | KeyPurpose::JwtSvid | KeyPurpose::WitSvid)
}

/// The records of one purpose.
pub(crate) fn of(
    records: &[AuthorityRecord],
    purpose: KeyPurpose,
) -> impl Iterator<Item = &AuthorityRecord> {
    records.iter().filter(move |record| record.slot.purpose() == purpose)
}

/// The one record of a purpose in this state.
pub(crate) fn in_state(
    records: &[AuthorityRecord],
    purpose: KeyPurpose,
    state: AuthorityState,
) -> Option<&AuthorityRecord> {
    of(records, purpose).find(|record| record.state == state)
}

/// The record of a purpose that was made last.
pub(crate) fn newest(records: &[AuthorityRecord], purpose: KeyPurpose) -> Option<&AuthorityRecord> {
    of(records, purpose).max_by_key(|record| record.slot.place())
}

/// The bundle's sequence.
pub(crate) fn sequence(records: &[AuthorityRecord]) -> u64 {
    records.iter().map(|record| record.bundle_sequence).max().unwrap_or(0)
}
