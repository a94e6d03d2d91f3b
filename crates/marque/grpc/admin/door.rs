//! What an issuer offers to its operators. One trait for each subject; [`AdminDoor`] is all of them.

mod authorities;
mod deliveries;
mod entries;
mod error;
mod federation;
mod folder;
mod intents;
mod kills;
mod log;
mod operator;
mod pace;
mod tokens;

pub use authorities::AuthorityDoor;
pub use deliveries::DeliveryDoor;
pub use entries::EntryDoor;
pub use error::AdminError;
pub use federation::FederationDoor;
pub use folder::FolderDoor;
pub use intents::{IntentDoor, NewPosture};
pub use kills::{KillDoor, NewKillOrder};
pub use log::LogDoor;
pub use operator::{Operator, Refusal};
pub use pace::PaceDoor;
pub use tokens::{TokenDoor, TokenStanding};

use std::fmt::Debug;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::telemetry::health::NotReady;

/// One trust domain, as its operators reach it. Whoever implements it trusts its callers: that the caller is an
/// operator and no agent was decided before.
pub trait AdminDoor:
    AuthorityDoor
    + DeliveryDoor
    + EntryDoor
    + FederationDoor
    + FolderDoor
    + IntentDoor
    + KillDoor
    + LogDoor
    + PaceDoor
    + TokenDoor
    + Debug
    + Send
    + Sync
{
    /// How the daemon is.
    fn status(&self) -> DaemonStatus;

    /// What keeps requests from being served.
    fn readiness(&self) -> BoxFuture<'_, Vec<NotReady>>;

    /// Measures what is not counted as it happens.
    fn measure(&self) -> BoxFuture<'_, ()>;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Records that an agent came to the operators' socket and was refused.
    fn record_refusal(&self, refusal: Refusal) -> BoxFuture<'_, Result<(), AdminError>>;
}

/// How a daemon is; the rest of the status comes from what the door shows anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaemonStatus {
    /// Since when it runs.
    pub started_at: Timestamp,
    /// The sequence number of the trust bundle.
    pub bundle_sequence: u64,
    /// How many rows of the store were found not to read.
    pub unreadable_rows: usize,
}
