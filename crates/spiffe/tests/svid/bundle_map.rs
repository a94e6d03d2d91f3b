use std::time::Duration;

use marque_jose::json::StrictJsonError;
use marque_spiffe::{Bundle, BundleError, BundleMap, BundleMapError, BundleSource as _};
use marque_testkit::ScratchTrustDomain;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(document: &Value) -> Result<BundleMap, BundleMapError> {
    BundleMap::parse(document.to_string().as_bytes())
}

fn document_of(names: &[&str]) -> Value {
    BundleMap::new(names.iter().map(|name| ScratchTrustDomain::new(name).bundle())).to_document()
}

#[test]
fn tb_6_trust_domains_are_demanded_and_other_members_are_ignored() {
    for wrong in [json!({}), json!({ "trust_domains": [] }), json!({ "trust_domains": null })] {
        assert!(matches!(read(&wrong), Err(BundleMapError::NoTrustDomains)), "{wrong}");
    }
    let mut document = document_of(&["a.example.org"]);
    document["other"] = json!({ "x": 1 });
    assert_eq!(read(&document).unwrap().bundles().len(), 1);
    assert_eq!(read(&json!({ "trust_domains": {} })).unwrap(), BundleMap::default());
}

#[test]
fn tb_6_a_trust_domain_that_occurs_twice_is_refused_however_it_is_spelt() {
    let bundle = r#"{"keys":[]}"#;
    for (first, second) in
        [("a.example.org", "a.example.org"), ("a.example.org", r"\u0061.example.org")]
    {
        let document = format!(r#"{{"trust_domains":{{"{first}":{bundle},"{second}":{bundle}}}}}"#);
        let refused = BundleMap::parse(document.as_bytes());
        assert!(
            matches!(&refused, Err(BundleMapError::Json(StrictJsonError::DuplicateMember { name })) if name == "a.example.org"),
            "{second}: {refused:?}"
        );
    }
    let twice = format!(r#"{{"trust_domains":{{}},"trust_domains":{{"a.example.org":{bundle}}}}}"#);
    assert!(matches!(BundleMap::parse(twice.as_bytes()), Err(BundleMapError::Json(_))));
}

#[test]
fn tb_6_names_are_those_of_trust_domains_and_not_their_ids() {
    for name in ["", "A.example.org", "spiffe://a.example.org", "a.example.org/x", "a b"] {
        let refused = read(&json!({ "trust_domains": { name: { "keys": [] } } }));
        assert!(matches!(refused, Err(BundleMapError::Name(_))), "{name}: {refused:?}");
    }
}

#[test]
fn tb_6_what_one_bundle_says_about_refreshing_concerns_no_other() {
    let map = read(&json!({ "trust_domains": {
        "a.example.org": { "keys": [], "spiffe_refresh_hint": 1, "spiffe_sequence": 7 },
        "b.example.org": { "keys": [] },
    }}))
    .unwrap();
    let bundle = |name: &str| map.bundle(&name.parse().unwrap()).unwrap();
    assert_eq!(bundle("a.example.org").refresh_hint(), Duration::from_secs(1));
    assert_eq!(bundle("b.example.org").refresh_hint(), Bundle::DEFAULT_REFRESH_HINT);
    assert_eq!((bundle("a.example.org").sequence(), bundle("b.example.org").sequence()), (7, 0));
    // A map has no hint of its own, neither read nor written.
    let members = map.to_document();
    assert_eq!(members.as_object().unwrap().keys().collect::<Vec<_>>(), ["trust_domains"]);
}

#[test]
fn tb_7_bundles_of_a_map_are_not_merged_and_may_use_one_key_id() {
    // Both scratch authorities call their keys alike.
    let document = document_of(&["a.example.org", "b.example.org"]);
    let map = read(&document).unwrap();
    for name in ["a.example.org", "b.example.org"] {
        let bundle = map.bundle(&name.parse().unwrap()).unwrap();
        assert_eq!(bundle.trust_domain().as_str(), name);
        assert_eq!(bundle.to_document(), document["trust_domains"][name]);
        assert_eq!((bundle.jwt_authorities().len(), bundle.wit_authorities().len()), (1, 1));
    }
    assert!(map.bundle(&"c.example.org".parse().unwrap()).is_none());
}

#[test]
fn one_bad_bundle_refuses_the_map_and_is_named() {
    let mut document = document_of(&["a.example.org", "b.example.org"]);
    document["trust_domains"]["b.example.org"]["keys"] = json!(1);
    let refused = read(&document);
    assert!(
        matches!(&refused, Err(BundleMapError::Bundle { trust_domain, source: BundleError::NoKeys }) if trust_domain.as_str() == "b.example.org"),
        "{refused:?}"
    );
    for wrong in [json!([]), json!(null), json!("x")] {
        document["trust_domains"]["b.example.org"] = wrong;
        assert!(matches!(read(&document), Err(BundleMapError::NotAnObject(_))));
    }
}

#[test]
fn a_map_of_1024_trust_domains_reads_and_one_more_does_not() {
    let document = |trust_domains: usize| {
        let bundles: serde_json::Map<_, _> = (0..trust_domains)
            .map(|index| (format!("td-{index}"), json!({ "keys": [] })))
            .collect();
        json!({ "trust_domains": bundles })
    };
    assert_eq!(read(&document(1024)).unwrap().bundles().len(), BundleMap::MAX_TRUST_DOMAINS);
    assert!(matches!(read(&document(1025)), Err(BundleMapError::TooManyTrustDomains)));
    let long = " ".repeat(BundleMap::LIMITS.max_bytes + 1);
    assert!(matches!(
        BundleMap::parse(long.as_bytes()),
        Err(BundleMapError::Json(StrictJsonError::TooLong { .. }))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn a_map_reads_back_from_its_document(names in prop::collection::btree_set("[a-z]{1,8}", 0..4)) {
        let map = BundleMap::new(names.iter().map(|name| ScratchTrustDomain::new(name).bundle()));
        prop_assert_eq!(read(&map.to_document()).unwrap(), map);
    }
}
