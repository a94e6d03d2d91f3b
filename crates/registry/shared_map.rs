//! A hash map of which a copy shares everything but what is changed in it.
//!
//! Copying costs as much as there are parts, changing a key in a copy as much as one part holds: an entry more among
//! ten thousand does not copy ten thousand.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Few enough to copy in a microsecond, many enough to keep each small with a hundred thousand keys.
const PARTS: usize = 256;

#[derive(Clone)]
pub(crate) struct SharedMap<K, V> {
    parts: Box<[Arc<HashMap<K, V>>]>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts.get(self.part(key))?.get(key)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let part = self.part(&key);
        if let Some(part) = self.parts.get_mut(part) {
            Arc::make_mut(part).insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        // A part without the key is not copied for that.
        if self.contains_key(key) {
            let part = self.part(key);
            if let Some(part) = self.parts.get_mut(part) {
                Arc::make_mut(part).remove(key);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }

    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The remainder is below 256.
        usize::try_from(self.hasher.hash_one(key) % PARTS as u64).unwrap_or_default()
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Arc::default()).collect();
        Self { parts, hasher: RandomState::new() }
    }
}

impl<K, V> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys may be selectors, and those are not for logs.
        f.debug_struct("SharedMap").finish_non_exhaustive()
    }
}
