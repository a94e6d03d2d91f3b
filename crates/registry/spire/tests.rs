use super::*;

/// As SPIRE 1.9 prints them: names of the messages, 64-bit integers as texts, nothing left out.
const ENTRIES: &str = include_str!("tests/entries.json");
const BUNDLES: &str = include_str!("tests/bundles.json");

#[test]
fn entries_are_read_as_spire_prints_them() {
    let entries = parse_spire_entries(ENTRIES.as_bytes()).unwrap();
    let first = &entries[0];
    assert_eq!(first.id, "6a9d3b1e-2f0c-4c1b-9a55-0e7f3f0f6f01");
    assert_eq!(first.spiffe_id, "spiffe://example.org/agent/billing");
    assert_eq!(first.parent_id, "spiffe://example.org/spire/agent/k8s_psat/prod/node-1");
    assert_eq!(first.selectors, ["k8s:ns:billing", "k8s:sa:billing"]);
    assert_eq!((first.x509_svid_ttl, first.jwt_svid_ttl), (1800, 300));
    assert_eq!(first.federates_with, ["partner.example.org"]);
    assert_eq!(first.expires_at, 1_893_456_000);
    assert_eq!(first.dns_names, ["billing.example.org"]);
    assert_eq!(first.hint, "main");
    assert!(!first.admin && !first.downstream && !first.store_svid && first.unknown.is_empty());
}

#[test]
fn each_form_of_another_version_is_read_alike() {
    let forms = [
        r#"[{"id": "a", "spiffe_id": "spiffe://example.org/a", "ttl": 60,
            "selectors": [{"type": "unix", "value": "uid:1"}], "federates_with": ["spiffe://b.example.org"]}]"#,
        r#"{"entries": [{"id": "a", "spiffeId": {"trustDomain": "example.org", "path": "/a"}, "x509SvidTtl": 60,
            "jwtSvidTtl": "60", "selectors": [{"type": "unix", "value": "uid:1"}], "federatesWith": ["b.example.org"]}]}"#,
        r#"{"id": "a", "spiffe_id": {"trust_domain": "spiffe://example.org", "path": "/a"}, "x509_svid_ttl": 60,
            "jwt_svid_ttl": 60, "selectors": [{"type": "unix", "value": "uid:1"}], "federates_with": ["b.example.org"],
            "expires_at": null, "admin": false}"#,
    ];
    let read: Vec<_> = forms.iter().map(|one| parse_spire_entries(one.as_bytes())).collect();
    let first = read[0].as_ref().unwrap();
    assert_eq!((first[0].x509_svid_ttl, first[0].jwt_svid_ttl), (60, 60));
    for other in &read {
        assert_eq!(other.as_ref().unwrap(), first);
    }
}

/// Every field of the messages of its server API, under the names of the messages and under those of protobuf's JSON.
#[test]
fn every_name_of_the_messages_is_known_in_both_spellings() {
    let snake = r#"{"entries": [{"id": "a", "spiffe_id": {"trust_domain": "example.org", "path": "/a"},
        "parent_id": {"trust_domain": "example.org", "path": "/n"}, "selectors": [{"type": "unix", "value": "uid:1"}],
        "x509_svid_ttl": 60, "federates_with": ["b.example.org"], "admin": true, "downstream": true, "expires_at": "7",
        "dns_names": ["a.example.org"], "revision_number": "3", "store_svid": true, "jwt_svid_ttl": 61, "hint": "h",
        "created_at": "9", "additional_attributes": {"disable_x509_svid_prefetch": true, "jwt_svid_include_jti": true}}],
        "next_page_token": ""}"#;
    let camel = r#"{"entries": [{"id": "a", "spiffeId": {"trustDomain": "example.org", "path": "/a"},
        "parentId": {"trustDomain": "example.org", "path": "/n"}, "selectors": [{"type": "unix", "value": "uid:1"}],
        "x509SvidTtl": 60, "federatesWith": ["b.example.org"], "admin": true, "downstream": true, "expiresAt": "7",
        "dnsNames": ["a.example.org"], "revisionNumber": "3", "storeSvid": true, "jwtSvidTtl": 61, "hint": "h",
        "createdAt": "9", "additionalAttributes": {"disableX509SvidPrefetch": true, "jwtSvidIncludeJti": true}}],
        "nextPageToken": ""}"#;
    let read = parse_spire_entries(snake.as_bytes()).unwrap();
    assert_eq!(parse_spire_entries(camel.as_bytes()).unwrap(), read);
    assert_eq!(
        read[0],
        SpireEntry {
            id: "a".to_owned(),
            spiffe_id: "spiffe://example.org/a".to_owned(),
            parent_id: "spiffe://example.org/n".to_owned(),
            selectors: vec!["unix:uid:1".to_owned()],
            x509_svid_ttl: 60,
            jwt_svid_ttl: 61,
            federates_with: vec!["b.example.org".to_owned()],
            admin: true,
            downstream: true,
            expires_at: 7,
            dns_names: vec!["a.example.org".to_owned()],
            store_svid: true,
            hint: "h".to_owned(),
            jwt_svid_include_jti: true,
            unknown: Vec::new(),
        }
    );
    let new = r#"[{"spiffe_id": "x", "additional_attributes": {"colour": "red"}}]"#;
    let unknown = &parse_spire_entries(new.as_bytes()).unwrap()[0].unknown;
    assert_eq!(unknown.as_slice(), ["additional_attributes.colour"]);
    parse_spire_entries(br#"[{"spiffe_id": "x", "additional_attributes": 7}]"#).unwrap_err();

    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3F5r9luc5ZCSCIVhZTsLYPlfmZ4d7eCzQAE/XEKuxYvSjXF/7XBUEydodtPb+ymnOAtj7uTxTWdbyHYMIMYttQ==";
    let snake = format!(
        r#"{{"trust_domain": "example.org", "x509_authorities": [],
        "jwt_authorities": [{{"public_key": "{key}", "key_id": "j", "expires_at": "9", "tainted": false}}],
        "refresh_hint": "60", "sequence_number": "4", "wit_authorities":
        [{{"public_key": "{key}", "key_id": "w", "expires_at": "9", "tainted": false}}, {{"key_id": "t", "tainted": true}}]}}"#
    );
    let camel = format!(
        r#"{{"trustDomain": "example.org", "x509Authorities": [],
        "jwtAuthorities": [{{"publicKey": "{key}", "keyId": "j", "expiresAt": "9", "tainted": false}}],
        "refreshHint": "60", "sequenceNumber": "4", "witAuthorities":
        [{{"publicKey": "{key}", "keyId": "w", "expiresAt": "9", "tainted": false}}, {{"keyId": "t", "tainted": true}}]}}"#
    );
    let read = parse_spire_bundles(snake.as_bytes()).unwrap();
    assert_eq!(parse_spire_bundles(camel.as_bytes()).unwrap(), read);
    assert_eq!((read[0].tainted, read[0].unknown.len()), (1, 0));
    let bundle = read[0].to_bundle().unwrap();
    assert!(bundle.wit_authority(&"w".parse().unwrap()).is_some());
    assert_eq!((bundle.sequence(), bundle.refresh_hint().as_secs()), (4, 60));
    let new = r#"{"trust_domain": "example.org", "colours": ["red"]}"#;
    assert_eq!(parse_spire_bundles(new.as_bytes()).unwrap()[0].unknown, ["colours"]);
}

#[test]
fn what_spire_never_prints_is_refused_and_what_is_new_is_named() {
    for text in [
        "",
        "7",
        "{}",
        r#"{"entries": 7}"#,
        r#"{"entries": [7]}"#,
        r#"[{"spiffe_id": 7}]"#,
        r#"[{"spiffe_id": "x", "selectors": ["unix:uid:1"]}]"#,
        r#"[{"spiffe_id": "x", "x509_svid_ttl": -1}]"#,
        r#"[{"spiffe_id": "x", "expires_at": "soon"}]"#,
        r#"[{"spiffe_id": "x", "admin": "yes"}]"#,
        r#"[{"spiffe_id": "x", "dns_names": [7]}]"#,
        r#"{"entries": [], "next_page_token": "more"}"#,
    ] {
        assert!(parse_spire_entries(text.as_bytes()).is_err(), "{text}");
    }
    let new = r#"[{"spiffe_id": "x", "quota": 5, "colour": "", "flags": []}]"#;
    assert_eq!(parse_spire_entries(new.as_bytes()).unwrap()[0].unknown, ["quota"]);
}

#[test]
fn bundles_become_spiffe_bundles() {
    let bundles = parse_spire_bundles(BUNDLES.as_bytes()).unwrap();
    let [partner, other] = bundles.as_slice() else { panic!("{bundles:?}") };
    assert_eq!((partner.trust_domain.as_str(), partner.tainted), ("partner.example.org", 1));
    let bundle = partner.to_bundle().unwrap();
    assert_eq!(bundle.x509_authorities().len(), 1);
    assert_eq!(bundle.sequence(), 42);
    assert_eq!(bundle.refresh_hint().as_secs(), 60);
    assert!(bundle.jwt_authority(&"k1".parse().unwrap()).is_some());
    assert!(other.to_bundle().unwrap().x509_authorities().is_empty());
    let single = r#"{"trust_domain": "spiffe://example.org", "x509_authorities": [], "jwt_authorities": []}"#;
    assert_eq!(parse_spire_bundles(single.as_bytes()).unwrap()[0].trust_domain, "example.org");
    for text in [
        r#"{"bundles": [{"trust_domain": "a", "x509_authorities": [{"asn1": "!"}]}]}"#,
        r#"{"keys": []}"#,
    ] {
        assert!(parse_spire_bundles(text.as_bytes()).is_err(), "{text}");
    }
    let wrong = r#"{"trust_domain": "a", "x509_authorities": [{"asn1": "AAAA"}]}"#;
    assert!(parse_spire_bundles(wrong.as_bytes()).unwrap()[0].to_bundle().is_err());
}
