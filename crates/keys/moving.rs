//! Keys on their way from sealed files into a hardware token.

use crate::{
    KeyAlgorithm, KeyError, KeyManager, KeyPurpose, SealedFileKeys, SigningKey, SlotId, TokenKeys,
};

/// New keys are made on the token; those that are in sealed files are used until they are rotated away.
///
/// A key cannot be moved: one that once was in a file is never one that cannot leave the token.
#[derive(Debug)]
pub struct MovingKeys {
    token: TokenKeys,
    sealed: SealedFileKeys,
    seals_checkpoint_key: bool,
}

impl MovingKeys {
    /// Keys on `token`, beside those of `sealed`; the key for audit checkpoints is made in a sealed file where the token
    /// makes none of its kind.
    #[must_use]
    pub fn new(token: TokenKeys, sealed: SealedFileKeys, seals_checkpoint_key: bool) -> Self {
        Self { token, sealed, seals_checkpoint_key }
    }

    /// The slots whose keys are still in sealed files though they belong on the token.
    ///
    /// # Errors
    /// What kept the files from being looked at.
    pub fn left_behind(&self) -> Result<Vec<SlotId>, KeyError> {
        let mut slots = self.sealed.list()?;
        slots.retain(|slot| !self.is_sealed(slot));
        Ok(slots)
    }

    fn is_sealed(&self, slot: &SlotId) -> bool {
        self.seals_checkpoint_key && slot.purpose() == KeyPurpose::AuditCheckpoint
    }
}

impl KeyManager for MovingKeys {
    fn generate(&self, slot: &SlotId, algorithm: KeyAlgorithm) -> Result<SigningKey, KeyError> {
        if self.is_sealed(slot) {
            return self.sealed.generate(slot, algorithm);
        }
        if self.sealed.load(slot)?.is_some() {
            return Err(KeyError::AlreadyExists { slot: slot.clone() });
        }
        self.token.generate(slot, algorithm)
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, KeyError> {
        match self.sealed.load(slot)? {
            Some(key) => Ok(Some(key)),
            None => self.token.load(slot),
        }
    }

    fn list(&self) -> Result<Vec<SlotId>, KeyError> {
        let mut slots = self.sealed.list()?;
        slots.extend(self.token.list()?);
        slots.sort();
        slots.dedup();
        Ok(slots)
    }

    fn remove(&self, slot: &SlotId) -> Result<(), KeyError> {
        self.sealed.remove(slot)?;
        self.token.remove(slot)
    }

    fn reachable(&self) -> Result<(), KeyError> {
        self.token.reachable()
    }
}
