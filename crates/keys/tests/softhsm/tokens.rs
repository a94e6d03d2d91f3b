use std::thread;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    object::{Attribute, AttributeType, ObjectClass},
    session::{Session, UserType},
    types::AuthPin,
};
use marque_keys::{
    KeyAlgorithm, KeyError, KeyManager, KeyPurpose, MovingKeys, SealedFileKeys, SealingKey,
    SigningKey, TokenKeys,
};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};

use crate::{CONTEXT, Hsm, PIN, code, own_process, slot};

const KEYS: [(KeyPurpose, KeyAlgorithm); 5] = [
    (KeyPurpose::X509Authority, KeyAlgorithm::EcdsaP256),
    (KeyPurpose::JwtSvid, KeyAlgorithm::Rsa2048),
    (KeyPurpose::WitSvid, KeyAlgorithm::EcdsaP256),
    (KeyPurpose::AccessToken, KeyAlgorithm::EcdsaP256),
    (KeyPurpose::AuditCheckpoint, KeyAlgorithm::Ed25519),
];

fn signs(key: &SigningKey) {
    let of: &dyn VerificationAlgorithm = match key.algorithm() {
        KeyAlgorithm::EcdsaP256 => &ECDSA_P256_SHA256_FIXED,
        KeyAlgorithm::Ed25519 => &ED25519,
        KeyAlgorithm::Rsa2048 => &RSA_PKCS1_2048_8192_SHA256,
    };
    let verify = |of, message: &[u8], signature: &[u8]| {
        UnparsedPublicKey::new(of, key.public_key()).verify(message, signature)
    };
    let signature = key.sign_fixed(b"message").unwrap();
    verify(of, b"message", &signature).unwrap();
    verify(of, b"another", &signature).unwrap_err();
    if key.algorithm() == KeyAlgorithm::EcdsaP256 {
        verify(&ECDSA_P256_SHA256_ASN1, b"message", &key.sign_der(b"message").unwrap()).unwrap();
    }
}

/// A session beside the manager's.
fn session() -> Session {
    let library = Pkcs11::new(own_process::module().unwrap()).unwrap();
    // The manager may have initialised it already.
    drop(library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)));
    let token = library.get_slots_with_initialized_token().unwrap()[0];
    let session = library.open_rw_session(token).unwrap();
    drop(session.login(UserType::User, Some(&AuthPin::from(PIN))));
    session
}

#[test]
fn keys_are_made_on_the_token_and_found_again() {
    own_process::run("tokens::keys_are_made_on_the_token_and_found_again", |folder| {
        let hsm = Hsm::with_token(folder);
        let keys = hsm.open().unwrap();
        let made: Vec<_> = KEYS
            .iter()
            .map(|(purpose, algorithm)| keys.generate(&slot(*purpose), *algorithm).unwrap())
            .collect();
        made.iter().for_each(signs);
        drop(keys);
        let again = hsm.open().unwrap();
        assert_eq!(again.list().unwrap().len(), KEYS.len());
        for (key, (purpose, algorithm)) in made.iter().zip(KEYS) {
            let found = again.load(&slot(purpose)).unwrap().unwrap();
            assert_eq!((found.algorithm(), found.public_key()), (algorithm, key.public_key()));
            signs(&found);
            let taken = again.generate(&slot(purpose), algorithm).unwrap_err();
            assert!(matches!(taken, KeyError::AlreadyExists { .. }), "{taken:?}");
        }
        again.reachable().unwrap();
        let gone = slot(KeyPurpose::JwtSvid);
        again.remove(&gone).unwrap();
        again.remove(&gone).unwrap();
        assert!(again.load(&gone).unwrap().is_none());
        assert!(!again.list().unwrap().contains(&gone));
    });
}

#[test]
fn a_private_key_cannot_be_read_out_of_the_token() {
    own_process::run("tokens::a_private_key_cannot_be_read_out_of_the_token", |folder| {
        let hsm = Hsm::with_token(folder);
        let keys = hsm.open().unwrap();
        for (purpose, algorithm) in KEYS {
            keys.generate(&slot(purpose), algorithm).unwrap();
        }
        let session = session();
        let privates = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap();
        assert_eq!(privates.len(), KEYS.len());
        let wanted = [
            AttributeType::Sensitive,
            AttributeType::AlwaysSensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
            AttributeType::Label,
        ];
        for key in privates {
            let found = session.get_attributes(key, &wanted).unwrap();
            let [
                Attribute::Sensitive(true),
                Attribute::AlwaysSensitive(true),
                Attribute::Extractable(false),
                Attribute::NeverExtractable(true),
                Attribute::Label(label),
            ] = found.as_slice()
            else {
                panic!("{found:?}")
            };
            assert!(label.starts_with(CONTEXT.as_bytes()), "{label:?}");
            let secret = [AttributeType::Value, AttributeType::PrivateExponent];
            assert!(session.get_attributes(key, &secret).unwrap().is_empty());
        }
    });
}

#[test]
fn trust_domains_that_share_a_token_do_not_see_each_others_keys() {
    own_process::run(
        "tokens::trust_domains_that_share_a_token_do_not_see_each_others_keys",
        |folder| {
            let hsm = Hsm::with_token(folder);
            let of = |context| TokenKeys::open(&hsm.settings(), context).unwrap();
            let (one, other) = (of(CONTEXT), of("dev.example.org"));
            let (name, p256) = (slot(KeyPurpose::AccessToken), KeyAlgorithm::EcdsaP256);
            let key = one.generate(&name, p256).unwrap();
            assert!(other.load(&name).unwrap().is_none());
            assert!(other.list().unwrap().is_empty());
            assert_ne!(other.generate(&name, p256).unwrap().public_key(), key.public_key());
            other.remove(&name).unwrap();
            signs(&one.load(&name).unwrap().unwrap());
        },
    );
}

#[test]
fn more_threads_than_sessions_sign_in_turn() {
    own_process::run("tokens::more_threads_than_sessions_sign_in_turn", |folder| {
        let hsm = Hsm::with_token(folder);
        let keys = hsm.open().unwrap();
        let key = keys.generate(&slot(KeyPurpose::JwtSvid), KeyAlgorithm::EcdsaP256).unwrap();
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..20).for_each(|_| signs(&key)));
            }
        });
    });
}

#[test]
fn a_token_that_goes_away_is_missed_and_used_again_when_it_is_back() {
    own_process::run(
        "tokens::a_token_that_goes_away_is_missed_and_used_again_when_it_is_back",
        |folder| {
            let hsm = Hsm::with_token(folder);
            let keys = hsm.open().unwrap();
            let name = slot(KeyPurpose::AccessToken);
            let key = keys.generate(&name, KeyAlgorithm::EcdsaP256).unwrap();
            keys.reachable().unwrap();
            for _turn in 0..2 {
                hsm.pull_out();
                let missed = key.sign_fixed(b"message").unwrap_err();
                assert_eq!(code(&missed), "key_token_absent", "{missed:?}");
                assert_eq!(code(&keys.reachable().unwrap_err()), "key_token_absent");
                hsm.plug_in();
                // A module begins anew once a second at most.
                let begun = std::time::Instant::now();
                while keys.reachable().is_err() {
                    assert!(begun.elapsed().as_secs() < 20, "{:?}", keys.reachable());
                    thread::yield_now();
                }
                signs(&key);
                assert_eq!(keys.load(&name).unwrap().unwrap().public_key(), key.public_key());
            }
        },
    );
}

#[test]
fn keys_in_sealed_files_are_used_until_the_next_one_which_is_made_on_the_token() {
    own_process::run(
        "tokens::keys_in_sealed_files_are_used_until_the_next_one_which_is_made_on_the_token",
        |folder| {
            let hsm = Hsm::with_token(folder);
            let sealing = SealingKey::from_hex(&"3c".repeat(32)).unwrap();
            let sealed = || SealedFileKeys::open(&folder.join("keys"), &sealing, CONTEXT).unwrap();
            let name = slot(KeyPurpose::AccessToken);
            let p256 = KeyAlgorithm::EcdsaP256;
            let before = sealed().generate(&name, p256).unwrap();
            let keys = MovingKeys::new(hsm.open().unwrap(), sealed(), true);
            assert_eq!(keys.load(&name).unwrap().unwrap().public_key(), before.public_key());
            assert_eq!(keys.left_behind().unwrap(), std::slice::from_ref(&name));
            let taken = keys.generate(&name, p256).unwrap_err();
            assert!(matches!(taken, KeyError::AlreadyExists { .. }), "{taken:?}");
            // The next one, and that of every other purpose, is made on the token; the key for checkpoints is not.
            let next = marque_keys::SlotId::new(
                KeyPurpose::AccessToken,
                marque_keys::Slot::B,
                2.try_into().unwrap(),
            );
            signs(&keys.generate(&next, p256).unwrap());
            assert_eq!(hsm.open().unwrap().list().unwrap(), std::slice::from_ref(&next));
            let checkpoint = slot(KeyPurpose::AuditCheckpoint);
            signs(&keys.generate(&checkpoint, KeyAlgorithm::Ed25519).unwrap());
            assert_eq!(sealed().list().unwrap(), [name.clone(), checkpoint.clone()]);
            assert_eq!(keys.list().unwrap(), [name.clone(), next, checkpoint]);
            keys.remove(&name).unwrap();
            assert!(keys.load(&name).unwrap().is_none());
            assert!(keys.left_behind().unwrap().is_empty());
            keys.reachable().unwrap();
        },
    );
}
