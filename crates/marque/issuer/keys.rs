//! The key that signs the log's checkpoints, as the log knows it.

use marque_audit::{AuditError, CheckpointSigner, VerifierKey, checkpoint::origin};
use marque_keys::SigningKey;
use marque_spiffe::TrustDomain;

/// A trust domain's checkpoint key: Ed25519, separate from every other key.
#[derive(Debug)]
pub(super) struct CheckpointKey {
    name: String,
    public_key: [u8; 32],
    key: SigningKey,
}

/// The checkpoint key is not an Ed25519 key.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the checkpoint key has {0} bytes, not the 32 of Ed25519")]
pub(super) struct NotEd25519(usize);

impl CheckpointKey {
    pub(super) fn new(trust_domain: &TrustDomain, key: SigningKey) -> Result<Self, NotEd25519> {
        let public = key.public_key();
        let public_key =
            <[u8; 32]>::try_from(public).map_err(|_length| NotEd25519(public.len()))?;
        Ok(Self { name: origin(trust_domain), public_key, key })
    }

    pub(super) fn verifier_key(&self) -> Result<VerifierKey, AuditError> {
        VerifierKey::of(self)
    }
}

impl CheckpointSigner for CheckpointKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], AuditError> {
        let signature =
            self.key.sign_fixed(message).map_err(|error| AuditError::Sign(Box::new(error)))?;
        <[u8; 64]>::try_from(signature)
            .map_err(|_length| AuditError::Sign("a signature of another length".into()))
    }
}
