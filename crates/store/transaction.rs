//! A transaction as pure planning: from what was loaded to what is to be written.
//!
//! Both engines run the same plans. An engine opens a database transaction, loads the rows that the waiting plans ask
//! for, lets [`Batch`] run them one after the other, writes what came out of it and commits; only then is anybody
//! answered. A plan that refuses has written nothing, because writes exist only once a plan has succeeded.
//!
//! Deliberately absent: SQL, threads and waiting.

mod batch;
mod entries;
mod open;
mod replays;
mod view;

pub(crate) use batch::{Batch, Changes, IntentChangeRow, Taken, TokenChangeRow};
pub(crate) use entries::{EntryKeys, FoundEntries};
pub(crate) use open::OpenGrants;
pub(crate) use replays::{Replays, forgotten_with};
pub(crate) use view::{Found, Loaded, OverRows, View};

use std::collections::BTreeSet;

use marque_audit::{Event, StoredCheckpoint};
use marque_authority::AuthorityRecord;
use marque_exchange::{Deferral, ReplayKey, SingleUse, TokenId, TokenRecord};
use marque_intent::pace::{PaceKey, PaceRow};
use marque_intent::{DenialId, DenialRecord, Digest, Holding, Intent, IntentId, PlaybookId};
use marque_keys::SlotId;
use marque_registry::{Entry, EntryId};
use marque_spiffe::SpiffeId;

use crate::journal::Order;
use crate::rows::Idempotency;
use crate::transactions::Over;
use crate::{Failure, Kept};

/// One operation of the domain, whole or not at all.
pub(crate) trait Transaction: std::fmt::Debug + Send + 'static {
    /// What the caller learns, refusals of the domain included.
    type Answer: Send;

    /// Names the rows that the plan looks at.
    fn keys(&self, keys: &mut Keys);

    /// Decides. An error writes nothing; a refusal in the answer may come with writes.
    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure>;
}

/// The rows that a batch looks at, in the order in which they are locked.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) intents: BTreeSet<IntentId>,
    pub(crate) tokens: BTreeSet<TokenId>,
    /// Intents of which every token is looked at that derives from another and has not expired.
    pub(crate) families: BTreeSet<IntentId>,
    /// Agent and key.
    pub(crate) idempotency: BTreeSet<(String, String)>,
    /// Intents that are looked at without being named.
    pub(crate) recent: BTreeSet<Recent>,
    /// With the intent of each.
    pub(crate) deferrals: BTreeSet<Digest>,
    /// Clients of which every deferral is looked at.
    pub(crate) deferral_clients: BTreeSet<SpiffeId>,
    pub(crate) replays: BTreeSet<ReplayKey>,
    /// Kind and key.
    pub(crate) kept: BTreeSet<(String, String)>,
    /// Things of which every open grant is looked at that counts against them.
    pub(crate) open: BTreeSet<Holding>,
    /// Intents of which everything is looked at that was asked for under them.
    pub(crate) below: BTreeSet<IntentId>,
    /// With the intents that a row says may be open.
    pub(crate) pace: BTreeSet<PaceKey>,
    /// Registration entries.
    pub(crate) entries: EntryKeys,
    /// Whether the records of all authorities are needed.
    pub(crate) authorities: bool,
    /// Whether rows are looked for that may be forgotten, and which.
    pub(crate) over: Option<Over>,
}

/// How many intents of one agent and playbook are looked at.
pub(crate) const MAX_RECENT: usize = 64;

/// The newest intents of one agent and playbook, [`MAX_RECENT`] at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Recent {
    pub(crate) agent: SpiffeId,
    pub(crate) playbook: PlaybookId,
    /// Opened after this instant, in microseconds since 1970.
    pub(crate) since: i64,
}

/// An answer, and the writes that must be durable before it is given.
#[derive(Debug)]
pub(crate) struct Plan<A> {
    pub(crate) answer: A,
    pub(crate) writes: Writes,
}

impl<A> Plan<A> {
    /// An answer that changes nothing.
    pub(crate) fn nothing(answer: A) -> Self {
        Self { answer, writes: Writes::default() }
    }
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Become leaves, in this order.
    pub(crate) events: Vec<Event>,
    /// New and changed intents; a changed one replaces the version that the view had.
    pub(crate) intents: Vec<Intent>,
    pub(crate) tokens: Vec<TokenRecord>,
    /// Tokens that were there before, each in place of the record that the view had.
    pub(crate) changed_tokens: Vec<TokenRecord>,
    pub(crate) idempotency: Vec<Idempotency>,
    /// New and changed ones alike.
    pub(crate) deferrals: Vec<Deferral>,
    pub(crate) forgotten_deferrals: Vec<Digest>,
    /// Proofs that were fresh.
    pub(crate) replays: Vec<SingleUse>,
    pub(crate) pace: Vec<(PaceKey, PaceRow)>,
    pub(crate) denials: Vec<DenialRecord>,
    pub(crate) kills: Vec<Order>,
    /// New and changed ones alike.
    pub(crate) authorities: Vec<AuthorityRecord>,
    pub(crate) deleted_authorities: Vec<SlotId>,
    pub(crate) created_entries: Vec<Entry>,
    pub(crate) deleted_entries: Vec<EntryId>,
    pub(crate) deleted_tokens: Vec<TokenId>,
    /// Agent and key.
    pub(crate) deleted_idempotency: Vec<(String, String)>,
    /// By their text.
    pub(crate) deleted_pace: Vec<String>,
    pub(crate) deleted_denials: Vec<DenialId>,
    pub(crate) checkpoint: Option<StoredCheckpoint>,
    /// New and changed ones alike.
    pub(crate) kept: Vec<Kept>,
    /// Kind and key.
    pub(crate) forgotten_kept: Vec<(String, String)>,
}
