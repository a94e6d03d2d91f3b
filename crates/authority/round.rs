//! One look at the records, and the steps that are taken by it.
//!
//! The order is what makes it safe to be interrupted anywhere: first the key is kept, then its record, and only then
//! does the key sign for anybody; at the end first the record goes, then the key. A key without a record is one that an
//! interruption left. If it is the next of its purpose it has signed nothing that left the house but its own root, so it is
//! taken up again; if there are newer ones on record it was pruned, and goes.
//!
//! Processes that share one store need no lock: the store rules on each order by the records that are there, and everybody
//! goes by those that are there afterwards.

mod signed;

pub(crate) use self::signed::moving;

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_keys::{KeyError, KeyManager, KeyPurpose, SigningKey, SlotId};
use marque_spiffe::Random;

use crate::{
    AuthorityConfig, AuthorityError, AuthorityOrder, AuthorityRecord, AuthorityState,
    AuthorityStep, AuthorityStore, AuthorityTimes, OrderRefusal,
    certificate::plus_seconds,
    order::next_to_prepare,
    record::{ROTATED, in_state, newest, of},
    root,
    schedule::{Due, Schedule},
    snapshot::read_certificates,
};

/// Who wants a step, and why; nobody where the clock does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderedBy {
    /// The operator, in the form of audit records.
    pub by: Option<String>,
    /// The reason that they gave.
    pub reason: Option<String>,
}

/// What a round works with.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) config: &'a AuthorityConfig,
    pub(crate) keys: &'a dyn KeyManager,
    pub(crate) store: &'a dyn AuthorityStore,
    pub(crate) random: &'a dyn Random,
}

/// One look at the records.
pub(crate) struct Round<'a> {
    means: Means<'a>,
    /// A whole second.
    now: Timestamp,
    pub(crate) records: Vec<AuthorityRecord>,
    /// The slots whose keys were made in this round.
    pub(crate) created: Vec<SlotId>,
}

impl<'a> Round<'a> {
    pub(crate) async fn begin(means: Means<'a>, now: Timestamp) -> Result<Self, AuthorityError> {
        let records = load(means.store).await?;
        Ok(Self { means, now, records, created: Vec::new() })
    }

    /// Makes the first key of a purpose when there is no record of any.
    pub(crate) async fn begin_purpose(
        &mut self,
        purpose: KeyPurpose,
    ) -> Result<(), AuthorityError> {
        if of(&self.records, purpose).next().is_some() {
            return Ok(());
        }
        if purpose == KeyPurpose::X509Authority && self.means.config.upstream.is_some() {
            return self.begin_below_upstream().await;
        }
        let slot = SlotId::first(purpose);
        // Whoever was first, there is one now; if not, the snapshot says so.
        let _whose = self.create(slot, AuthorityState::Active, OrderedBy::default()).await?;
        Ok(())
    }

    /// Takes every step that is due by the clock. What another process did meanwhile is left to it.
    pub(crate) async fn take_due_steps(&mut self) -> Result<(), AuthorityError> {
        let schedule = Schedule(self.means.config);
        let mut taken = Ok(());
        for purpose in ROTATED {
            if purpose == KeyPurpose::WitSvid && !self.means.config.wit_svids {
                continue;
            }
            // What keeps the keys of one purpose from a step keeps no other from theirs.
            let steps = self.take_due_steps_of(purpose, &schedule).await;
            taken = taken.and(steps);
        }
        taken
    }

    async fn take_due_steps_of(
        &mut self,
        purpose: KeyPurpose,
        schedule: &Schedule<'_>,
    ) -> Result<(), AuthorityError> {
        // Each step makes the next one less: a key is retired or pruned once, one is prepared, one activated.
        for _step in 0..MAX_STEPS {
            let Some(due) = schedule.due(&self.records, purpose, self.now) else { break };
            if matches!(due, Due::Prepare) && self.is_signed_by_others(purpose) {
                // Whoever signs is asked when nobody waits for this round, or by hand.
                break;
            }
            let refused = match due {
                Due::Prepare => self.prepare(purpose, OrderedBy::default()).await?,
                Due::Step(step) => self.order(step, OrderedBy::default()).await?,
            };
            if let Err(refusal) = refused {
                tracing::info!(%purpose, %refusal, "a step in the life of a key was not taken");
                break;
            }
        }
        Ok(())
    }

    /// Whether the key that would sign after this step is there: a step is not taken back.
    fn can_sign_after(&self, step: &AuthorityStep) -> Result<(), AuthorityError> {
        let successor = match step {
            AuthorityStep::Activate { slot, .. } => {
                self.records.iter().find(|record| record.slot == *slot)
            }
            AuthorityStep::Taint { slot } => {
                let active = in_state(&self.records, slot.purpose(), AuthorityState::Active);
                active.filter(|record| record.slot == *slot).and_then(|_tainted| {
                    in_state(&self.records, slot.purpose(), AuthorityState::Prepared)
                })
            }
            _ => None,
        };
        let Some(AuthorityRecord { slot, public_key, .. }) = successor else { return Ok(()) };
        match load_key(self.means.keys, slot)? {
            None => Err(AuthorityError::KeyMissing { slot: slot.clone() }),
            Some(key) if key.public_key() != public_key => {
                Err(AuthorityError::KeyChanged { slot: slot.clone() })
            }
            Some(_key) => Ok(()),
        }
    }

    /// Makes the next key of a purpose and publishes it.
    pub(crate) async fn prepare(
        &mut self,
        purpose: KeyPurpose,
        ordered: OrderedBy,
    ) -> Result<Result<SlotId, OrderRefusal>, AuthorityError> {
        if self.is_signed_by_others(purpose) {
            return Ok(Err(OrderRefusal::SignedByHand { purpose }));
        }
        let slot = match next_to_prepare(&self.records, purpose) {
            Ok(slot) => slot,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let created = self.create(slot.clone(), AuthorityState::Prepared, ordered).await?;
        Ok(created.map(|()| slot))
    }

    /// Has the store take a step, and looks at the records again.
    pub(crate) async fn order(
        &mut self,
        step: AuthorityStep,
        OrderedBy { by, reason }: OrderedBy,
    ) -> Result<Result<SlotId, OrderRefusal>, AuthorityError> {
        let slot = match &step {
            AuthorityStep::Record(record) => record.slot.clone(),
            AuthorityStep::Activate { slot, .. }
            | AuthorityStep::Taint { slot }
            | AuthorityStep::Revoke { slot }
            | AuthorityStep::Retire { slot }
            | AuthorityStep::Prune { slot } => slot.clone(),
            AuthorityStep::Follow(_) | AuthorityStep::Unfollow => {
                let first = SlotId::first(KeyPurpose::X509Authority);
                newest(&self.records, first.purpose()).map_or(first, |newest| newest.slot.clone())
            }
        };
        self.can_sign_after(&step)?;
        let order = AuthorityOrder { step, at: self.now, by, reason };
        let ruled = self.means.store.order(order).await;
        let ruled =
            ruled.map_err(|source| AuthorityError::Store { operation: "change", source })?;
        self.records = load(self.means.store).await?;
        Ok(ruled.map(|()| slot))
    }

    /// Removes private keys whose records were pruned.
    pub(crate) fn remove_pruned_keys(&self) -> Result<(), AuthorityError> {
        let kept = self.means.keys.list().map_err(AuthorityError::KeyList)?;
        for slot in kept {
            let is_on_record = self.records.iter().any(|record| record.slot == slot);
            let is_past = newest(&self.records, slot.purpose())
                .is_some_and(|newest| newest.slot.place() > slot.place());
            if !is_on_record && is_past {
                self.remove(&slot)?;
                tracing::info!(%slot, "removed the private key of an authority that was pruned");
            }
        }
        Ok(())
    }

    /// Makes a key and has its record kept, unless another process does so at the same time: then the record that the store
    /// kept is the other's.
    async fn create(
        &mut self,
        slot: SlotId,
        state: AuthorityState,
        ordered: OrderedBy,
    ) -> Result<Result<(), OrderRefusal>, AuthorityError> {
        let (key, is_new) = self.take_up_or_make(&slot)?;
        let record = self.new_record(slot, state, &key)?;
        self.keep(record, is_new, ordered).await
    }

    /// Has the record of a key kept. `is_new` says that nobody else can have the key yet.
    async fn keep(
        &mut self,
        record: AuthorityRecord,
        is_new: bool,
        ordered: OrderedBy,
    ) -> Result<Result<(), OrderRefusal>, AuthorityError> {
        let (slot, state, public_key) =
            (record.slot.clone(), record.state, record.public_key.clone());
        let step = AuthorityStep::Record(Box::new(record));
        let ordered = self.order(step, ordered).await?;
        let kept = self.records.iter().find(|kept| kept.slot == slot);
        match ordered {
            Ok(slot) => {
                if kept.is_none() {
                    return Err(AuthorityError::NotKept { slot });
                }
                let trust_domain = &self.means.config.trust_domain;
                tracing::info!(%slot, %state, %trust_domain, "made a new authority");
                self.created.push(slot);
                Ok(Ok(()))
            }
            Err(refusal) => {
                tracing::info!(%slot, "another process made this authority first");
                let is_another = kept.is_some_and(|kept| kept.public_key != public_key);
                // Ours has signed nothing that left the house. It goes, so that the right one can be put in its place.
                if is_new && is_another {
                    self.remove(&slot)?;
                }
                Ok(Err(refusal))
            }
        }
    }

    /// The key of a slot that has no record, and whether it is made here and now.
    fn take_up_or_make(&self, slot: &SlotId) -> Result<(SigningKey, bool), AuthorityError> {
        if let Some(key) = load_key(self.means.keys, slot)? {
            tracing::warn!(%slot, "a key without a record was found and is used");
            return Ok((key, false));
        }
        match self.means.keys.generate(slot, self.means.config.algorithm(slot.purpose())) {
            Ok(key) => Ok((key, true)),
            Err(source) => {
                // Another process that shares the keys may have been faster.
                let found = match source {
                    KeyError::AlreadyExists { .. } => load_key(self.means.keys, slot)?,
                    _ => None,
                };
                found.map(|key| (key, false)).ok_or_else(|| AuthorityError::Keys {
                    operation: "make",
                    slot: slot.clone(),
                    source,
                })
            }
        }
    }

    /// The record of a new key, with the root that it signs itself when its purpose has one.
    fn new_record(
        &self,
        slot: SlotId,
        state: AuthorityState,
        key: &SigningKey,
    ) -> Result<AuthorityRecord, AuthorityError> {
        let Means { config, random, .. } = self.means;
        let certificate = match slot.purpose() {
            KeyPurpose::X509Authority => Some(root::self_sign(config, key, random, self.now)?),
            _ => None,
        };
        let ends_at = match slot.purpose() {
            KeyPurpose::AuditCheckpoint => None,
            _ => Some(end_of_life(config, self.now)?),
        };
        let mut record = self.record(slot, state, key, ends_at);
        if let Some(certificate) = certificate {
            record.certificate_der = Some(certificate.to_vec());
            read_certificates(config, &record)?;
        }
        Ok(record)
    }

    pub(super) fn record(
        &self,
        slot: SlotId,
        state: AuthorityState,
        key: &SigningKey,
        ends_at: Option<Timestamp>,
    ) -> AuthorityRecord {
        let activated_at = (state == AuthorityState::Active).then_some(self.now);
        AuthorityRecord {
            // The store's to say.
            bundle_sequence: 0,
            state,
            certificate_der: None,
            upstream: None,
            followed: None,
            public_key: key.public_key().to_vec(),
            created_at: self.now,
            times: AuthorityTimes { ends_at, activated_at, ..AuthorityTimes::default() },
            slot,
        }
    }

    fn remove(&self, slot: &SlotId) -> Result<(), AuthorityError> {
        self.means.keys.remove(slot).map_err(|source| AuthorityError::Keys {
            operation: "remove",
            slot: slot.clone(),
            source,
        })
    }
}

/// How many steps one purpose can take in a row: every key that is published leaves, is pruned, and one follows.
const MAX_STEPS: usize = 64;

/// A key for tokens has no certificate that says when it ends: it lasts as long as a root made at the same time.
fn end_of_life(
    config: &AuthorityConfig,
    created_at: Timestamp,
) -> Result<Timestamp, AuthorityError> {
    let lifetime = i64::try_from(config.ca_lifetime.as_secs())
        .map_err(|_range| AuthorityError::Time(created_at))?;
    plus_seconds(created_at, lifetime)
}

pub(crate) fn load_key(
    keys: &dyn KeyManager,
    slot: &SlotId,
) -> Result<Option<SigningKey>, AuthorityError> {
    keys.load(slot).map_err(|source| AuthorityError::Keys {
        operation: "load",
        slot: slot.clone(),
        source,
    })
}

/// Every record, of which no two may have one slot.
pub(crate) async fn load(
    store: &dyn AuthorityStore,
) -> Result<Vec<AuthorityRecord>, AuthorityError> {
    let mut records =
        store.load().await.map_err(|source| AuthorityError::Store { operation: "load", source })?;
    let mut slots = BTreeSet::new();
    if let Some(twice) = records.iter().find(|record| !slots.insert(&record.slot)) {
        return Err(AuthorityError::DuplicateRecord { slot: twice.slot.clone() });
    }
    records.sort_by(|one, other| one.slot.cmp(&other.slot));
    Ok(records)
}

#[cfg(test)]
mod tests;
