use std::time::Duration;

use marque_keys::{KeyAlgorithm, KeyManager, MemoryKeys, Slot};
use marque_spiffe::{Bundle, Environment};
use marque_testkit::START;

use super::*;
use crate::RootProblem;
use crate::testing::{HOUR, House, MemoryStore, config, jwt_template, later, x509_template};

mod at_once;
mod crashes;
mod turns;

const PURPOSES: [KeyPurpose; 5] = [
    KeyPurpose::X509Authority,
    KeyPurpose::JwtSvid,
    KeyPurpose::AccessToken,
    KeyPurpose::AuditCheckpoint,
    KeyPurpose::WitSvid,
];

/// The second slot of a purpose.
fn b(purpose: KeyPurpose) -> SlotId {
    SlotId::new(purpose, Slot::B, std::num::NonZeroU32::MIN)
}

#[test]
fn the_first_opening_makes_a_key_for_each_purpose_and_the_second_finds_them() {
    let house = House::default();
    let first = house.open().unwrap();
    assert_eq!(first.created(), PURPOSES.map(SlotId::first));
    let second = house.open_with(config("prod.example.org"), later(3600)).unwrap();
    assert!(second.created().is_empty());
    assert_eq!(second.bundle(), first.bundle());
    assert_eq!(second.access_token_keys(), first.access_token_keys());
    assert_eq!(second.checkpoint_key().public_key(), first.checkpoint_key().public_key());
    assert_eq!(house.keys.list().unwrap().len(), PURPOSES.len());
}

#[test]
fn what_was_minted_before_a_restart_verifies_after_it() {
    let house = House::default();
    let svid = house.open().unwrap().mint_x509_svid(&x509_template("/agent/a"), START).unwrap();
    let bundle = house.open().unwrap().bundle();
    marque_spiffe::UnverifiedX509Svid::parse_chain(svid.chain)
        .unwrap()
        .verify(&bundle, START)
        .unwrap();
}

#[test]
fn the_keys_of_sealed_files_open_again_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let sealing = marque_keys::SealingKey::create_file(&dir.path().join("sealing.key")).unwrap();
    let store = std::sync::Arc::new(MemoryStore::default());
    let open = || {
        let keys = marque_keys::SealedFileKeys::open(
            &dir.path().join("keys"),
            &sealing,
            "prod.example.org",
        )
        .unwrap();
        let random = std::sync::Arc::new(marque_testkit::SeededRandom::new(7));
        let opening = crate::Authority::open(
            config("prod.example.org"),
            std::sync::Arc::new(keys),
            std::sync::Arc::clone(&store) as _,
            random,
            START,
        );
        futures::FutureExt::now_or_never(opening).unwrap().unwrap()
    };
    let first = open();
    let second = open();
    assert_eq!(second.bundle(), first.bundle());
    second.mint_jwt_svid(&jwt_template("/agent/a"), START).unwrap();
}

#[test]
fn an_opening_that_was_interrupted_at_any_save_is_taken_up_again() {
    for (saves, purpose) in PURPOSES.into_iter().enumerate() {
        let house = House::default();
        *house.store.saves_left.lock().unwrap() = Some(saves);
        let error = house.open().unwrap_err();
        assert!(matches!(error, AuthorityError::Store { operation: "change", .. }), "{error:?}");
        // The key is there and its record is not.
        assert_eq!(
            (house.keys.list().unwrap().len(), house.store.records.lock().unwrap().len()),
            (saves + 1, saves)
        );
        let orphan = house.keys.load(&SlotId::first(purpose)).unwrap().unwrap();

        *house.store.saves_left.lock().unwrap() = None;
        let opened = house.open().unwrap();
        assert_eq!(opened.created(), PURPOSES.map(SlotId::first)[saves..].to_vec());
        assert_eq!(house.store.record(purpose).public_key, orphan.public_key());
        opened.mint_x509_svid(&x509_template("/agent/a"), START).unwrap();
    }
}

#[test]
fn a_record_whose_private_key_is_gone_says_what_to_do() {
    for purpose in PURPOSES {
        let house = House::default();
        house.open().unwrap();
        house.keys.remove(&SlotId::first(purpose)).unwrap();
        let error = house.open().unwrap_err();
        assert!(
            matches!(&error, AuthorityError::KeyMissing { slot } if slot.purpose() == purpose),
            "{error:?}"
        );
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
        assert!(
            house.keys.load(&SlotId::first(purpose)).unwrap().is_none(),
            "no new key takes its place"
        );
    }
}

#[test]
fn a_private_key_that_is_not_the_one_on_record_is_refused() {
    for purpose in PURPOSES {
        let house = House::default();
        house.open().unwrap();
        house.keys.remove(&SlotId::first(purpose)).unwrap();
        house.keys.generate(&SlotId::first(purpose), purpose.default_algorithm()).unwrap();
        let error = house.open().unwrap_err();
        assert!(
            matches!(&error, AuthorityError::KeyChanged { slot } if slot.purpose() == purpose),
            "{error:?}"
        );
    }
}

#[test]
fn one_record_of_each_purpose_is_active() {
    let house = House::default();
    house.open().unwrap();
    let record = house.store.record(KeyPurpose::JwtSvid);

    house.store.add(record.clone());
    assert!(matches!(house.open(), Err(AuthorityError::DuplicateRecord { .. })));
    house.store.records.lock().unwrap().pop();

    house.store.add(AuthorityRecord { slot: b(KeyPurpose::JwtSvid), ..record });
    assert!(matches!(
        house.open(),
        Err(AuthorityError::SeveralActive { purpose: KeyPurpose::JwtSvid })
    ));
    house.store.records.lock().unwrap().pop();

    for state in [
        AuthorityState::Prepared,
        AuthorityState::Old,
        AuthorityState::Revoked,
        AuthorityState::Retired,
    ] {
        house.store.change(KeyPurpose::JwtSvid, |record| record.state = state);
        assert!(
            matches!(
                house.open(),
                Err(AuthorityError::NoneActive { purpose: KeyPurpose::JwtSvid })
            ),
            "{state:?}"
        );
    }
    house.store.change(KeyPurpose::JwtSvid, |record| record.state = AuthorityState::Active);
    house.open().unwrap();
}

#[test]
fn prepared_and_old_keys_are_published_and_do_not_sign() {
    let house = House::default();
    let first = house.open().unwrap();
    for (slot, state) in [
        (b(KeyPurpose::X509Authority), AuthorityState::Prepared),
        (b(KeyPurpose::JwtSvid), AuthorityState::Old),
    ] {
        let key = house.keys.generate(&slot, slot.purpose().default_algorithm()).unwrap();
        let certificate = (slot.purpose() == KeyPurpose::X509Authority).then(|| {
            let random = marque_testkit::SeededRandom::new(9);
            root::self_sign(&config("prod.example.org"), &key, &random, START).unwrap().to_vec()
        });
        house.store.add(AuthorityRecord {
            slot,
            state,
            certificate_der: certificate,
            upstream: None,
            followed: None,
            public_key: key.public_key().to_vec(),
            created_at: START,
            bundle_sequence: first.bundle().sequence() + 1,
            times: AuthorityTimes::default(),
        });
    }
    let second = house.open().unwrap();
    let bundle = second.bundle();
    assert_eq!((bundle.x509_authorities().len(), bundle.jwt_authorities().len()), (2, 2));
    bundle.supersedes(&first.bundle()).unwrap();
    // What the active keys sign is good for those who know only them.
    let svid = second.mint_x509_svid(&x509_template("/agent/a"), START).unwrap();
    marque_spiffe::UnverifiedX509Svid::parse_chain(svid.chain)
        .unwrap()
        .verify(&first.bundle(), START)
        .unwrap();
    let token = second.mint_jwt_svid(&jwt_template("/agent/a"), START).unwrap().token;
    let token = marque_spiffe::UnverifiedJwtSvid::parse(token.expose_token()).unwrap();
    token.verify(&first.bundle(), "https://issuer.example.org", START).unwrap();
}

#[test]
fn only_what_signs_svids_is_in_the_bundle() {
    let authority = House::default().open().unwrap();
    let bundle = authority.bundle();
    assert_eq!((bundle.x509_authorities().len(), bundle.jwt_authorities().len()), (1, 1));
    assert_eq!(bundle.wit_authorities().len(), 1);
    let kids: Vec<_> = bundle.jwt_authorities().keys().map(ToString::to_string).collect();
    assert!(
        kids[0].starts_with("jwt-svid-a-1-") && kids[0].len() == "jwt-svid-a-1-".len() + 8,
        "{kids:?}"
    );
    assert_eq!(bundle.refresh_hint(), Duration::from_secs(60));

    let document = bundle.to_document().to_string();
    let parsed = Bundle::parse("prod.example.org".parse().unwrap(), document.as_bytes()).unwrap();
    assert_eq!(parsed, *bundle);
    let access = authority.access_token_keys().keys[0].clone();
    assert!(!document.contains(access.key.to_jwk()["x"].as_str().unwrap()));
}

#[test]
fn the_sequence_goes_up_even_when_the_store_is_lost() {
    let house = House::default();
    let first = house.open().unwrap().bundle();
    assert!(first.sequence() > u64::try_from(START.as_second()).unwrap());
    house.store.records.lock().unwrap().clear();
    let second = house.open_with(config("prod.example.org"), later(60)).unwrap().bundle();
    second.supersedes(&first).unwrap();
    assert_ne!(second, first);
}

#[test]
fn a_store_of_another_trust_domain_or_environment_is_refused() {
    let house = House::default();
    house.open().unwrap();
    let refusal = |config| match house.open_with(config, START).unwrap_err() {
        AuthorityError::Root { source, .. } => source,
        other => panic!("{other:?}"),
    };
    let moved =
        AuthorityConfig { environment: Environment::NonProduction, ..config("prod.example.org") };
    assert_eq!(refusal(moved), RootProblem::Environment(Environment::NonProduction));
    assert_eq!(
        refusal(config("other.example.org")),
        RootProblem::Name("other.example.org".parse().unwrap())
    );
}

#[test]
fn a_record_without_its_root_is_refused() {
    let house = House::default();
    house.open().unwrap();
    let good = house.store.record(KeyPurpose::X509Authority);
    let refusal = |certificate_der| {
        house
            .store
            .change(KeyPurpose::X509Authority, |record| record.certificate_der = certificate_der);
        match house.open().unwrap_err() {
            AuthorityError::Root { source, .. } => source,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(None), RootProblem::Missing);
    assert_eq!(refusal(Some(b"certificate".to_vec())), RootProblem::Malformed);
    let other = House::default();
    other.open().unwrap();
    assert_eq!(
        refusal(other.store.record(KeyPurpose::X509Authority).certificate_der),
        RootProblem::PublicKey
    );
    house.store.change(KeyPurpose::X509Authority, |record| *record = good);
    house.open().unwrap();
}

#[test]
fn a_public_key_on_record_that_is_none_is_refused() {
    let house = House::default();
    house.open().unwrap();
    let mut prepared = house.store.record(KeyPurpose::JwtSvid);
    prepared.slot = b(KeyPurpose::JwtSvid);
    prepared.state = AuthorityState::Prepared;
    for public_key in [Vec::new(), vec![4; 65], vec![4; 64]] {
        house.store.add(AuthorityRecord { public_key, ..prepared.clone() });
        assert!(matches!(house.open(), Err(AuthorityError::PublicKey { .. })));
        house.store.records.lock().unwrap().pop();
    }
}

#[test]
fn authorities_that_have_ended_are_replaced_as_they_open() {
    let house = House::default();
    let first = house.open().unwrap();
    let day = 24 * 3600;
    let until_the_end = house.open_with(config("prod.example.org"), later(day - 1)).unwrap();
    assert!(until_the_end.created().is_empty());
    assert_eq!(until_the_end.ends_at(), later(day));

    let next = house.open_with(config("prod.example.org"), later(day)).unwrap();
    let made = [KeyPurpose::X509Authority, KeyPurpose::JwtSvid, KeyPurpose::AccessToken];
    assert_eq!(next.created()[..3], made.map(b));
    assert_eq!(next.ends_at(), later(2 * day));
    next.bundle().supersedes(&first.bundle()).unwrap();
    next.mint_x509_svid(&x509_template("/agent/a"), later(day)).unwrap();
    next.mint_jwt_svid(&jwt_template("/agent/a"), later(day)).unwrap();
}

#[test]
fn an_authority_that_has_ended_and_cannot_be_replaced_does_not_open() {
    let house = House::default();
    house.open().unwrap();
    *house.store.saves_left.lock().unwrap() = Some(0);
    let error = house.open_with(config("prod.example.org"), later(24 * 3600)).unwrap_err();
    assert!(matches!(error, AuthorityError::Store { operation: "change", .. }), "{error:?}");
}

#[test]
fn what_is_on_record_ends_as_its_record_says_whatever_the_settings_have_become() {
    let house = House::default();
    house.open().unwrap();
    for ca_lifetime in [HOUR, 48 * HOUR] {
        let changed = AuthorityConfig { ca_lifetime, ..config("prod.example.org") };
        assert_eq!(house.open_with(changed, later(60)).unwrap().ends_at(), later(24 * 3600));
    }
    // A record of a version that did not say so yet goes by the settings; a root says it itself.
    for purpose in [KeyPurpose::X509Authority, KeyPurpose::JwtSvid] {
        house.store.change(purpose, |record| record.times = AuthorityTimes::default());
    }
    let changed = AuthorityConfig { ca_lifetime: 2 * HOUR, ..config("prod.example.org") };
    assert_eq!(house.open_with(changed, later(60)).unwrap().ends_at(), later(7200));
    let changed = AuthorityConfig { ca_lifetime: 48 * HOUR, ..config("prod.example.org") };
    assert_eq!(house.open_with(changed, later(60)).unwrap().ends_at(), later(24 * 3600));
}

#[test]
fn a_store_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let house = House {
        store: std::sync::Arc::new(MemoryStore { unreadable: true, ..MemoryStore::default() }),
        ..House::default()
    };
    assert!(matches!(house.open(), Err(AuthorityError::Store { operation: "load", .. })));
    assert!(house.keys.list().unwrap().is_empty());
}

#[test]
fn settings_that_cannot_be_used_make_no_key() {
    let house = House::default();
    let wrong = AuthorityConfig { ca_lifetime: Duration::ZERO, ..config("prod.example.org") };
    assert!(matches!(house.open_with(wrong, START), Err(AuthorityError::Config(_))));
    assert!(house.keys.list().unwrap().is_empty());
}

/// A manager that holds what a test put in and makes nothing.
#[derive(Debug)]
struct Broken(MemoryKeys);

impl KeyManager for Broken {
    fn generate(
        &self,
        slot: &SlotId,
        _algorithm: KeyAlgorithm,
    ) -> Result<SigningKey, marque_keys::KeyError> {
        Err(marque_keys::KeyError::Generate { slot: slot.clone() })
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, marque_keys::KeyError> {
        self.0.load(slot)
    }

    fn list(&self) -> Result<Vec<SlotId>, marque_keys::KeyError> {
        self.0.list()
    }

    fn remove(&self, slot: &SlotId) -> Result<(), marque_keys::KeyError> {
        self.0.remove(slot)
    }
}

#[test]
fn a_failing_key_manager_leaves_no_record() {
    let store = std::sync::Arc::new(MemoryStore::default());
    let keys = std::sync::Arc::new(Broken(MemoryKeys::new()));
    let random = std::sync::Arc::new(marque_testkit::SeededRandom::new(7));
    let kept = std::sync::Arc::clone(&store) as _;
    let opening = crate::Authority::open(config("prod.example.org"), keys, kept, random, START);
    let error = futures::FutureExt::now_or_never(opening).unwrap().unwrap_err();
    assert!(matches!(error, AuthorityError::Keys { operation: "make", .. }), "{error:?}");
    assert!(store.records.lock().unwrap().is_empty());
}

#[test]
fn a_record_reads_back_from_json_and_holds_no_unknown_member() {
    let house = House::default();
    house.open().unwrap();
    for purpose in PURPOSES {
        let record = house.store.record(purpose);
        let mut json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["state"], "active");
        assert_eq!(serde_json::from_value::<AuthorityRecord>(json.clone()).unwrap(), record);
        json["private_key"] = "no".into();
        serde_json::from_value::<AuthorityRecord>(json).unwrap_err();
    }
}
