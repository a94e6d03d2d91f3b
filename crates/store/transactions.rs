//! The operations of the domain, each a plan over loaded rows. The rules themselves are the domain crates' own.

mod approvers;
mod chain;
mod deferrals;
mod derive;
mod entries;
mod exceptions;
mod intents;
mod kept;
mod life;
mod open;
mod pace;
mod record;
mod redeem;
mod replays;

pub(crate) use approvers::DECISIONS;
pub(crate) use chain::above;
pub(crate) use deferrals::{CancelDeferral, OpenDeferral, PollDeferral};
pub(crate) use derive::Derive;
pub(crate) use entries::{AdmitInstance, CHANGES, CreateEntry, DeleteEntry, DropInstance};
pub(crate) use intents::{Answered, Change, IDEMPOTENCY_LIFETIME, LookUp, Submit, SubmitRefusal};
pub(crate) use kept::{Keep, Probe};
pub(crate) use life::{Over, Prune, RevokeToken, UseToken};
pub(crate) use pace::{Pace, RecordDenial, RecordTokenRefusal, ReleaseFamily};
pub(crate) use record::{Append, OrderAuthority, RecordKill, SaveCheckpoint};
pub(crate) use redeem::{NotRedeemed, Redeem};
pub(crate) use replays::{Proven, Remember};
