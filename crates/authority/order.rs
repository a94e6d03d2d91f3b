//! The steps of an authority's life, each a rule over the records that are there.
//!
//! prepared → active → old → retired, and where a key is believed to be in wrong hands, tainted and then revoked. A store
//! runs [`AuthorityOrder::decide`] inside its transaction, so that of several processes each step is done by one.
//! Deliberately absent: when a step is due (`schedule.rs`), and keys.

mod follow;

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_keys::{KeyPurpose, SlotId};

use crate::{
    AuthorityRecord, AuthorityState, FollowedBundle, OrderRefusal,
    record::{in_state, is_in_bundle, newest, of, sequence},
};

/// How many keys of one purpose are published at a time; a rotation by the clock needs three.
pub const MAX_PUBLISHED_KEYS: usize = 8;

/// A step that somebody wants taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityOrder {
    /// Which step.
    pub step: AuthorityStep,
    /// When it is taken, in whole seconds.
    pub at: Timestamp,
    /// Which operator wants it; nobody where the clock does.
    pub by: Option<String>,
    /// Why, in the words of whoever wants it.
    pub reason: Option<String>,
}

/// A step in the life of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityStep {
    /// Puts a new key on record: as prepared, or as active where it is the first of its purpose. The transaction gives it its
    /// bundle sequence.
    Record(Box<AuthorityRecord>),
    /// Lets a prepared key sign, in place of the active one.
    Activate {
        /// The prepared key.
        slot: SlotId,
        /// How long it must have been published by then.
        published_for: Duration,
    },
    /// Gives a key up: nothing is signed with it any more, and what it signed is issued anew.
    Taint {
        /// The key, of any state that is published.
        slot: SlotId,
    },
    /// Takes a tainted key out of the bundle.
    Revoke {
        /// The key.
        slot: SlotId,
    },
    /// Takes a key out of the bundle of which nothing is valid any more.
    Retire {
        /// The key, old or never used.
        slot: SlotId,
    },
    /// Forgets a key that left the bundle.
    Prune {
        /// The key.
        slot: SlotId,
    },
    /// Goes by the bundle of an upstream.
    Follow(Box<FollowedBundle>),
    /// Goes by no upstream's bundle any more.
    Unfollow,
}

/// What a step writes.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthorityDecision {
    /// New and changed records.
    pub put: Vec<AuthorityRecord>,
    /// The record that goes.
    pub remove: Option<SlotId>,
    /// What the log is told.
    pub event: Event,
}

impl AuthorityDecision {
    /// Carries it out on records in memory.
    pub fn apply(self, records: &mut Vec<AuthorityRecord>) {
        let Self { put, remove, event: _ } = self;
        records.retain(|record| {
            Some(&record.slot) != remove.as_ref() && put.iter().all(|new| new.slot != record.slot)
        });
        records.extend(put);
    }
}

impl AuthorityOrder {
    /// Rules on the step by the records that are there.
    ///
    /// # Errors
    /// Why the step is not taken; it says what to do instead.
    pub fn decide(&self, records: &[AuthorityRecord]) -> Result<AuthorityDecision, OrderRefusal> {
        match &self.step {
            AuthorityStep::Record(record) => self.record(records, record),
            AuthorityStep::Activate { slot, published_for } => {
                self.activate(records, slot, *published_for)
            }
            AuthorityStep::Taint { slot } => self.taint(records, slot),
            AuthorityStep::Revoke { slot } => self.revoke(records, slot),
            AuthorityStep::Retire { slot } => self.retire(records, slot),
            AuthorityStep::Prune { slot } => self.prune(records, slot),
            AuthorityStep::Follow(heard) => self.follow(records, heard),
            AuthorityStep::Unfollow => self.unfollow(records),
        }
    }

    fn record(
        &self,
        records: &[AuthorityRecord],
        record: &AuthorityRecord,
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let (slot, purpose) = (&record.slot, record.slot.purpose());
        let kind = match newest(records, purpose) {
            None if record.state == AuthorityState::Active => EventKind::AuthorityCreated,
            None => return Err(OrderRefusal::NothingActive { purpose }),
            Some(_) => {
                let next = next_to_prepare(records, purpose)?;
                if next != *slot || record.state != AuthorityState::Prepared {
                    return Err(OrderRefusal::NotTheNext { slot: slot.clone() });
                }
                EventKind::AuthorityPrepared
            }
        };
        let mut record = record.clone();
        record.bundle_sequence = self.sequence_after(records, purpose);
        let event = self.event(kind, &record);
        let holder = self.with_root_of(records, &record);
        let put = holder.into_iter().chain([record]).collect();
        Ok(AuthorityDecision { put, remove: None, event })
    }

    fn activate(
        &self,
        records: &[AuthorityRecord],
        slot: &SlotId,
        published_for: Duration,
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let prepared = find(records, slot)?;
        if prepared.state != AuthorityState::Prepared {
            let (slot, state) = (slot.clone(), prepared.state);
            return Err(OrderRefusal::NotPrepared { slot, state });
        }
        let usable_from = prepared.created_at.checked_add(published_for);
        match usable_from {
            Ok(usable_from) if usable_from <= self.at => {}
            usable_from => {
                let until = usable_from.unwrap_or(Timestamp::MAX);
                return Err(OrderRefusal::TooEarly { slot: slot.clone(), until });
            }
        }
        let replaced = in_state(records, slot.purpose(), AuthorityState::Active);
        let activated = self.activated(prepared);
        let event = self.event(EventKind::AuthorityActivated, &activated);
        let event = match replaced {
            Some(replaced) => event.with_detail("replaces", replaced.slot.to_string()),
            None => event,
        };
        let put = replaced.map(|active| self.replaced(active)).into_iter().chain([activated]);
        Ok(AuthorityDecision { put: put.collect(), remove: None, event })
    }

    fn taint(
        &self,
        records: &[AuthorityRecord],
        slot: &SlotId,
    ) -> Result<AuthorityDecision, OrderRefusal> {
        is_rotated(slot)?;
        let found = find(records, slot)?;
        if found.is_tainted() {
            return Err(OrderRefusal::AlreadyTainted { slot: slot.clone() });
        }
        let mut put = Vec::new();
        let mut tainted = match found.state {
            AuthorityState::Active => {
                let purpose = slot.purpose();
                let prepared = in_state(records, purpose, AuthorityState::Prepared)
                    .ok_or(OrderRefusal::NothingPrepared { purpose })?;
                put.push(self.activated(prepared));
                self.replaced(found)
            }
            AuthorityState::Prepared => self.replaced(found),
            AuthorityState::Old => found.clone(),
            state @ (AuthorityState::Revoked | AuthorityState::Retired) => {
                return Err(OrderRefusal::NotPublished { slot: slot.clone(), state });
            }
        };
        tainted.times.tainted_at = Some(self.at);
        let event = self.event(EventKind::AuthorityTainted, &tainted);
        let event = match put.first() {
            Some(activated) => event.with_detail("activated", activated.slot.to_string()),
            None => event,
        };
        put.push(tainted);
        Ok(AuthorityDecision { put, remove: None, event })
    }

    fn revoke(
        &self,
        records: &[AuthorityRecord],
        slot: &SlotId,
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let found = find(records, slot)?;
        match found.state {
            AuthorityState::Active => Err(OrderRefusal::Active { slot: slot.clone() }),
            state @ (AuthorityState::Revoked | AuthorityState::Retired) => {
                Err(OrderRefusal::NotPublished { slot: slot.clone(), state })
            }
            AuthorityState::Prepared | AuthorityState::Old if !found.is_tainted() => {
                Err(OrderRefusal::NotTainted { slot: slot.clone() })
            }
            AuthorityState::Prepared | AuthorityState::Old => {
                let left = self.left(records, found, AuthorityState::Revoked);
                let event = self.event(EventKind::AuthorityRevoked, &left);
                Ok(AuthorityDecision { put: vec![left], remove: None, event })
            }
        }
    }

    fn retire(
        &self,
        records: &[AuthorityRecord],
        slot: &SlotId,
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let found = find(records, slot)?;
        match found.state {
            AuthorityState::Active => Err(OrderRefusal::Active { slot: slot.clone() }),
            state @ (AuthorityState::Revoked | AuthorityState::Retired) => {
                Err(OrderRefusal::NotPublished { slot: slot.clone(), state })
            }
            AuthorityState::Prepared | AuthorityState::Old => {
                let left = self.left(records, found, AuthorityState::Retired);
                let event = self.event(EventKind::AuthorityRetired, &left);
                Ok(AuthorityDecision { put: vec![left], remove: None, event })
            }
        }
    }

    /// The newest key of a purpose stays on record, so that its name is never given again. Nor does the sequence go when the
    /// record goes that had the highest one.
    fn prune(
        &self,
        records: &[AuthorityRecord],
        slot: &SlotId,
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let found = find(records, slot)?;
        let newest = newest(records, slot.purpose()).filter(|newest| newest.slot != *slot);
        let Some(newest) = newest.filter(|_| !found.state.is_published()) else {
            return Err(OrderRefusal::StillNeeded { slot: slot.clone() });
        };
        let followed = found.followed.clone().or_else(|| newest.followed.clone());
        let bundle_sequence = sequence(records);
        let kept = AuthorityRecord { bundle_sequence, followed, ..newest.clone() };
        let event = self.event(EventKind::AuthorityPruned, found);
        Ok(AuthorityDecision { put: vec![kept], remove: Some(slot.clone()), event })
    }

    fn activated(&self, record: &AuthorityRecord) -> AuthorityRecord {
        let mut record = record.clone();
        record.state = AuthorityState::Active;
        record.times.activated_at = Some(self.at);
        record
    }

    fn replaced(&self, record: &AuthorityRecord) -> AuthorityRecord {
        let mut record = record.clone();
        record.state = AuthorityState::Old;
        record.times.replaced_at = Some(self.at);
        record
    }

    fn left(
        &self,
        records: &[AuthorityRecord],
        record: &AuthorityRecord,
        state: AuthorityState,
    ) -> AuthorityRecord {
        let mut record = record.clone();
        record.state = state;
        record.times.left_at = Some(self.at);
        record.bundle_sequence = self.sequence_after(records, record.slot.purpose());
        record
    }

    /// A key that comes into the bundle or leaves it changes the bundle, so its sequence goes up (TB-2). It never falls behind
    /// the seconds since 1970, so that it goes up as well when the store was lost and began anew.
    fn sequence_after(&self, records: &[AuthorityRecord], purpose: KeyPurpose) -> u64 {
        let present = sequence(records);
        if is_in_bundle(purpose) {
            present.saturating_add(1).max(u64::try_from(self.at.as_second()).unwrap_or(0))
        } else {
            present
        }
    }

    fn event(&self, kind: EventKind, record: &AuthorityRecord) -> Event {
        let mut event = Event::new(kind, self.at).with_detail("slot", record.slot.to_string());
        if let Some(ends_at) = record.times.ends_at {
            event = event.with_expires_at(ends_at);
        }
        if let Some(by) = &self.by {
            event = event.with_actor(by.clone());
        }
        match &self.reason {
            Some(reason) => event.with_detail("reason", reason.as_str()),
            None => event,
        }
    }
}

/// The key of a purpose that is prepared next.
pub(crate) fn next_to_prepare(
    records: &[AuthorityRecord],
    purpose: KeyPurpose,
) -> Result<SlotId, OrderRefusal> {
    let newest = newest(records, purpose).ok_or(OrderRefusal::NothingActive { purpose })?;
    is_rotated(&newest.slot)?;
    if let Some(prepared) = in_state(records, purpose, AuthorityState::Prepared) {
        return Err(OrderRefusal::AlreadyPrepared { slot: prepared.slot.clone() });
    }
    let published = of(records, purpose).filter(|record| record.state.is_published());
    if published.count() >= MAX_PUBLISHED_KEYS {
        return Err(OrderRefusal::TooMany { purpose });
    }
    newest.slot.successor().ok_or_else(|| OrderRefusal::NotTheNext { slot: newest.slot.clone() })
}

fn is_rotated(slot: &SlotId) -> Result<(), OrderRefusal> {
    match slot.purpose() {
        KeyPurpose::AuditCheckpoint => Err(OrderRefusal::NotRotated { purpose: slot.purpose() }),
        _ => Ok(()),
    }
}

fn find<'a>(
    records: &'a [AuthorityRecord],
    slot: &SlotId,
) -> Result<&'a AuthorityRecord, OrderRefusal> {
    let found = records.iter().find(|record| record.slot == *slot);
    found.ok_or_else(|| OrderRefusal::NoSuchKey { slot: slot.clone() })
}

#[cfg(test)]
mod tests;
