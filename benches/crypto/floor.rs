//! The floor: the bare ring operations, on messages as long as a token.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};

/// A P-256 key and one signature of it.
pub(crate) struct Floor {
    random: SystemRandom,
    key: EcdsaKeyPair,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Floor {
    #[expect(clippy::disallowed_methods, reason = "ring's own cost includes its own randomness")]
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let key = generate(&random);
        let message = vec![0x5a; 400];
        let signature = key.sign(&random, &message).expect("a signature").as_ref().to_vec();
        Self { random, key, message, signature }
    }

    pub(crate) fn sign(&self) {
        divan::black_box(
            self.key.sign(&self.random, divan::black_box(&self.message)).expect("a signature"),
        );
    }

    pub(crate) fn verify(&self) {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        key.verify(divan::black_box(&self.message), &self.signature).expect("a good signature");
    }

    /// What a new leaf costs at least: its key pair, and the authority's signature.
    pub(crate) fn generate_and_sign(&self) {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.random)
            .expect("a key");
        divan::black_box(pkcs8);
        self.sign();
    }
}

fn generate(random: &SystemRandom) -> EcdsaKeyPair {
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random).expect("a key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), random)
        .expect("a key")
}
