//! A key that signs tokens for one test.

use marque_jose::{Algorithm, KeyId, PublicKey, SignError, Signer};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

/// An ES256 key in memory.
#[derive(Debug)]
pub struct ScratchSigner {
    pair: EcdsaKeyPair,
    public_key: PublicKey,
    key_id: KeyId,
}

impl ScratchSigner {
    /// A new key of this name.
    ///
    /// # Panics
    /// The name is no key id.
    #[must_use]
    pub fn generate(key_id: &str) -> Self {
        let random = system_random();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .expect("the key just made");
        let point = pair.public_key().as_ref().try_into().expect("an uncompressed point");
        Self {
            public_key: PublicKey::from_p256_point(&point).expect("a point on the curve"),
            pair,
            key_id: key_id.parse().expect("a key id"),
        }
    }
}

impl Signer for ScratchSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Es256
    }

    fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self.pair.sign(&system_random(), message) {
            Ok(signature) => Ok(signature.as_ref().to_vec()),
            Err(error) => Err(SignError::new(error.to_string())),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "ring draws its own randomness for keys and signatures"
)]
fn system_random() -> SystemRandom {
    SystemRandom::new()
}
