//! The users of one identity.

use std::time::Duration;

use jiff::Timestamp;
use marque_attest::{Fingerprint, ProcessInstance};
use marque_registry::SharingRule;

use super::{HolderFacts, IdentityUser, Sharing, SharingLimits};

#[derive(Default)]
pub(super) struct Identity {
    /// Whoever came first first.
    holders: Vec<Holder>,
    /// What was put on record within the window.
    records: Vec<Record>,
}

/// One fingerprint that uses the identity.
struct Holder {
    id: u64,
    fingerprint: Fingerprint,
    uid: Option<u32>,
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// How many streams are open.
    open: usize,
    processes: Vec<ProcessInstance>,
    /// Whether processes were forgotten: then it cannot be told that one was the only one.
    overflowed: bool,
}

struct Record {
    pair: (Fingerprint, Fingerprint),
    at: Timestamp,
}

/// What became of one use.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) refused: bool,
    pub(super) records: Vec<Found>,
}

/// Two holders of one identity.
pub(super) struct Found {
    pub(super) earlier: HolderFacts,
    pub(super) newcomer: HolderFacts,
}

impl Identity {
    pub(super) fn used_by(
        &mut self,
        user: &IdentityUser,
        next_holder: &mut u64,
        sharing: &Sharing,
        now: Timestamp,
    ) -> Outcome {
        self.prune(sharing.window(), now);
        // Whoever is known as the process or as the fingerprint is no newcomer.
        let known = self.position(&user.fingerprint).is_some()
            || self.holders.iter().any(|holder| holder.knows(user));
        let newcomer = Holder::of(user, *next_holder, now);
        if !known && !self.holders.is_empty() && sharing.rule() == SharingRule::Deny {
            let records = self.records_about(&newcomer, &sharing.limits, now);
            return Outcome { refused: true, records };
        }
        self.withdraw(user);
        match self.position(&user.fingerprint).and_then(|at| self.holders.get_mut(at)) {
            Some(holder) => holder.seen(user.process, &sharing.limits, now),
            None => {
                *next_holder += 1;
                self.make_room(&sharing.limits);
                self.holders.push(newcomer);
            }
        }
        Outcome {
            refused: false,
            records: self.records_of(&user.fingerprint, &sharing.limits, now),
        }
    }

    /// Counts a stream of the holder with this fingerprint, and says which it is.
    pub(super) fn enter(&mut self, fingerprint: &Fingerprint) -> Option<u64> {
        let at = self.position(fingerprint)?;
        let holder = self.holders.get_mut(at)?;
        holder.open += 1;
        Some(holder.id)
    }

    /// Takes back one [`Identity::enter`].
    pub(super) fn leave(&mut self, id: u64, now: Timestamp) {
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.id == id) {
            holder.open = holder.open.saturating_sub(1);
            holder.last_seen = holder.last_seen.max(now);
        }
    }

    pub(super) fn holders(&self, window: Duration, now: Timestamp) -> Vec<HolderFacts> {
        self.holders.iter().filter(|one| one.holds(window, now)).map(|one| one.facts(now)).collect()
    }

    pub(super) fn is_held_by(&self, user: &IdentityUser, window: Duration, now: Timestamp) -> bool {
        self.holders
            .iter()
            .filter(|holder| holder.holds(window, now))
            .any(|holder| holder.fingerprint == user.fingerprint || holder.knows(user))
    }

    pub(super) fn last_used(&self) -> Option<(bool, Timestamp)> {
        self.holders.iter().map(|holder| (holder.open > 0, holder.last_seen)).max()
    }

    pub(super) fn forget_record(&mut self, one: &Fingerprint, other: &Fingerprint) {
        let pair = pair(one, other);
        self.records.retain(|record| record.pair != pair);
    }

    fn position(&self, fingerprint: &Fingerprint) -> Option<usize> {
        self.holders.iter().position(|holder| holder.fingerprint == *fingerprint)
    }

    fn prune(&mut self, window: Duration, now: Timestamp) {
        self.holders.retain(|holder| holder.holds(window, now));
        self.records.retain(|record| now < record.at + window);
    }

    /// A process that looked otherwise before: what it held alone takes its new fingerprint, unless that is held already.
    fn withdraw(&mut self, user: &IdentityUser) {
        let taken = self.position(&user.fingerprint).is_some();
        let before =
            |holder: &&mut Holder| holder.fingerprint != user.fingerprint && holder.knows(user);
        let Some(holder) = self.holders.iter_mut().find(before) else { return };
        let alone = !holder.overflowed && holder.processes.len() == 1;
        match (alone, taken) {
            (true, false) => holder.fingerprint = user.fingerprint,
            (true, true) => {
                let id = holder.id;
                self.holders.retain(|holder| holder.id != id);
            }
            (false, _) => holder.processes.retain(|process| Some(*process) != user.process),
        }
    }

    /// The pairs with the holder of this fingerprint that are not on record yet.
    fn records_of(
        &mut self,
        fingerprint: &Fingerprint,
        limits: &SharingLimits,
        now: Timestamp,
    ) -> Vec<Found> {
        if self.holders.len() < 2 {
            return Vec::new();
        }
        let Some(at) = self.position(fingerprint) else { return Vec::new() };
        let holder = self.holders.remove(at);
        let records = self.records_about(&holder, limits, now);
        self.holders.insert(at, holder);
        records
    }

    /// The pairs of `newcomer` with every holder that are not on record yet.
    fn records_about(
        &mut self,
        newcomer: &Holder,
        limits: &SharingLimits,
        now: Timestamp,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for holder in &self.holders {
            let pair = pair(&holder.fingerprint, &newcomer.fingerprint);
            let told = self.records.iter().any(|record| record.pair == pair);
            if told || self.records.len() >= limits.records {
                continue;
            }
            self.records.push(Record { pair, at: now });
            let (first, second) = if holder.first_seen <= newcomer.first_seen {
                (holder, newcomer)
            } else {
                (newcomer, holder)
            };
            found.push(Found { earlier: first.facts(now), newcomer: second.facts(now) });
        }
        found
    }

    fn make_room(&mut self, limits: &SharingLimits) {
        if self.holders.len() < limits.fingerprints {
            return;
        }
        let oldest = self.holders.iter().min_by_key(|holder| (holder.open > 0, holder.last_seen));
        if let Some(id) = oldest.map(|holder| holder.id) {
            self.holders.retain(|holder| holder.id != id);
        }
    }
}

impl Holder {
    fn of(user: &IdentityUser, id: u64, now: Timestamp) -> Self {
        let IdentityUser { fingerprint, process, uid } = *user;
        Self {
            id,
            fingerprint,
            uid,
            first_seen: now,
            last_seen: now,
            open: 0,
            processes: process.into_iter().collect(),
            overflowed: false,
        }
    }

    fn knows(&self, user: &IdentityUser) -> bool {
        user.process.is_some_and(|process| self.processes.contains(&process))
    }

    fn seen(&mut self, process: Option<ProcessInstance>, limits: &SharingLimits, now: Timestamp) {
        self.last_seen = self.last_seen.max(now);
        let Some(process) = process else { return };
        self.processes.retain(|known| *known != process);
        self.processes.push(process);
        if self.processes.len() > limits.processes {
            self.processes.remove(0);
            self.overflowed = true;
        }
    }

    fn holds(&self, window: Duration, now: Timestamp) -> bool {
        self.open > 0 || now < self.last_seen + window
    }

    fn facts(&self, now: Timestamp) -> HolderFacts {
        let present = self.open > 0;
        HolderFacts {
            fingerprint: self.fingerprint,
            uid: self.uid,
            pids: self.processes.iter().map(ProcessInstance::pid).collect(),
            first_seen: self.first_seen,
            last_seen: if present { now } else { self.last_seen },
            present,
        }
    }
}

/// Two fingerprints, whichever is named first.
fn pair(one: &Fingerprint, other: &Fingerprint) -> (Fingerprint, Fingerprint) {
    if one <= other { (*one, *other) } else { (*other, *one) }
}
