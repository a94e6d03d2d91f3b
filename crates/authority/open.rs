//! Opening: every purpose gets an active key, made now or found again.
//!
//! The order is what makes it safe to be interrupted anywhere: first the key is kept, then its record, and only then
//! does the key sign for anybody. A key without a record is one that an interrupted opening left; it has signed nothing
//! that left the house but its own root, so it is taken up again.
//!
//! Processes that open one store at once need no lock: the store keeps the first record of a slot, and everybody goes by
//! the records that are there after their own save. Deliberately absent: rotation.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_keys::{KeyError, KeyManager, KeyPurpose, SigningKey, SlotId};
use marque_spiffe::{Bundle, Random};

use crate::{
    AuthorityConfig, AuthorityError, AuthorityRecord, AuthorityState, AuthorityStore, RootProblem,
    root::{self, Root},
    signer::name_key,
};

/// One opening of the authorities of a trust domain.
pub(crate) struct Opening<'a> {
    config: &'a AuthorityConfig,
    keys: &'a dyn KeyManager,
    store: &'a dyn AuthorityStore,
    random: &'a dyn Random,
    /// A whole second.
    now: Timestamp,
    records: Vec<AuthorityRecord>,
    created: Vec<SlotId>,
}

/// The active key of a purpose and its record.
pub(crate) struct Active {
    pub(crate) record: AuthorityRecord,
    pub(crate) key: SigningKey,
}

impl<'a> Opening<'a> {
    pub(crate) async fn begin(
        config: &'a AuthorityConfig,
        keys: &'a dyn KeyManager,
        store: &'a dyn AuthorityStore,
        random: &'a dyn Random,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        config.check().map_err(AuthorityError::Config)?;
        let records = load(store).await?;
        Ok(Self { config, keys, store, random, now, records, created: Vec::new() })
    }

    /// The active key of a purpose; its first one is made when there is no record of any.
    pub(crate) async fn active(&mut self, purpose: KeyPurpose) -> Result<Active, AuthorityError> {
        if self.of(purpose).next().is_none() {
            self.create(SlotId::first(purpose)).await?;
        }
        let mut active = self.of(purpose).filter(|record| record.state == AuthorityState::Active);
        match (active.next(), active.next()) {
            (Some(record), None) => self.reopen(record.clone()),
            (Some(_), Some(_)) => Err(AuthorityError::SeveralActive { purpose }),
            (None, _) => Err(AuthorityError::NoneActive { purpose }),
        }
    }

    /// The bundle: whatever signs SVIDs, in every state of its slot, and nothing else.
    pub(crate) fn bundle(&self) -> Result<Bundle, AuthorityError> {
        let mut bundle = Bundle::builder(self.config.trust_domain.clone());
        for record in &self.records {
            bundle = match record.slot.purpose() {
                KeyPurpose::X509Authority => bundle.x509_authority(self.root(record)?.certificate),
                KeyPurpose::JwtSvid => {
                    let (key_id, key) = name_key(&record.slot, &record.public_key)?;
                    bundle.jwt_authority(key_id, key)
                }
                KeyPurpose::WitSvid => {
                    let (key_id, key) = name_key(&record.slot, &record.public_key)?;
                    bundle.wit_authority(key_id, key)
                }
                KeyPurpose::AccessToken | KeyPurpose::AuditCheckpoint => Ok(bundle),
            }
            .map_err(AuthorityError::Bundle)?;
        }
        Ok(bundle.sequence(self.sequence()).refresh_hint(self.config.refresh_hint).build())
    }

    /// The root in a record, held to what a root of this trust domain and environment has to be.
    pub(crate) fn root(&self, record: &AuthorityRecord) -> Result<Root, AuthorityError> {
        let refused = |source| AuthorityError::Root { slot: record.slot.clone(), source };
        let der = record.certificate_der.clone().ok_or_else(|| refused(RootProblem::Missing))?;
        let (_, public_key) = name_key(&record.slot, &record.public_key)?;
        Root::read(der, &self.config.trust_domain, self.config.environment, &public_key)
            .map_err(refused)
    }

    /// The slots whose keys were made by this opening.
    pub(crate) fn into_created(self) -> Vec<SlotId> {
        self.created
    }

    fn of(&self, purpose: KeyPurpose) -> impl Iterator<Item = &AuthorityRecord> {
        self.records.iter().filter(move |record| record.slot.purpose() == purpose)
    }

    fn sequence(&self) -> u64 {
        self.records.iter().map(|record| record.bundle_sequence).max().unwrap_or(0)
    }

    fn reopen(&self, record: AuthorityRecord) -> Result<Active, AuthorityError> {
        let slot = &record.slot;
        let key =
            self.load(slot)?.ok_or_else(|| AuthorityError::KeyMissing { slot: slot.clone() })?;
        if key.public_key() != record.public_key {
            return Err(AuthorityError::KeyChanged { slot: slot.clone() });
        }
        Ok(Active { record, key })
    }

    /// Makes the first key of a purpose and saves its record, unless another process does so at the same time: then the
    /// record that the store kept is the other's.
    async fn create(&mut self, slot: SlotId) -> Result<(), AuthorityError> {
        let (key, is_new) = self.take_up_or_make(&slot)?;
        let record = self.first_record(slot.clone(), &key)?;
        self.store
            .save(record.clone())
            .await
            .map_err(|source| AuthorityError::Store { operation: "save", source })?;
        self.records = load(self.store).await?;
        let Some(kept) = self.records.iter().find(|kept| kept.slot == slot) else {
            return Err(AuthorityError::NotKept { slot });
        };
        if *kept == record {
            tracing::info!(%slot, trust_domain = %self.config.trust_domain, "made a new authority");
            self.created.push(slot);
        } else {
            tracing::info!(%slot, "another process made this authority first");
            // Ours has signed nothing that left the house. It goes, so that the right one can be put in its place.
            if is_new && kept.public_key != record.public_key {
                self.keys.remove(&slot).map_err(|source| AuthorityError::Keys {
                    operation: "remove",
                    slot,
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// The key of a slot that has no record, and whether it is made here and now.
    fn take_up_or_make(&self, slot: &SlotId) -> Result<(SigningKey, bool), AuthorityError> {
        if let Some(key) = self.load(slot)? {
            tracing::warn!(%slot, "a key without a record was found and is used");
            return Ok((key, false));
        }
        match self.keys.generate(slot, slot.purpose().default_algorithm()) {
            Ok(key) => Ok((key, true)),
            Err(source) => {
                // Another process that shares the keys may have been faster.
                let found = match source {
                    KeyError::AlreadyExists { .. } => self.load(slot)?,
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

    /// The record of a first key, with the root that it signs itself when its purpose has one.
    fn first_record(
        &self,
        slot: SlotId,
        key: &SigningKey,
    ) -> Result<AuthorityRecord, AuthorityError> {
        let certificate = match slot.purpose() {
            KeyPurpose::X509Authority => {
                Some(root::self_sign(self.config, key, self.random, self.now)?)
            }
            _ => None,
        };
        let record = AuthorityRecord {
            bundle_sequence: self.next_sequence(slot.purpose()),
            state: AuthorityState::Active,
            certificate_der: certificate.map(|der| der.to_vec()),
            public_key: key.public_key().to_vec(),
            created_at: self.now,
            slot,
        };
        if record.certificate_der.is_some() {
            self.root(&record)?;
        }
        Ok(record)
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, AuthorityError> {
        self.keys.load(slot).map_err(|source| AuthorityError::Keys {
            operation: "load",
            slot: slot.clone(),
            source,
        })
    }

    /// A key in the bundle changes the bundle, so its sequence goes up (TB-2). It never falls behind the seconds since
    /// 1970, so that it goes up as well when the store was lost and began anew.
    fn next_sequence(&self, purpose: KeyPurpose) -> u64 {
        let present = self.sequence();
        match purpose {
            KeyPurpose::X509Authority | KeyPurpose::JwtSvid | KeyPurpose::WitSvid => {
                present.saturating_add(1).max(u64::try_from(self.now.as_second()).unwrap_or(0))
            }
            KeyPurpose::AccessToken | KeyPurpose::AuditCheckpoint => present,
        }
    }
}

/// Every record, of which no two may have one slot.
async fn load(store: &dyn AuthorityStore) -> Result<Vec<AuthorityRecord>, AuthorityError> {
    let records =
        store.load().await.map_err(|source| AuthorityError::Store { operation: "load", source })?;
    let mut slots = BTreeSet::new();
    if let Some(twice) = records.iter().find(|record| !slots.insert(&record.slot)) {
        return Err(AuthorityError::DuplicateRecord { slot: twice.slot.clone() });
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
