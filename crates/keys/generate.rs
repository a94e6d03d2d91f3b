//! New private keys, in PKCS#8.
//!
//! ring makes no RSA keys, so the `rsa` crate finds the primes, and nothing else: what it makes is handed to ring, which
//! checks it and signs. No private operation of that crate is ever used.

use ring::{
    hmac,
    rand::SecureRandom as _,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use rsa::{
    RsaPrivateKey,
    pkcs8::EncodePrivateKey as _,
    rand_core::{self, CryptoRng, RngCore},
};
use zeroize::Zeroizing;

use crate::{KeyAlgorithm, KeyError, SlotId, system_random};

/// The size of the modulus of [`KeyAlgorithm::Rsa2048`], in bits.
const RSA_BITS: usize = 2048;

/// A new private key for `slot`; every byte of it that this crate holds is zeroed.
pub(crate) fn generate_pkcs8(
    slot: &SlotId,
    algorithm: KeyAlgorithm,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let random = system_random();
    let failed = || KeyError::Generate { slot: slot.clone() };
    let document = match algorithm {
        KeyAlgorithm::EcdsaP256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        }
        KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
        KeyAlgorithm::Rsa2048 => return generate_rsa().ok_or_else(failed),
    };
    let document = document.map_err(|_unspecified| failed())?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

fn generate_rsa() -> Option<Zeroizing<Vec<u8>>> {
    let mut stream = Stream::draw()?;
    let key = crate::remote::aside(|| RsaPrivateKey::new(&mut stream, RSA_BITS)).ok()?;
    Some(key.to_pkcs8_der().ok()?.to_bytes())
}

/// Random bytes for the search of primes: HMAC-SHA-256 of a counter under a key that ring drew (a pseudo-random function
/// in counter mode, NIST SP 800-108). The search cannot be told of a source that fails, so all that can fail is done
/// before it begins.
struct Stream {
    key: hmac::Key,
    counter: u64,
}

impl Stream {
    fn draw() -> Option<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        system_random().fill(seed.as_mut()).ok()?;
        Some(Self { key: hmac::Key::new(hmac::HMAC_SHA256, seed.as_ref()), counter: 0 })
    }
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    /// A call begins a new block, so that no byte is given twice.
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(32) {
            self.counter += 1;
            let block = hmac::sign(&self.key, &self.counter.to_be_bytes());
            chunk.iter_mut().zip(block.as_ref()).for_each(|(to, from)| *to = *from);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Stream {}
