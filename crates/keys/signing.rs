//! A key pair that signs and shows only its public half.

use std::{fmt, sync::Arc};

use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

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
    Rsa(Box<RsaKeyPair>),
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
            Pair::Rsa(_) => KeyAlgorithm::Rsa2048,
        }
    }

    /// The public half: the 65-byte uncompressed point (SEC 1, 2.3.3) for P-256, the 32 bytes of RFC 8032 for Ed25519, the
    /// DER `RSAPublicKey` of RFC 8017 appendix A.1.1 for RSA.
    pub fn public_key(&self) -> &[u8] {
        &self.inner.public_key
    }

    /// Signs `message` in the form of a JWS (RFC 7518 section 3): 64 bytes, `r || s` for P-256 and RFC 8032 for Ed25519, and
    /// the 256 bytes of RSASSA-PKCS1-v1_5 with SHA-256 for RSA.
    ///
    /// # Errors
    /// [`KeyError::Sign`] when the system gives no randomness.
    pub fn sign_fixed(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.inner.pair {
            Pair::P256 { fixed, .. } => self.ecdsa(fixed, message),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => self.rsa(pair, message),
        }
    }

    /// Signs `message` in the form of X.509: the ASN.1 `Ecdsa-Sig-Value` of RFC 3279 section 2.2.3 for P-256; for RSA the
    /// same as [`SigningKey::sign_fixed`].
    ///
    /// # Errors
    /// [`KeyError::NoDerForm`] for an Ed25519 key, [`KeyError::Sign`] when the system gives no randomness.
    pub fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.inner.pair {
            Pair::P256 { asn1, .. } => self.ecdsa(asn1, message),
            Pair::Rsa(pair) => self.rsa(pair, message),
            Pair::Ed25519(_) => Err(KeyError::NoDerForm { slot: self.inner.slot.clone() }),
        }
    }

    /// Builds the key pair from PKCS#8, whose two halves must belong together.
    pub(crate) fn from_pkcs8(
        slot: &SlotId,
        algorithm: KeyAlgorithm,
        pkcs8: &[u8],
    ) -> Result<Self, KeyError> {
        check_allowed(slot, algorithm)?;
        let rejected = |reason| KeyError::Rejected { slot: slot.clone(), reason };
        let (public_key, pair) = match algorithm {
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
            KeyAlgorithm::Rsa2048 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                (pair.public_key().as_ref().to_vec(), Pair::Rsa(Box::new(pair)))
            }
        };
        Ok(Self { inner: Arc::new(Inner { slot: slot.clone(), public_key, pair }) })
    }

    fn rsa(&self, pair: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &system_random(), message, &mut signature)
            .map_err(|_unspecified| KeyError::Sign { slot: self.inner.slot.clone() })?;
        Ok(signature)
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

/// Whether the purpose of `slot` has keys of `algorithm`.
pub(crate) fn check_allowed(slot: &SlotId, algorithm: KeyAlgorithm) -> Result<(), KeyError> {
    if slot.purpose().algorithms().contains(&algorithm) {
        Ok(())
    } else {
        Err(KeyError::NotAllowed { slot: slot.clone(), algorithm })
    }
}

#[cfg(test)]
mod tests;
