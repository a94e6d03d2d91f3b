//! Where private keys live and how they sign.
//!
//! A [`KeyManager`] makes one key pair per [`SlotId`] and hands out [`SigningKey`]s, which sign and never show their
//! private half. Three managers: [`MemoryKeys`] for tests and throw-away runs, [`SealedFileKeys`], which keeps every
//! key in its own file, sealed under a [`SealingKey`], and [`TokenKeys`], whose keys never leave a hardware token. What
//! another one would implement is [`KeyManager`] and [`RemoteSigner`].
//!
//! Deliberately absent: certificates, tokens, key ids on the wire, which slot is the active one, and any way to export
//! a private key.

mod algorithm;
mod der;
mod error;
mod folder;
mod generate;
mod manager;
mod memory;
mod moving;
mod pkcs11;
mod remote;
mod sealed;
mod sealing;
mod signing;
mod slot;

pub use algorithm::{KeyAlgorithm, UnknownKeyAlgorithm};
pub use error::{FileError, KeyError, SealedKeyError, SealingKeyError};
pub use manager::KeyManager;
pub use memory::MemoryKeys;
pub use moving::MovingKeys;
pub use pkcs11::{TokenError, TokenKeys, TokenSettings};
pub use remote::RemoteSigner;
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
