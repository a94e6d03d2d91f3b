//! A key pair that signs and shows only its public half.

use std::{fmt, sync::Arc};

use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use zeroize::Zeroizing;

use crate::{KeyAlgorithm, KeyError, SlotId, system_random};

/// The key pair of one slot; clones share it.
///
/// ring's key pair is built once, when the key is made or loaded, never per signature. ring keeps the private half in
/// its own memory and does not zero it; every copy that this crate makes is zeroed.
#[derive(Clone)]
pub struct SigningKey {
    inner: Arc<Inner>,
}

struct Inner {
    slot: SlotId,
    public_key: Vec<u8>,
    pair: Pair,
}

enum Pair {
    /// ring ties the form of a signature to the key pair, so a P-256 key is held once for each form.
    P256 {
        fixed: Box<EcdsaKeyPair>,
        asn1: Box<EcdsaKeyPair>,
    },
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// The slot that holds this key.
    pub fn slot(&self) -> &SlotId {
        &self.inner.slot
    }

    /// The key's algorithm.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match self.inner.pair {
            Pair::P256 { .. } => KeyAlgorithm::EcdsaP256,
            Pair::Ed25519(_) => KeyAlgorithm::Ed25519,
        }
    }

    /// The public half: the 65-byte uncompressed point (SEC 1, 2.3.3) for P-256, the 32 bytes of RFC 8032 for Ed25519.
    pub fn public_key(&self) -> &[u8] {
        &self.inner.public_key
    }

    /// Signs `message`; 64 bytes, `r || s` for P-256 (the form of a JWS, RFC 7518 section 3.4), RFC 8032 for Ed25519.
    ///
    /// # Errors
    /// [`KeyError::Sign`] when the system gives no randomness.
    pub fn sign_fixed(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.inner.pair {
            Pair::P256 { fixed, .. } => self.ecdsa(fixed, message),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Signs `message`; the ASN.1 `Ecdsa-Sig-Value` of X.509 (RFC 3279 section 2.2.3).
    ///
    /// # Errors
    /// [`KeyError::NoDerForm`] for an Ed25519 key, [`KeyError::Sign`] when the system gives no randomness.
    pub fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.inner.pair {
            Pair::P256 { asn1, .. } => self.ecdsa(asn1, message),
            Pair::Ed25519(_) => Err(KeyError::NoDerForm { slot: self.inner.slot.clone() }),
        }
    }

    /// Builds the key pair from PKCS#8, whose two halves must belong together.
    pub(crate) fn from_pkcs8(slot: &SlotId, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rejected = |reason| KeyError::Rejected { slot: slot.clone(), reason };
        let (public_key, pair) = match slot.purpose().algorithm() {
            KeyAlgorithm::EcdsaP256 => {
                let build = |form| {
                    EcdsaKeyPair::from_pkcs8(form, pkcs8, &system_random()).map_err(rejected)
                };
                let fixed = build(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
                let asn1 = build(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
                (
                    fixed.public_key().as_ref().to_vec(),
                    Pair::P256 { fixed: Box::new(fixed), asn1: Box::new(asn1) },
                )
            }
            KeyAlgorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                (pair.public_key().as_ref().to_vec(), Pair::Ed25519(pair))
            }
        };
        Ok(Self { inner: Arc::new(Inner { slot: slot.clone(), public_key, pair }) })
    }

    fn ecdsa(&self, pair: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        pair.sign(&system_random(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_unspecified| KeyError::Sign { slot: self.inner.slot.clone() })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("slot", &format_args!("{}", self.inner.slot))
            .field("algorithm", &self.algorithm())
            .field("public_key", &format_args!("{}", hex::encode(&self.inner.public_key)))
            .finish_non_exhaustive()
    }
}

/// A new private key for `slot` in PKCS#8, drawn by ring.
pub(crate) fn generate_pkcs8(slot: &SlotId) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let random = system_random();
    let document = match slot.purpose().algorithm() {
        KeyAlgorithm::EcdsaP256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        }
        KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
    };
    let document = document.map_err(|_unspecified| KeyError::Generate { slot: slot.clone() })?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

#[cfg(test)]
mod tests;
