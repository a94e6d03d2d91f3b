//! Where private keys live and how they sign.
//!
//! A [`KeyManager`] makes one key pair per [`SlotId`] and hands out [`SigningKey`]s, which sign and never show their
//! private half. Two managers: [`MemoryKeys`] for tests and throw-away runs, and [`SealedFileKeys`], which keeps every
//! key in its own file, sealed under a [`SealingKey`].
//!
//! Deliberately absent: certificates, tokens, key ids on the wire, which slot is the active one, and any way to export
//! a private key. A hardware token will be a third manager behind the same trait.

mod algorithm;
mod error;
mod folder;
mod generate;
mod manager;
mod memory;
mod sealed;
mod sealing;
mod signing;
mod slot;

pub use algorithm::{KeyAlgorithm, UnknownKeyAlgorithm};
pub use error::{FileError, KeyError, SealedKeyError, SealingKeyError};
pub use manager::KeyManager;
pub use memory::MemoryKeys;
pub use sealed::SealedFileKeys;
pub use sealing::SealingKey;
pub use signing::SigningKey;
pub use slot::{KeyPurpose, Slot, SlotId, SlotIdError};

/// ring's source of randomness for key generation, signatures and nonces.
#[expect(
    clippy::disallowed_methods,
    reason = "key material and nonces are drawn inside ring, never from a test seed"
)]
fn system_random() -> ring::rand::SystemRandom {
    ring::rand::SystemRandom::new()
}
