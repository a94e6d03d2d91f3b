use marque_jose::{Algorithm, UnverifiedJws, sign_compact};
use marque_keys::KeyAlgorithm;
use marque_testkit::START;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::testing::{
    House, access_token_claims, authority, config, jwt_template, later, x509_template,
};

#[test]
fn an_access_token_verifies_by_the_key_set_of_the_token_endpoint_alone() {
    let authority = authority();
    let signer = authority.access_token_signer();
    let token = sign_compact(Some("at+jwt"), &access_token_claims(), signer.as_ref()).unwrap();
    let keys = authority.access_token_keys();
    let key = keys.find(signer.key_id()).unwrap();
    assert_eq!((key.key_use.as_deref(), key.alg), (Some("sig"), Some(Algorithm::Es256)));
    assert!(signer.key_id().as_str().starts_with("access-token-a-1-"), "{}", signer.key_id());
    let jws = UnverifiedJws::parse(token.expose_token()).unwrap();
    jws.verify(&key.key, &[Algorithm::Es256]).unwrap();
    // Neither set names a key of the other.
    let bundle = authority.bundle();
    assert!(bundle.jwt_authorities().keys().all(|kid| keys.find(kid).is_none()));
    assert!(bundle.jwt_authorities().values().all(|of_svids| *of_svids != key.key));
}

#[test]
fn checkpoints_are_signed_with_ed25519() {
    let authority = authority();
    let key = authority.checkpoint_key();
    assert_eq!(key.algorithm(), KeyAlgorithm::Ed25519);
    let signature = key.sign_fixed(b"checkpoint").unwrap();
    UnparsedPublicKey::new(&ED25519, key.public_key()).verify(b"checkpoint", &signature).unwrap();
}

#[test]
fn an_authority_knows_whose_it_is_and_when_it_ends() {
    let house = House::default();
    let authority = house.open().unwrap();
    assert_eq!(authority.trust_domain().as_str(), "prod.example.org");
    assert_eq!(authority.environment(), config("prod.example.org").environment);
    assert_eq!(authority.ends_at(), later(24 * 3600));
}

#[test]
fn every_purpose_has_a_key_of_its_own() {
    let house = House::default();
    let authority = house.open().unwrap();
    let records = house.store.records.lock().unwrap();
    let keys: std::collections::BTreeSet<_> =
        records.iter().map(|record| record.public_key.clone()).collect();
    assert_eq!(keys.len(), authority.created().len());
}

#[test]
fn nothing_secret_is_in_what_an_authority_prints() {
    let authority = authority();
    let svid = authority.mint_x509_svid(&x509_template("/agent/a"), START).unwrap();
    let token = authority.mint_jwt_svid(&jwt_template("/agent/a"), START).unwrap().token;
    let printed = format!("{authority:?} {svid:?}");
    // ring's document for P-256 holds the private half at 36..68.
    let decimal = svid.private_key.expose_der()[36..68]
        .iter()
        .map(u8::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    assert!(!printed.contains(&decimal) && !printed.contains(token.expose_token()));
    assert!(
        printed.contains("PrivateKeyPkcs8 { .. }") && printed.contains("x509-authority-a-1"),
        "{printed}"
    );
}

#[test]
fn an_authority_is_shared_between_threads() {
    let authority = authority();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| authority.mint_x509_svid(&x509_template("/agent/a"), START).unwrap());
        }
    });
}
