//! Wycheproof's RSA vectors: PKCS #1 v1.5 and PSS, as JWS has them (RFC 7518 sections 3.3 and 3.5). They sign plain
//! messages and no token, so the check is that of the key.

use marque_jose::{Algorithm, KeyError, PublicKey};
use wycheproof::{rsa_pkcs1_verify, rsa_pss_verify};

/// Vectors that Wycheproof lets everybody decide about, and those that must verify, must not, or are refused here by the
/// rule of another algorithm, all of which are counted.
#[derive(Default)]
struct Counted {
    verified: usize,
    refused: usize,
}

impl Counted {
    fn check(&mut self, what: &str, expected: Option<bool>, verifies: bool) {
        assert!(expected.is_none_or(|expected| expected == verifies), "{what}: {verifies}");
        if verifies { self.verified += 1 } else { self.refused += 1 }
    }
}

/// What Wycheproof expects, unless it leaves it open.
fn expected(result: wycheproof::TestResult) -> Option<bool> {
    match result {
        wycheproof::TestResult::Valid => Some(true),
        wycheproof::TestResult::Invalid => Some(false),
        wycheproof::TestResult::Acceptable => None,
    }
}

/// Nobody but `algorithm` takes the signature.
fn assert_alone(key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) {
    for other in Algorithm::ALL.iter().filter(|other| **other != algorithm) {
        assert!(!key.verifies(*other, message, signature), "{algorithm} as {other}");
    }
}

#[expect(clippy::unwrap_used, reason = "vectors that do not load fail the test")]
fn pkcs1(name: rsa_pkcs1_verify::TestName, algorithm: Algorithm) -> Counted {
    let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
    let mut counted = Counted::default();
    for group in &set.test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in &group.tests {
            let verifies = key.verifies(algorithm, &test.msg, &test.sig);
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            counted.check(&what, expected(test.result), verifies);
            // Those that are spoilt may well be right for another algorithm.
            if expected(test.result) == Some(true) {
                assert_alone(&key, algorithm, &test.msg, &test.sig);
            }
        }
    }
    counted
}

#[test]
fn oauth_13_1_the_rsa_pkcs1_vectors_hold() {
    use rsa_pkcs1_verify::TestName;
    for (name, algorithm) in [
        (TestName::Rsa2048Sha256, Algorithm::Rs256),
        (TestName::Rsa3072Sha256, Algorithm::Rs256),
        (TestName::Rsa4096Sha256, Algorithm::Rs256),
        (TestName::Rsa2048Sha384, Algorithm::Rs384),
        (TestName::Rsa3072Sha384, Algorithm::Rs384),
        (TestName::Rsa4096Sha384, Algorithm::Rs384),
        (TestName::Rsa2048Sha512, Algorithm::Rs512),
        (TestName::Rsa3072Sha512, Algorithm::Rs512),
        (TestName::Rsa4096Sha512, Algorithm::Rs512),
    ] {
        let Counted { verified, refused } = pkcs1(name, algorithm);
        assert!(verified > 5 && refused > 200, "{name:?}: {verified} and {refused}");
    }
}

#[expect(clippy::unwrap_used, reason = "vectors that do not load fail the test")]
fn pss(name: rsa_pss_verify::TestName, algorithm: Algorithm, fits: bool) -> Counted {
    let set = rsa_pss_verify::TestSet::load(name).unwrap();
    let mut counted = Counted::default();
    for group in &set.test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in &group.tests {
            let verifies = key.verifies(algorithm, &test.msg, &test.sig);
            // What is right for other parameters is wrong for ours; what is wrong for those may be right for ours.
            let valid = expected(test.result);
            let expected =
                if fits { valid } else { valid.and_then(|valid| valid.then_some(false)) };
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            counted.check(&what, expected, verifies);
        }
    }
    counted
}

#[test]
fn oauth_13_1_the_rsa_pss_vectors_hold() {
    use rsa_pss_verify::TestName;
    for (name, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512),
    ] {
        let Counted { verified, refused } = pss(name, algorithm, true);
        assert!(verified > 5 && refused > 20, "{name:?}: {verified} and {refused}");
    }
}

/// RFC 7518 section 3.5: the salt is as long as the hash, and the mask is made with that hash.
#[test]
fn oauth_13_1_pss_with_another_salt_or_mask_is_refused() {
    use rsa_pss_verify::TestName;
    for (name, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::Ps256),
        (TestName::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::Ps256),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::Ps512),
    ] {
        let Counted { verified, refused } = pss(name, algorithm, false);
        assert!(verified < refused && refused > 20, "{name:?}: {verified} and {refused}");
    }
}

#[test]
fn keys_that_are_larger_than_they_may_be_are_refused() {
    let set = rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa8192Sha256).unwrap();
    for group in &set.test_groups {
        let key = PublicKey::from_spki_der(&group.der);
        assert!(matches!(key, Err(KeyError::RsaSize { bits: 8192 })), "{key:?}");
    }
}
