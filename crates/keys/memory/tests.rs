use super::*;
use crate::KeyPurpose;

#[test]
fn a_slot_is_never_filled_twice() {
    let keys = MemoryKeys::new();
    let slot = SlotId::first(KeyPurpose::JwtSvid);
    let made = keys.generate(&slot, KeyAlgorithm::EcdsaP256).unwrap();
    assert!(matches!(
        keys.generate(&slot, KeyAlgorithm::EcdsaP256),
        Err(KeyError::AlreadyExists { .. })
    ));
    assert_eq!(keys.load(&slot).unwrap().unwrap().public_key(), made.public_key());
}

#[test]
fn a_removed_key_is_gone_and_removing_it_again_is_no_error() {
    let keys = MemoryKeys::new();
    let slot = SlotId::first(KeyPurpose::JwtSvid);
    keys.generate(&slot, KeyAlgorithm::EcdsaP256).unwrap();
    assert_eq!(keys.list().unwrap(), std::slice::from_ref(&slot));
    keys.remove(&slot).unwrap();
    keys.remove(&slot).unwrap();
    assert!(keys.load(&slot).unwrap().is_none());
    assert!(keys.list().unwrap().is_empty());
}
