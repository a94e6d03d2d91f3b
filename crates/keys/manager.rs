//! The seam between those who sign and those who keep keys.

use crate::{KeyAlgorithm, KeyError, SigningKey, SlotId};

/// Makes, finds and forgets key pairs. One slot holds at most one key pair, for ever: a new key is a new generation.
pub trait KeyManager: std::fmt::Debug + Send + Sync {
    /// Makes a key pair for `slot` and keeps it before it returns.
    ///
    /// # Errors
    /// [`KeyError::AlreadyExists`] when the slot is taken (nothing is ever overwritten), [`KeyError::NotAllowed`] when the
    /// slot's purpose has no keys of this algorithm; otherwise what failed.
    fn generate(&self, slot: &SlotId, algorithm: KeyAlgorithm) -> Result<SigningKey, KeyError>;

    /// The key pair of `slot`, or `None` when there is none.
    ///
    /// # Errors
    /// What kept the manager from reading a key that is there: access, sealing, or the key's own form.
    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, KeyError>;

    /// Every slot that holds a key, in order.
    ///
    /// # Errors
    /// What kept the manager from looking.
    fn list(&self) -> Result<Vec<SlotId>, KeyError>;

    /// Forgets the key pair of `slot`. Forgetting one that is not there is no error, so that a removal can be repeated
    /// after a crash.
    ///
    /// # Errors
    /// What kept the manager from removing the key.
    fn remove(&self, slot: &SlotId) -> Result<(), KeyError>;
}
