//! Intents as this process last stored or loaded them, so that what has not changed since is not parsed again.
//!
//! An intent here counts only together with its row: a transaction that finds another version in the database loads it
//! anew. Deliberately absent: any claim to be the newest, because other replicas write too.

use std::sync::Arc;

use marque_intent::{Intent, IntentId};
use moka::sync::Cache;

use crate::Failure;
use crate::rows::{IntentRow, name};
use crate::unreadable::Unreadable;

/// How many intents are remembered: some tens of megabytes.
const MAX_KNOWN: u64 = 8192;

/// The intents that were last seen, and those that do not read.
#[derive(Debug)]
pub(crate) struct KnownIntents {
    seen: Cache<IntentId, Arc<Intent>>,
    unreadable: Unreadable,
}

impl KnownIntents {
    pub(crate) fn new() -> Self {
        Self { seen: Cache::new(MAX_KNOWN), unreadable: Unreadable::default() }
    }

    /// The rows that were found not to read.
    pub(crate) fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    /// As last seen, which may be behind.
    pub(crate) fn last_seen(&self, id: &IntentId) -> Option<Arc<Intent>> {
        self.seen.get(id)
    }

    /// The intent, if it was seen in this state and version.
    pub(crate) fn in_version(
        &self,
        id: &IntentId,
        state: &str,
        version: i64,
    ) -> Option<Arc<Intent>> {
        let known = self.seen.get(id)?;
        let same =
            i64::try_from(known.state_version()) == Ok(version) && known.state().as_str() == state;
        same.then_some(known)
    }

    /// The intent of a row: as it was seen in this version, or else read, and remembered.
    pub(crate) fn of_row(&self, row: IntentRow) -> Result<Arc<Intent>, Failure> {
        let id = name(IntentRow::TABLE, &row.id, &row.id)?;
        match self.in_version(&id, &row.state, row.state_version) {
            Some(known) => Ok(known),
            None => row.into_intent().map(Arc::new).inspect(|intent| self.keep(intent)),
        }
    }

    /// Remembers what is in the database now.
    pub(crate) fn keep(&self, intent: &Arc<Intent>) {
        self.seen.insert(intent.id().clone(), Arc::clone(intent));
    }
}
