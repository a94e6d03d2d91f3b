//! Callers who are alike: with equal selectors, under one scope, asking for one identity or for all.
//!
//! What one of them gets, all of them get. So it is worked out once for each change, by whichever of them comes first,
//! and held here for the others.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use marque_registry::Entry;
use marque_spiffe::{SelectorSet, SpiffeId};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::bundles::BundleUpdate;
use crate::entitlement::{entitled, first_end};
use crate::groups::Groups;
use crate::scope::Scope;
use crate::slot::same_entry;
use crate::state::IssuerState;
use crate::terms::mint_alike;
use crate::wit::WitUpdate;
use crate::x509::X509Update;

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    pub(crate) selectors: SelectorSet,
    pub(crate) scope: Scope,
    /// The identity asked for; all of them where none is named.
    pub(crate) wanted: Option<SpiffeId>,
}

/// Everybody who is asking alike, as long as somebody is.
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) who: Arc<Who>,
    pub(crate) x509: Answers<X509Update>,
    pub(crate) wit: Answers<WitUpdate>,
    pub(crate) bundles: Answers<BundleUpdate>,
    changed: Notify,
    entitlement: Mutex<Option<Arc<Entitlement>>>,
    /// When the group is woken by the clock; [`Timestamp::MAX`] when it is not.
    wakes_at: Mutex<Timestamp>,
    groups: Arc<Groups>,
}

/// What a group may have by one state of the issuer.
#[derive(Debug)]
pub(crate) struct Entitlement {
    pub(crate) state: Arc<IssuerState>,
    /// The default identity first; there may be none.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// When the first of the entries ends by itself.
    pub(crate) first_end: Option<Timestamp>,
    /// When these bundles were first seen.
    pub(crate) bundles_since: Timestamp,
}

/// The newest answer of one kind, and the right to make the next.
pub(crate) struct Answers<U> {
    newest: Mutex<Option<Arc<Answer<U>>>>,
    pub(crate) making: tokio::sync::Mutex<()>,
}

/// What a group is told, by what it may have, until when.
#[derive(Debug)]
pub(crate) struct Answer<U> {
    pub(crate) update: U,
    pub(crate) entitlement: Arc<Entitlement>,
    pub(crate) look_again: Timestamp,
}

impl Group {
    pub(crate) fn new(id: u64, who: Arc<Who>, groups: Arc<Groups>) -> Self {
        Self {
            id,
            who,
            x509: Answers::default(),
            wit: Answers::default(),
            bundles: Answers::default(),
            changed: Notify::new(),
            entitlement: Mutex::default(),
            wakes_at: Mutex::new(Timestamp::MAX),
            groups,
        }
    }

    /// Completes with the next change that may concern the group, counted from this call and not from the first poll.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Has everybody in the group look again.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// The entitlement by `state`, which must be no older than in any call before; `since` says since when the
    /// bundles of a state are known.
    pub(crate) fn entitlement(
        &self,
        state: impl FnOnce() -> Arc<IssuerState>,
        now: Timestamp,
        since: impl FnOnce(&IssuerState) -> Timestamp,
    ) -> Arc<Entitlement> {
        let mut place = lock(&self.entitlement);
        // Taken while nobody else can put down a newer one.
        let state = state();
        if let Some(held) = place.as_ref().filter(|held| held.is_of(&state, now)) {
            return Arc::clone(held);
        }
        let Who { selectors, scope, wanted } = &*self.who;
        let mut entries = entitled(&state, selectors, scope, now);
        if let Some(wanted) = wanted {
            entries.retain(|entry| entry.spiffe_id() == wanted);
        }
        let bundles_since = since(&state);
        let first_end = first_end(&entries);
        let next = Arc::new(Entitlement { state, entries, first_end, bundles_since });
        *place = Some(Arc::clone(&next));
        next
    }

    /// Has the clock wake the group at `at` or before.
    pub(crate) fn wake_at(self: &Arc<Self>, at: Timestamp) {
        let mut wakes_at = lock(&self.wakes_at);
        if at < *wakes_at {
            self.groups.set_alarm(self, *wakes_at, at);
            *wakes_at = at;
        }
    }

    /// The alarm has gone off.
    pub(crate) fn forget_alarm(&self) {
        *lock(&self.wakes_at) = Timestamp::MAX;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let wakes_at = *self.wakes_at.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.groups.leave(self.id, &self.who, wakes_at);
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Entitlement {
    fn is_of(&self, state: &Arc<IssuerState>, now: Timestamp) -> bool {
        Arc::ptr_eq(&self.state, state) && self.first_end.is_none_or(|end| now < end)
    }

    /// Whether the two give the same identities by the same bundles.
    pub(crate) fn gives_the_same_as(&self, other: &Self) -> bool {
        self.has_the_bundles_of(other) && self.has_the_rest_of(other)
    }

    /// Whether the two give the same identities, minted alike.
    pub(crate) fn has_the_rest_of(&self, other: &Self) -> bool {
        mint_alike(self.state.registry.document(), other.state.registry.document())
            && self.has_the_entries_of(other)
    }

    pub(crate) fn has_the_bundles_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state.bundles, &other.state.bundles)
            || self.state.bundles == other.state.bundles
    }

    fn has_the_entries_of(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().zip(&other.entries).all(|(a, b)| same_entry(a, b))
    }
}

impl<U> Answers<U> {
    pub(crate) fn newest(&self) -> Option<Arc<Answer<U>>> {
        lock(&self.newest).clone()
    }

    pub(crate) fn put(&self, answer: &Arc<Answer<U>>) {
        *lock(&self.newest) = Some(Arc::clone(answer));
    }
}

impl<U> Default for Answers<U> {
    fn default() -> Self {
        Self { newest: Mutex::new(None), making: tokio::sync::Mutex::new(()) }
    }
}

/// Whoever panicked while holding it left it whole: every change is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
