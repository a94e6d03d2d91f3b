//! Keys that live and die with the process.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    KeyAlgorithm, KeyError, KeyManager, SigningKey, SlotId, generate::generate_pkcs8,
    signing::check_allowed,
};

/// A key manager that keeps nothing on disk: for tests and throw-away runs.
#[derive(Debug, Default)]
pub struct MemoryKeys {
    keys: Mutex<BTreeMap<SlotId, SigningKey>>,
}

impl MemoryKeys {
    /// A manager that holds no key yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<SlotId, SigningKey>> {
        // No caller can panic halfway through a change of the map, so a poisoned one is still whole.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyManager for MemoryKeys {
    fn generate(&self, slot: &SlotId, algorithm: KeyAlgorithm) -> Result<SigningKey, KeyError> {
        check_allowed(slot, algorithm)?;
        match self.keys().entry(slot.clone()) {
            Entry::Occupied(_) => Err(KeyError::AlreadyExists { slot: slot.clone() }),
            Entry::Vacant(vacant) => {
                let pkcs8 = generate_pkcs8(slot, algorithm)?;
                Ok(vacant.insert(SigningKey::from_pkcs8(slot, algorithm, &pkcs8)?).clone())
            }
        }
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, KeyError> {
        Ok(self.keys().get(slot).cloned())
    }

    fn list(&self) -> Result<Vec<SlotId>, KeyError> {
        Ok(self.keys().keys().cloned().collect())
    }

    fn remove(&self, slot: &SlotId) -> Result<(), KeyError> {
        self.keys().remove(slot);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
