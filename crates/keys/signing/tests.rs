use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey,
};

use super::*;
use crate::KeyPurpose;

fn key(purpose: KeyPurpose) -> SigningKey {
    let slot = SlotId::first(purpose);
    SigningKey::from_pkcs8(&slot, &generate_pkcs8(&slot).unwrap()).unwrap()
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
fn a_private_key_of_another_algorithm_is_refused() {
    let checkpoint = SlotId::first(KeyPurpose::AuditCheckpoint);
    let token = SlotId::first(KeyPurpose::AccessToken);
    let ed25519 = generate_pkcs8(&checkpoint).unwrap();
    let p256 = generate_pkcs8(&token).unwrap();
    assert!(matches!(SigningKey::from_pkcs8(&token, &ed25519), Err(KeyError::Rejected { .. })));
    assert!(matches!(SigningKey::from_pkcs8(&checkpoint, &p256), Err(KeyError::Rejected { .. })));
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let slot = SlotId::first(KeyPurpose::AccessToken);
    let (one, other) = (generate_pkcs8(&slot).unwrap(), generate_pkcs8(&slot).unwrap());
    // The public half is the last 65 bytes of ring's document.
    let split = one.len() - 65;
    let mixed = [&one[..split], &other[split..]].concat();
    assert!(matches!(SigningKey::from_pkcs8(&slot, &mixed), Err(KeyError::Rejected { .. })));
}

#[test]
fn two_keys_are_never_the_same() {
    assert_ne!(key(KeyPurpose::JwtSvid).public_key(), key(KeyPurpose::JwtSvid).public_key());
}
