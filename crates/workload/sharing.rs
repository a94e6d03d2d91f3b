//! Who uses which identity: notices one identity in the hands of two attestation fingerprints (M 2, M 3).
//!
//! Whoever hands out SVIDs says so here before they leave ([`Sharing::observe`]), and says for how long a stream stays
//! open ([`Sharing::stay`]). A fingerprint *holds* an identity while a stream with it is open, and for the window after it
//! was last handed out. A second fingerprint within that time is a shared identity: put on record once per pair and
//! window, and with [`SharingRule::Deny`] refused. Whoever holds the identity already is never refused.
//!
//! Decided here, and why:
//! - A holder whose processes have all exited holds on until the window is over. Its SVIDs may still be in use, programs
//!   that run for a moment would otherwise pass an identity around unseen, and whoever ends an agent could take its place.
//!   So with `deny` an upgraded agent waits for the window.
//! - One process whose fingerprint changes while it runs the same program (its groups or labels changed) is one user, not
//!   two: the fingerprint that it held is renamed, unless another process has used that too.
//! - Each process of a fleet sees its own callers; the log that they share has what all of them saw.
//!
//! Deliberately absent: writing the record (the edge has the log), and persistence: after a restart the first to come is
//! the holder.

mod identity;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use marque_attest::{Fingerprint, ProcessInstance};
use marque_registry::SharingRule;
use marque_spiffe::{Clock, SpiffeId};

use self::identity::Identity;

/// How much is remembered; what is beyond is forgotten, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharingLimits {
    /// How many identities.
    pub identities: usize,
    /// How many fingerprints of one identity.
    pub fingerprints: usize,
    /// How many processes of one fingerprint.
    pub processes: usize,
    /// How many records about one identity are made within a window: whoever can make fingerprints at will does not
    /// fill the log.
    pub records: usize,
}

impl Default for SharingLimits {
    fn default() -> Self {
        Self { identities: 16 * 1024, fingerprints: 64, processes: 16, records: 64 }
    }
}

/// Who is about to be handed an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityUser {
    /// What it looks like to attestation.
    pub fingerprint: Fingerprint,
    /// Which process it is; `None` where there is none, as for a container that is known by its name alone.
    pub process: Option<ProcessInstance>,
    /// Its effective user id; `None` where there is no process.
    pub uid: Option<u32>,
}

/// What became of an observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The identities that the user must not be handed.
    pub refused: Vec<SpiffeId>,
    /// What has to be put on record.
    pub records: Vec<SharedUse>,
}

/// Two users of one identity within one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedUse {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// Who held it first.
    pub earlier: HolderFacts,
    /// Who came second.
    pub newcomer: HolderFacts,
    /// Whether the newcomer was refused.
    pub refused: bool,
    /// When it was noticed.
    pub at: Timestamp,
}

/// One fingerprint that holds an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderFacts {
    /// The fingerprint.
    pub fingerprint: Fingerprint,
    /// The user id of its first process.
    pub uid: Option<u32>,
    /// Its processes that were seen last, oldest first; some may have exited.
    pub pids: Vec<i32>,
    /// Since when it holds the identity.
    pub first_seen: Timestamp,
    /// When it was last handed the identity, or last had a stream with it.
    pub last_seen: Timestamp,
    /// Whether it has a stream open right now.
    pub present: bool,
}

/// The users of every identity of one trust domain.
pub struct Sharing {
    terms: RwLock<(SharingRule, Duration)>,
    limits: SharingLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    identities: HashMap<SpiffeId, Identity>,
    /// Names holders for good, whatever becomes of their fingerprint.
    next_holder: u64,
}

/// An open stream: what was handed out stays in use until this is dropped.
#[must_use = "the stream counts as open until this is dropped"]
pub struct Stay {
    sharing: Arc<Sharing>,
    holders: Vec<(SpiffeId, u64)>,
}

impl Sharing {
    /// Nobody has used anything yet.
    pub fn new(rule: SharingRule, window: Duration, clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(rule, window, clock, SharingLimits::default())
    }

    /// As [`Sharing::new`], with limits of one's own.
    pub fn with_limits(
        rule: SharingRule,
        window: Duration,
        clock: Arc<dyn Clock>,
        limits: SharingLimits,
    ) -> Self {
        Self { terms: RwLock::new((rule, window)), limits, clock, state: Mutex::default() }
    }

    /// What is done about shared identities.
    pub fn rule(&self) -> SharingRule {
        self.terms().0
    }

    /// How long an identity is its holder's after it was last handed out.
    pub fn window(&self) -> Duration {
        self.terms().1
    }

    /// Goes on by these, with all that is known of who uses what.
    pub fn set_terms(&self, rule: SharingRule, window: Duration) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = (rule, window);
    }

    fn terms(&self) -> (SharingRule, Duration) {
        *self.terms.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that `user` is about to be handed these identities. Those in the answer's `refused` must not leave.
    pub fn observe(&self, identities: &[SpiffeId], user: &IdentityUser) -> Observed {
        let now = self.clock.now();
        let mut state = self.lock();
        let mut observed = Observed::default();
        for spiffe_id in identities {
            let identity = state.identity(spiffe_id, self, now);
            let outcome = identity.identity.used_by(user, identity.next_holder, self, now);
            observed.records.extend(outcome.records.into_iter().map(|found| SharedUse {
                spiffe_id: spiffe_id.clone(),
                earlier: found.earlier,
                newcomer: found.newcomer,
                refused: outcome.refused,
                at: now,
            }));
            if outcome.refused {
                observed.refused.push(spiffe_id.clone());
            }
        }
        observed
    }

    /// Says that `user`, who was just handed these identities, goes on to use them until the answer is dropped.
    pub fn stay(self: &Arc<Self>, identities: &[SpiffeId], user: &IdentityUser) -> Stay {
        let mut state = self.lock();
        let mut holders = Vec::with_capacity(identities.len());
        for spiffe_id in identities {
            let identity = state.identities.get_mut(spiffe_id);
            if let Some(holder) = identity.and_then(|identity| identity.enter(&user.fingerprint)) {
                holders.push((spiffe_id.clone(), holder));
            }
        }
        Stay { sharing: Arc::clone(self), holders }
    }

    /// Takes back that a use was put on record, because it could not be: the next observation says it again.
    pub fn not_recorded(&self, shared: &SharedUse) {
        if let Some(identity) = self.lock().identities.get_mut(&shared.spiffe_id) {
            identity.forget_record(&shared.earlier.fingerprint, &shared.newcomer.fingerprint);
        }
    }

    /// Who holds an identity right now, whoever came first first.
    pub fn holders(&self, spiffe_id: &SpiffeId) -> Vec<HolderFacts> {
        let now = self.clock.now();
        let state = self.lock();
        state
            .identities
            .get(spiffe_id)
            .map_or_else(Vec::new, |found| found.holders(self.window(), now))
    }

    /// Every identity that more than one fingerprint holds right now, in order.
    pub fn shared(&self) -> Vec<(SpiffeId, Vec<HolderFacts>)> {
        let now = self.clock.now();
        let state = self.lock();
        let mut shared: Vec<_> = state
            .identities
            .iter()
            .map(|(spiffe_id, identity)| (spiffe_id.clone(), identity.holders(self.window(), now)))
            .filter(|(_, holders)| holders.len() > 1)
            .collect();
        shared.sort_by(|(one, _), (other, _)| one.cmp(other));
        shared
    }

    /// Who keeps `user` from the identity right now, and until when at least; `None` when nobody does. A holder with an
    /// open stream gives no time.
    pub fn held_against(
        &self,
        spiffe_id: &SpiffeId,
        user: &IdentityUser,
    ) -> Option<(HolderFacts, Option<Timestamp>)> {
        let (rule, window) = self.terms();
        if rule != SharingRule::Deny {
            return None;
        }
        let now = self.clock.now();
        let state = self.lock();
        let identity = state.identities.get(spiffe_id)?;
        if identity.is_held_by(user, window, now) {
            return None;
        }
        let holder = identity.holders(window, now).into_iter().next()?;
        let until = (!holder.present).then_some(holder.last_seen + window);
        Some((holder, until))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panicking holder of the lock leaves behind is at worst one use that was not counted.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One identity of the state, borrowed for a use of it.
struct Borrowed<'a> {
    identity: &'a mut Identity,
    next_holder: &'a mut u64,
}

impl State {
    fn identity(
        &mut self,
        spiffe_id: &SpiffeId,
        sharing: &Sharing,
        now: Timestamp,
    ) -> Borrowed<'_> {
        if !self.identities.contains_key(spiffe_id)
            && self.identities.len() >= sharing.limits.identities
        {
            self.make_room(sharing.window(), now);
        }
        let identity = self.identities.entry(spiffe_id.clone()).or_default();
        Borrowed { identity, next_holder: &mut self.next_holder }
    }

    /// Forgets what nobody holds any more; else the identity that was not used for longest.
    fn make_room(&mut self, window: Duration, now: Timestamp) {
        let before = self.identities.len();
        self.identities.retain(|_, identity| !identity.holders(window, now).is_empty());
        if self.identities.len() < before {
            return;
        }
        let oldest = self.identities.iter().min_by_key(|(_, identity)| identity.last_used());
        if let Some(oldest) = oldest.map(|(spiffe_id, _)| spiffe_id.clone()) {
            self.identities.remove(&oldest);
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let now = self.sharing.clock.now();
        let mut state = self.sharing.lock();
        for (spiffe_id, holder) in &self.holders {
            if let Some(identity) = state.identities.get_mut(spiffe_id) {
                identity.leave(*holder, now);
            }
        }
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing")
            .field("rule", &self.rule())
            .field("window", &self.window())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stay").field("holders", &self.holders).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
