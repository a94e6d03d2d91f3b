//! What is remembered of an authority's keys, and the seam to whoever remembers it.

use std::error::Error;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_keys::SlotId;
use serde::{Deserialize, Serialize};

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
}

/// One key of a trust domain: its slot, its public half and its state. Private keys are never part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityRecord {
    /// The slot, unique over all records of a trust domain.
    pub slot: SlotId,
    /// Where the slot stands.
    pub state: AuthorityState,
    /// The root certificate, for the purpose of X.509-SVIDs alone.
    pub certificate_der: Option<Vec<u8>>,
    /// The public half as [`marque_keys::SigningKey::public_key`] gives it.
    pub public_key: Vec<u8>,
    /// When the key was made, in whole seconds.
    pub created_at: Timestamp,
    /// The bundle's sequence from this record on (TB-2); the bundle has the highest one of all records.
    pub bundle_sequence: u64,
}

/// Where the records of one trust domain are kept.
pub trait AuthorityStore: std::fmt::Debug + Send + Sync {
    /// Every record, in any order; what another process saved before this began is among them.
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>>;

    /// Keeps a record durably before the future completes, if its slot has none. The first record of a slot stays: saving
    /// another one, at the same time and by another process as well, changes nothing and is no error. Whoever saves loads
    /// afterwards and goes by what is there.
    fn save(&self, record: AuthorityRecord) -> BoxFuture<'_, Result<(), AuthorityStoreError>>;
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
