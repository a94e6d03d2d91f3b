//! Keys whose private half is elsewhere, and how their signatures are waited for.

use std::{fmt, sync::Arc};

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};

use crate::{KeyAlgorithm, KeyError, SlotId};

/// What is signed to find out whether two halves belong together. It is neither a certificate nor a token.
const PROBE: &[u8] = b"marque/key-probe/v1";

/// A private key that signs in a hardware token or in a service: all that a key manager of its own has to bring beside
/// [`KeyManager`](crate::KeyManager). Signing may wait for a device or a network.
pub trait RemoteSigner: fmt::Debug + Send + Sync {
    /// Signs `message`, which it hashes itself where the algorithm wants that, in the form of a JWS: `r || s` for P-256, RFC
    /// 8032 for Ed25519, RSASSA-PKCS1-v1_5 with SHA-256 for RSA.
    ///
    /// # Errors
    /// Whatever kept the key from signing.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// A key that signs elsewhere, held to what it says of itself.
pub(crate) struct Remote {
    pub(crate) algorithm: KeyAlgorithm,
    signer: Arc<dyn RemoteSigner>,
}

impl Remote {
    /// Lets the key sign once, and verifies that with the public half.
    pub(crate) fn proven(
        slot: &SlotId,
        algorithm: KeyAlgorithm,
        public_key: &[u8],
        signer: Arc<dyn RemoteSigner>,
    ) -> Result<Self, KeyError> {
        let verification: &dyn VerificationAlgorithm = match algorithm {
            KeyAlgorithm::EcdsaP256 => &ECDSA_P256_SHA256_FIXED,
            KeyAlgorithm::Ed25519 => &ED25519,
            KeyAlgorithm::Rsa2048 => &RSA_PKCS1_2048_8192_SHA256,
        };
        let remote = Self { algorithm, signer };
        let signature = remote.sign(slot, PROBE)?;
        UnparsedPublicKey::new(verification, public_key)
            .verify(PROBE, &signature)
            .map_err(|_unspecified| KeyError::HalvesDiffer { slot: slot.clone() })?;
        Ok(remote)
    }

    pub(crate) fn sign(&self, slot: &SlotId, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let length = match self.algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Ed25519 => 64,
            KeyAlgorithm::Rsa2048 => 256,
        };
        let signature = aside(|| self.signer.sign(message))?;
        if signature.len() == length {
            Ok(signature)
        } else {
            Err(KeyError::Sign { slot: slot.clone() })
        }
    }
}

/// Does what waits for a device, so that no task of the runtime waits with it: its worker hands its other tasks on first.
/// Outside of a runtime with several workers there is nobody to hand them to, and the work is just done.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};

    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests;
