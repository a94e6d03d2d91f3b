//! The operations of the domain, each a plan over loaded rows. The rules themselves are the domain crates' own.

mod entries;
mod intents;
mod record;
mod redeem;

pub(crate) use entries::{CreateEntry, DeleteEntry};
pub(crate) use intents::{Change, IDEMPOTENCY_LIFETIME, Submit, SubmitRefusal};
pub(crate) use record::{Append, RecordKill, SaveAuthority, SaveCheckpoint};
pub(crate) use redeem::Redeem;
