//! What the service keeps of status lists between two requests.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::lock::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use jiff::Timestamp;
use marque_intent::KillState;
use marque_jose::KeyId;
use marque_status_list::{Bits, StatusList};

use super::{STATUS_LIST_PLACES, STATUS_LIST_REBUILT_EVERY, SignedStatusList, within};

/// The lists that were asked for, and which there are.
#[derive(Default)]
pub(crate) struct StatusLists {
    lists: Mutex<BTreeMap<u64, Arc<AsyncMutex<Kept>>>>,
    there: AsyncMutex<Option<There>>,
}

/// Which lists there are.
#[derive(Debug)]
pub(super) struct There {
    pub(super) at: Timestamp,
    pub(super) lists: RangeInclusive<u64>,
}

impl There {
    pub(super) fn fresh(&self, now: Timestamp) -> Option<RangeInclusive<u64>> {
        within(self.at, STATUS_LIST_REBUILT_EVERY, now).then(|| self.lists.clone())
    }
}

impl fmt::Debug for StatusLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusLists").field("lists", &self.lock().len()).finish()
    }
}

/// What is kept of one list between two requests.
#[derive(Debug)]
pub(super) struct Kept {
    /// Tokens that have ended, for good.
    pub(super) ended: StatusList,
    /// Every token that was decided on before this epoch was looked at when the kills of this epoch were in force.
    pub(super) examined_epoch: u64,
    /// Those, and the tokens that the kills of this epoch stop: with the next epoch each is looked at again, as a kill may
    /// be lifted.
    over: (u64, StatusList),
    pub(super) built: Option<Built>,
}

#[derive(Debug)]
pub(super) struct Built {
    /// When it was done.
    pub(super) done: Timestamp,
    /// The epoch of the kills that it knows.
    pub(super) epoch: u64,
    pub(super) list: StatusList,
    pub(super) signed_at: Timestamp,
    /// By which key: what a key signed that is not published any more is worth nothing.
    pub(super) signed_by: KeyId,
    pub(super) signed: Arc<SignedStatusList>,
}

impl Default for Kept {
    fn default() -> Self {
        let places = usize::try_from(STATUS_LIST_PLACES).unwrap_or_default();
        let empty = StatusList::new(Bits::One, places);
        Self { ended: empty.clone(), examined_epoch: 0, over: (0, empty), built: None }
    }
}

impl Kept {
    /// What is known to have ended, or to be stopped by the kills of this epoch.
    pub(super) fn over(&mut self, epoch: u64) -> &mut StatusList {
        if self.over.0 != epoch {
            self.over = (epoch, self.ended.clone());
        }
        &mut self.over.1
    }

    /// Which tokens are looked at that did not end by themselves: those that were decided on before this epoch.
    pub(super) fn decided_before(&self, kills: &KillState) -> u64 {
        if kills.may_stop_what_was_issued_since() {
            i64::MAX.unsigned_abs()
        } else if self.examined_epoch < kills.epoch {
            kills.epoch
        } else {
            0
        }
    }

    /// The last list, if it is young enough and no kill has come since.
    pub(super) fn fresh(&self, now: Timestamp, epoch: u64) -> Option<Arc<SignedStatusList>> {
        let built = self.built.as_ref()?;
        let young = within(built.done, STATUS_LIST_REBUILT_EVERY, now);
        (young && built.epoch == epoch).then(|| Arc::clone(&built.signed))
    }
}

impl StatusLists {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<AsyncMutex<Kept>>>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, list: u64) -> Option<Arc<AsyncMutex<Kept>>> {
        self.lock().get(&list).cloned()
    }

    /// The list's entry; those that are over are forgotten.
    pub(super) fn entry(&self, list: u64, there: &RangeInclusive<u64>) -> Arc<AsyncMutex<Kept>> {
        let mut lists = self.lock();
        lists.retain(|list, _| there.contains(list));
        Arc::clone(lists.entry(list).or_default())
    }

    /// Which lists there are; whoever holds this is the only one who looks.
    pub(super) async fn there(&self) -> AsyncMutexGuard<'_, Option<There>> {
        self.there.lock().await
    }
}
