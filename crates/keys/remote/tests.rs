use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::*;
use crate::{KeyManager, KeyPurpose, MemoryKeys, SigningKey};

/// A service that signs with a key of its own.
#[derive(Debug)]
struct Service(SigningKey);

impl RemoteSigner for Service {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.sign_fixed(message)
    }
}

fn key(purpose: KeyPurpose, algorithm: KeyAlgorithm) -> SigningKey {
    MemoryKeys::new().generate(&SlotId::first(purpose), algorithm).unwrap()
}

#[test]
fn a_key_elsewhere_signs_in_both_forms() {
    let own = key(KeyPurpose::X509Authority, KeyAlgorithm::EcdsaP256);
    let public = own.public_key().to_vec();
    let remote = SigningKey::remote(
        own.slot(),
        KeyAlgorithm::EcdsaP256,
        public.clone(),
        Arc::new(Service(own.clone())),
    );
    let remote = remote.unwrap();
    // Often enough that numbers with a leading one and with leading zeros are among them.
    for message in 0_u16..600 {
        let message = message.to_be_bytes();
        let der = remote.sign_der(&message).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public).verify(&message, &der).unwrap();
    }
    assert_eq!(remote.sign_fixed(b"message").unwrap().len(), 64);
    let checkpoint = key(KeyPurpose::AuditCheckpoint, KeyAlgorithm::Ed25519);
    let public = checkpoint.public_key().to_vec();
    let remote = SigningKey::remote(
        checkpoint.slot(),
        KeyAlgorithm::Ed25519,
        public,
        Arc::new(Service(checkpoint.clone())),
    );
    assert!(matches!(remote.unwrap().sign_der(b"x"), Err(KeyError::NoDerForm { .. })));
}

#[test]
fn a_key_elsewhere_whose_public_half_is_not_its_own_is_refused() {
    let (one, other) = (
        key(KeyPurpose::JwtSvid, KeyAlgorithm::EcdsaP256),
        key(KeyPurpose::JwtSvid, KeyAlgorithm::EcdsaP256),
    );
    let mixed = SigningKey::remote(
        one.slot(),
        KeyAlgorithm::EcdsaP256,
        other.public_key().to_vec(),
        Arc::new(Service(one.clone())),
    );
    assert!(matches!(mixed, Err(KeyError::HalvesDiffer { .. })));
}

/// A device that signs when it is told to.
#[derive(Debug)]
struct Slow(SigningKey, std::sync::Mutex<Option<Receiver<()>>>);

impl RemoteSigner for Slow {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        if let Some(told) = self.1.lock().unwrap().as_ref() {
            told.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        self.0.sign_fixed(message)
    }
}

#[test]
fn a_slow_device_keeps_no_task_of_the_runtime_waiting() {
    let own = key(KeyPurpose::JwtSvid, KeyAlgorithm::EcdsaP256);
    let slow = Arc::new(Slow(own.clone(), std::sync::Mutex::new(None)));
    let signer = Arc::clone(&slow) as _;
    let public = own.public_key().to_vec();
    let remote = SigningKey::remote(own.slot(), KeyAlgorithm::EcdsaP256, public, signer).unwrap();
    let (tell, told) = channel();
    *slow.1.lock().unwrap() = Some(told);
    // One worker: whoever blocks it would keep the other task from ever telling the device to go on.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let signing = tokio::spawn(async move { remote.sign_fixed(b"message") });
        let telling = tokio::spawn(async move { tell.send(()).unwrap() });
        telling.await.unwrap();
        signing.await.unwrap().unwrap();
    });
}
