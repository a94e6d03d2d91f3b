use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use marque_jose::{JwkError, KeyError, KeyId, PublicKey, Signer as _};
use marque_spiffe::{Bundle, BundleError, SequenceError, TrustDomain};
use marque_testkit::{ScratchSigner, ScratchTrustDomain};
use proptest::prelude::*;
use serde_json::{Value, json};

fn td() -> TrustDomain {
    "example.org".parse().unwrap()
}

fn read(document: &Value) -> Result<Bundle, BundleError> {
    Bundle::parse(td(), document.to_string().as_bytes())
}

fn with(mut value: Value, member: &str, to: Value) -> Value {
    value[member] = to;
    value
}

/// A JWK for JWT-SVIDs.
fn jwt_key(kid: &str) -> Value {
    let mut jwk = Value::Object(ScratchSigner::generate("x").public_key().to_jwk());
    jwk["use"] = json!("jwt-svid");
    jwk["kid"] = json!(kid);
    jwk
}

/// A JWK for X.509-SVIDs.
fn x509_key() -> Value {
    let document = ScratchTrustDomain::new("example.org").bundle().to_document();
    let key =
        document["keys"].as_array().unwrap().iter().find(|key| key["use"] == "x509-svid").unwrap();
    key.clone()
}

#[test]
fn tb_1_the_document_is_one_strict_json_object_whose_other_members_are_ignored() {
    assert!(read(&json!({ "keys": [], "other": { "x": 1 } })).is_ok());
    for text in [
        "",
        "[]",
        "null",
        "{\"keys\":[]}x",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"EC\",\"kty\":\"EC\"}]}",
    ] {
        assert!(
            matches!(Bundle::parse(td(), text.as_bytes()), Err(BundleError::Json(_))),
            "{text}"
        );
    }
}

#[test]
fn tb_2_the_sequence_is_an_unsigned_integer_of_64_bits() {
    let with_sequence = |sequence: Value| read(&json!({ "keys": [], "spiffe_sequence": sequence }));
    assert_eq!(with_sequence(json!(u64::MAX)).unwrap().sequence(), u64::MAX);
    assert_eq!(read(&json!({ "keys": [] })).unwrap().sequence(), 0);
    for wrong in
        [json!(-1), json!(1.0), json!("1"), json!(null), json!([1]), json!(1.8446744073709552e19)]
    {
        assert!(matches!(with_sequence(wrong.clone()), Err(BundleError::Sequence)), "{wrong}");
    }
}

#[test]
fn tb_2_a_bundle_is_replaced_by_a_later_one_of_the_same_trust_domain_only() {
    let bundle = |sequence: Option<u64>, hint: u64| {
        let builder = Bundle::builder(td()).refresh_hint(Duration::from_secs(hint));
        sequence
            .map_or_else(|| builder.clone(), |sequence| builder.clone().sequence(sequence))
            .build()
    };
    let present = bundle(Some(5), 60);
    assert_eq!(bundle(Some(6), 60).supersedes(&present), Ok(()));
    assert_eq!(present.clone().supersedes(&present), Ok(()));
    assert_eq!(bundle(None, 61).supersedes(&present), Ok(()));
    assert_eq!(
        bundle(Some(4), 60).supersedes(&present),
        Err(SequenceError::WentBack { from: 5, to: 4 })
    );
    assert_eq!(bundle(Some(5), 61).supersedes(&present), Err(SequenceError::Unchanged(5)));
    let foreign = Bundle::builder("other.example.org".parse().unwrap()).sequence(6).build();
    assert_eq!(foreign.supersedes(&present), Err(SequenceError::OtherTrustDomain));
}

#[test]
fn tb_3_the_refresh_hint_is_whole_seconds_and_five_minutes_when_absent() {
    let with_hint = |hint: Value| read(&json!({ "keys": [], "spiffe_refresh_hint": hint }));
    assert_eq!(with_hint(json!(30)).unwrap().refresh_hint(), Duration::from_secs(30));
    assert_eq!(read(&json!({ "keys": [] })).unwrap().refresh_hint(), Duration::from_secs(300));
    for wrong in [json!(-1), json!(1.5), json!("60"), json!(null)] {
        assert!(matches!(with_hint(wrong.clone()), Err(BundleError::RefreshHint)), "{wrong}");
    }
}

#[test]
fn tb_4_keys_are_demanded_and_none_of_them_trusts_nobody() {
    for wrong in [json!({}), json!({ "keys": {} }), json!({ "keys": null })] {
        assert!(matches!(read(&wrong), Err(BundleError::NoKeys)), "{wrong}");
    }
    assert!(matches!(read(&json!({ "keys": [1] })), Err(BundleError::NotAnObject { index: 0 })));
    let empty = read(&json!({ "keys": [] })).unwrap();
    assert!(empty.x509_authorities().is_empty() && empty.jwt_authorities().is_empty());
}

#[test]
fn tb_5_keys_of_an_unknown_or_missing_type_or_use_are_ignored() {
    let good = jwt_key("k");
    let mut no_type = good.clone();
    no_type.as_object_mut().unwrap().remove("kty");
    let mut no_use = good.clone();
    no_use.as_object_mut().unwrap().remove("use");
    let keys = [
        no_type,
        no_use,
        with(good.clone(), "kty", json!("XY")),
        with(good.clone(), "use", json!("sig")),
        with(good.clone(), "use", json!("JWT-SVID")),
        with(good.clone(), "crv", json!("P-521")),
        good,
    ];
    let bundle = read(&json!({ "keys": keys })).unwrap();
    assert_eq!(bundle.jwt_authorities().len(), 1);
}

#[test]
fn a_malformed_key_refuses_the_whole_bundle() {
    let error =
        read(&json!({ "keys": [jwt_key("a"), with(jwt_key("b"), "x", json!("AA"))] })).unwrap_err();
    assert!(
        matches!(
            error,
            BundleError::Key { index: 1, source: JwkError::Key(KeyError::Length("x")) }
        ),
        "{error:?}"
    );
    let error = read(&json!({ "keys": [with(jwt_key("a"), "d", json!("AA"))] })).unwrap_err();
    assert!(matches!(
        error,
        BundleError::Key { index: 0, source: JwkError::Key(KeyError::Private("d")) }
    ));
}

#[test]
fn one_key_too_many_is_refused() {
    let keys: Vec<_> = (0..257).map(|_| json!({})).collect();
    assert!(read(&json!({ "keys": keys[1..] })).is_ok());
    assert!(matches!(read(&json!({ "keys": keys })), Err(BundleError::TooManyKeys)));
}

#[test]
fn x5_8_an_x509_authority_has_one_certificate_and_no_key_id() {
    let key = x509_key();
    assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
    assert!(key.get("kid").is_none());
    let bundle = read(&json!({ "keys": [key] })).unwrap();
    assert_eq!(bundle.x509_authorities().len(), 1);
    assert!(matches!(
        read(&json!({ "keys": [with(key, "kid", json!("k"))] })),
        Err(BundleError::X509KeyId { index: 0 })
    ));
}

#[test]
fn x5_8_the_certificate_is_one_certificate_of_the_key_beside_it() {
    let key = x509_key();
    for wrong in [json!([]), json!("AA"), json!([1]), json!(null), json!(["!"]), json!({})] {
        let wrong = with(key.clone(), "x5c", wrong);
        assert!(
            matches!(read(&json!({ "keys": [wrong] })), Err(BundleError::X5c { index: 0 })),
            "{wrong}"
        );
    }
    let mut der = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
    der.push(0);
    for wrong in [
        STANDARD.encode(&der),
        STANDARD.encode(&der[..der.len() - 2]),
        STANDARD.encode("certificate"),
    ] {
        let wrong = with(key.clone(), "x5c", json!([wrong]));
        assert!(matches!(read(&json!({ "keys": [wrong] })), Err(BundleError::Certificate)));
    }
    let mismatched = with(x509_key(), "x5c", key["x5c"].clone());
    assert!(matches!(
        read(&json!({ "keys": [mismatched] })),
        Err(BundleError::X509KeyMismatch { index: 0 })
    ));
}

#[test]
fn x5_9_an_entry_without_certificate_is_ignored_and_only_the_first_certificate_counts() {
    let key = x509_key();
    let mut bare = key.clone();
    bare.as_object_mut().unwrap().remove("x5c");
    let first = key["x5c"][0].clone();
    let two = with(key, "x5c", json!([first, "not even a certificate"]));
    let bundle = read(&json!({ "keys": [bare, two] })).unwrap();
    assert_eq!(STANDARD.encode(&bundle.x509_authorities()[0]), first.as_str().unwrap());
    assert_eq!(bundle.x509_authorities().len(), 1);
}

#[test]
fn jw_9_a_key_for_jwt_svids_has_a_name_and_its_use_keeps_it_apart() {
    let mut unnamed = jwt_key("k");
    unnamed.as_object_mut().unwrap().remove("kid");
    assert!(matches!(read(&json!({ "keys": [unnamed] })), Err(BundleError::NoKeyId { index: 0 })));
    let wit = with(jwt_key("w"), "use", json!("wit-svid"));
    let bundle = read(&json!({ "keys": [jwt_key("k"), wit] })).unwrap();
    let names = |keys: &std::collections::BTreeMap<KeyId, PublicKey>| {
        keys.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(bundle.jwt_authorities()), ["k"]);
    assert_eq!(names(bundle.wit_authorities()), ["w"]);
}

#[test]
fn wi_11_no_two_keys_for_tokens_have_one_name() {
    let wit = with(jwt_key("k"), "use", json!("wit-svid"));
    for second in [jwt_key("k"), wit] {
        assert!(matches!(
            read(&json!({ "keys": [jwt_key("k"), second] })),
            Err(BundleError::DuplicateKeyId(_))
        ));
    }
    let signer = ScratchSigner::generate("k");
    let add = |builder: marque_spiffe::BundleBuilder| {
        builder.jwt_authority("k".parse().unwrap(), signer.public_key().clone())
    };
    assert!(add(Bundle::builder(td())).and_then(add).is_err());
}

#[test]
fn the_key_sets_of_the_workload_api_hold_keys_of_one_use() {
    let bundle = read(&json!({ "keys": [x509_key(), jwt_key("j"), with(jwt_key("w"), "use", json!("wit-svid"))] })).unwrap();
    for (set, kid, key_use) in
        [(bundle.jwt_jwks(), "j", "jwt-svid"), (bundle.wit_jwks(), "w", "wit-svid")]
    {
        assert_eq!(set["keys"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&set["keys"][0]["kid"], &set["keys"][0]["use"]),
            (&json!(kid), &json!(key_use))
        );
        assert_eq!(set.as_object().unwrap().len(), 1);
    }
    assert_eq!(bundle.x509_der(), bundle.x509_authorities()[0].to_vec());
}

#[test]
fn a_pinned_algorithm_survives_and_binds() {
    let bundle = read(&json!({ "keys": [with(jwt_key("k"), "alg", json!("ES256"))] })).unwrap();
    assert_eq!(bundle.to_document()["keys"][0]["alg"], "ES256");
    let wrong = with(jwt_key("k"), "alg", json!("ES384"));
    assert!(matches!(read(&json!({ "keys": [wrong] })), Err(BundleError::Key { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_bundle_reads_back_from_its_document(
        roots in 0usize..3, names in prop::collection::btree_set("[ -~]{1,12}", 0..5),
        sequence in any::<Option<u64>>(), hint in any::<Option<u32>>(),
    ) {
        let mut builder = Bundle::builder(td());
        for _ in 0..roots {
            let root = ScratchTrustDomain::new("example.org").root().certificate().clone();
            builder = builder.x509_authority(root).unwrap();
        }
        for (index, name) in names.iter().enumerate() {
            let (kid, key) = (name.parse().unwrap(), ScratchSigner::generate("x").public_key().clone());
            builder = if index % 2 == 0 { builder.jwt_authority(kid, key) } else { builder.wit_authority(kid, key) }.unwrap();
        }
        if let Some(sequence) = sequence {
            builder = builder.sequence(sequence);
        }
        if let Some(hint) = hint {
            builder = builder.refresh_hint(Duration::from_secs(hint.into()));
        }
        let bundle = builder.build();
        prop_assert_eq!(read(&bundle.to_document()).unwrap(), bundle);
    }
}
