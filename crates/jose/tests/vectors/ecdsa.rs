//! Wycheproof's ECDSA vectors with signatures as JWS has them (IEEE P1363). They sign plain messages and no token, so
//! the check is that of the key.

use marque_jose::{Algorithm, KeyError, PublicKey};
use wycheproof::ecdsa::{TestName, TestSet};

#[expect(clippy::unwrap_used, reason = "vectors that do not load fail the test")]
fn assert_set(name: TestName, algorithm: Algorithm, fewest: usize) {
    let set = TestSet::load(name).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        assert_eq!(key.point().unwrap(), &group.key.key[..]);
        let read_back = PublicKey::from_jwk_value(&key.to_jwk().into()).unwrap();
        for test in &group.tests {
            let verifies = read_back.verifies(algorithm, &test.msg, &test.sig);
            assert_eq!(
                verifies,
                !test.result.must_fail(),
                "{name:?} {}: {}",
                test.tc_id,
                test.comment
            );
            for other in Algorithm::ALL.iter().filter(|other| **other != algorithm) {
                assert!(
                    !read_back.verifies(*other, &test.msg, &test.sig),
                    "{name:?} {} as {other}",
                    test.tc_id
                );
            }
            count += 1;
        }
    }
    assert!(count >= fewest, "{name:?} has {count} cases only");
}

#[test]
fn the_p256_vectors_hold() {
    assert_set(TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256, 200);
}

#[test]
fn the_p384_vectors_hold() {
    assert_set(TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384, 200);
}

#[test]
fn a_p256_signature_over_another_hash_is_refused() {
    for group in &TestSet::load(TestName::EcdsaSecp256r1Sha512P1363).unwrap().test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        assert!(group.tests.iter().all(|test| !key.verifies(
            Algorithm::Es256,
            &test.msg,
            &test.sig
        )));
    }
}

#[test]
fn keys_of_other_curves_are_refused() {
    for name in [
        TestName::EcdsaSecp521r1Sha512P1363,
        TestName::EcdsaSecp256k1Sha256P1363,
        TestName::EcdsaSecp224r1Sha256P1363,
        TestName::EcdsaBrainpool256r1Sha256P1363,
        TestName::EcdsaBrainpool384r1Sha384P1363,
    ] {
        for group in &TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der);
            assert!(matches!(key, Err(KeyError::Unsupported { .. })), "{name:?}: {key:?}");
        }
    }
}
