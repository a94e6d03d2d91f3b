use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey,
};

use super::*;
use crate::{KeyPurpose, generate::generate_pkcs8};

fn key(purpose: KeyPurpose) -> SigningKey {
    key_of(purpose, purpose.default_algorithm())
}

fn key_of(purpose: KeyPurpose, algorithm: KeyAlgorithm) -> SigningKey {
    let slot = SlotId::first(purpose);
    SigningKey::from_pkcs8(&slot, algorithm, &generate_pkcs8(&slot, algorithm).unwrap()).unwrap()
}

#[test]
fn a_p256_key_signs_in_the_form_of_a_jws_and_in_the_form_of_a_certificate() {
    let key = key(KeyPurpose::JwtSvid);
    assert_eq!((key.public_key().len(), key.public_key()[0]), (65, 4));

    let fixed = key.sign_fixed(b"message").unwrap();
    assert_eq!(fixed.len(), 64);
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key());
    public.verify(b"message", &fixed).unwrap();
    public.verify(b"another", &fixed).unwrap_err();

    let der = key.sign_der(b"message").unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key())
        .verify(b"message", &der)
        .unwrap();
}

#[test]
fn a_checkpoint_key_signs_with_ed25519_and_has_no_asn1_form() {
    let key = key(KeyPurpose::AuditCheckpoint);
    assert_eq!(key.public_key().len(), 32);
    let signature = key.sign_fixed(b"message").unwrap();
    assert_eq!(signature.len(), 64);
    UnparsedPublicKey::new(&ED25519, key.public_key()).verify(b"message", &signature).unwrap();
    assert!(matches!(key.sign_der(b"message"), Err(KeyError::NoDerForm { .. })));
}

#[test]
fn an_rsa_key_of_2048_bits_signs_rs256_in_either_form() {
    let key = key_of(KeyPurpose::JwtSvid, KeyAlgorithm::Rsa2048);
    assert_eq!(key.algorithm(), KeyAlgorithm::Rsa2048);
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
    for signature in [key.sign_fixed(b"message").unwrap(), key.sign_der(b"message").unwrap()] {
        assert_eq!(signature.len(), 256);
        public.verify(b"message", &signature).unwrap();
        public.verify(b"another", &signature).unwrap_err();
    }
    let other = key_of(KeyPurpose::JwtSvid, KeyAlgorithm::Rsa2048);
    assert_ne!(key.public_key(), other.public_key());
}

#[test]
fn a_private_key_of_another_algorithm_is_refused() {
    let checkpoint = SlotId::first(KeyPurpose::AuditCheckpoint);
    let token = SlotId::first(KeyPurpose::AccessToken);
    let (p256, ed25519) = (KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519);
    let of = |slot, algorithm| generate_pkcs8(slot, algorithm).unwrap();
    let mixed = [
        (&token, p256, of(&checkpoint, ed25519)),
        (&checkpoint, ed25519, of(&token, p256)),
        (&token, KeyAlgorithm::Rsa2048, of(&token, p256)),
        (&token, p256, of(&token, KeyAlgorithm::Rsa2048)),
    ];
    for (slot, algorithm, pkcs8) in mixed {
        let refused = SigningKey::from_pkcs8(slot, algorithm, &pkcs8);
        assert!(matches!(refused, Err(KeyError::Rejected { .. })), "{algorithm}");
    }
    let refused = SigningKey::from_pkcs8(&checkpoint, p256, &of(&token, p256));
    assert!(matches!(refused, Err(KeyError::NotAllowed { .. })));
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let slot = SlotId::first(KeyPurpose::AccessToken);
    let p256 = KeyAlgorithm::EcdsaP256;
    let (one, other) = (generate_pkcs8(&slot, p256).unwrap(), generate_pkcs8(&slot, p256).unwrap());
    // The public half is the last 65 bytes of ring's document.
    let split = one.len() - 65;
    let mixed = [&one[..split], &other[split..]].concat();
    assert!(matches!(SigningKey::from_pkcs8(&slot, p256, &mixed), Err(KeyError::Rejected { .. })));
}

#[test]
fn two_keys_are_never_the_same() {
    assert_ne!(key(KeyPurpose::JwtSvid).public_key(), key(KeyPurpose::JwtSvid).public_key());
}
