use serde_json::json;

use super::*;
use crate::fixtures::{ask, grant, start};
use crate::lifecycle::Intent;

#[test]
fn everything_that_is_enforced_is_in_the_digest() {
    let sealed = grant_with_everything();
    let terms = serde_json::to_value(sealed.terms()).unwrap();
    let changed = json!({
        "intent_id": "int_00000000000000000000000000",
        "trust_domain": "dev.example.org",
        "tenant": "other",
        "agent": "spiffe://prod.example.org/agent/other",
        "attestation": Digest::of(b"other"),
        "playbook": {"id": "other", "version": 1, "digest": Digest::of(b"p"), "title": "t", "owner": "group:t"},
        "parameters": {"service": "payments", "region": "eu-west-1"},
        "audiences": ["https://other.prod.example.org"],
        "scopes": ["secrets.delete"],
        "authorization_details": [],
        "resources": ["k8s://eu-west-1/ns/ingress/secret/payments-tls"],
        "tools": {"k8s-prod.secrets.patch": {}},
        "constraints": {"cluster": "one"},
        "limits": {"max_calls": 13},
        "on_behalf": {"max_depth": 2, "agents": ["spiffe://prod.example.org/agent/helper"]},
        "delegators": {"required": true, "persons": [{"issuer": "corp", "subjects": ["bob"]}]},
        "session": "s-2",
        "task": "t-2",
        "uses": 2,
        "token_lifetime_s": 301,
        "request_ttl_s": 1801,
        "start_within_s": 901,
        "max_duration_s": 601,
        "not_before": "2026-03-10T08:59:59Z",
        "not_after": "2026-03-10T23:00:00Z",
        "ticket": "CHG-1843",
        "approval": {"approve": 2, "groups": ["operators", "platform-sre"]},
        "policy_set_digest": Digest::of(b"other"),
        "risk": 41,
    });
    let names: BTreeSet<&String> =
        terms.as_object().unwrap().keys().filter(|name| *name != "delivery").collect();
    assert_eq!(
        names,
        changed.as_object().unwrap().keys().collect::<BTreeSet<_>>(),
        "a member is not tested"
    );
    for (name, value) in changed.as_object().unwrap() {
        let mut other = terms.clone();
        other[name] = value.clone();
        let other: Grant = serde_json::from_value(other).unwrap();
        assert_ne!(other.digest(), sealed.digest(), "{name}");
    }
}

/// A grant with each optional member.
fn grant_with_everything() -> Grant {
    let mut terms = serde_json::to_value(grant().terms()).unwrap();
    for (name, value) in [
        ("tools", json!({"k8s-prod.secrets.patch": {"sensitive": true}})),
        ("constraints", json!({"cluster": "two"})),
        ("limits", json!({"max_calls": 12})),
        (
            "on_behalf",
            json!({"max_depth": 1, "agents": ["spiffe://prod.example.org/agent/helper"]}),
        ),
        (
            "delegators",
            json!({"required": true, "persons": [{"issuer": "corp", "subjects": ["alice"]}]}),
        ),
        ("session", json!("s-1")),
        ("task", json!("t-1")),
    ] {
        terms[name] = value;
    }
    serde_json::from_value(terms).unwrap()
}

#[test]
fn a_grant_that_says_nothing_of_tools_constraints_and_delegation_keeps_its_digest() {
    let terms = serde_json::to_value(grant().terms()).unwrap();
    for absent in ["tools", "constraints", "limits", "on_behalf", "delegators", "session", "task"] {
        assert!(terms.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn the_largest_grant_fits_a_record_of_the_log_and_one_byte_more_is_refused() {
    let sealed = grant();
    let with = |padding: usize| {
        let mut terms = sealed.terms().clone();
        terms.parameters.insert("padding".to_owned(), "x".repeat(padding).into());
        terms.resources = vec!["k8s:".to_owned() + &"y".repeat(MAX_GRANT_BYTES / 2)];
        Grant::seal(terms)
    };
    let Err(GrantError::TooLarge { length }) = with(MAX_GRANT_BYTES) else { panic!("it fits") };
    let room = MAX_GRANT_BYTES - (length - MAX_GRANT_BYTES);
    assert!(matches!(with(room + 1), Err(GrantError::TooLarge { .. })));
    let (_, events) = Intent::open(with(room).unwrap(), None, ask(), start());
    for event in events {
        let trust_domain = sealed.trust_domain.clone();
        marque_audit::Leaf::seal(event, &trust_domain, 0, start()).unwrap();
    }
}

#[test]
fn a_grant_reads_back_with_the_same_digest() {
    let sealed = grant();
    let json = serde_json::to_string(&sealed).unwrap();
    let back: Grant = serde_json::from_str(&json).unwrap();
    assert_eq!((&back, back.digest()), (&sealed, sealed.digest()));
}

#[test]
fn a_member_that_is_not_known_is_refused() {
    let mut json = serde_json::to_value(grant()).unwrap();
    json["extra"] = json!(1);
    assert!(serde_json::from_value::<Grant>(json).is_err());
}

#[test]
fn the_digest_is_over_the_tag_and_the_canonical_terms() {
    let sealed = grant();
    let canonical = serde_json_canonicalizer::to_vec(sealed.terms()).unwrap();
    let bytes = [b"marque/approval/v1".as_slice(), &canonical].concat();
    assert_eq!(*sealed.digest(), Digest::of(&bytes));
}

#[test]
fn terms_that_permit_nothing_are_not_sealed() {
    let terms = || grant().terms().clone();
    assert!(Grant::seal(GrantTerms { uses: 0, ..terms() }).is_err());
    assert!(Grant::seal(GrantTerms { audiences: Vec::new(), ..terms() }).is_err());
    assert!(Grant::seal(GrantTerms { token_lifetime: Duration::ZERO, ..terms() }).is_err());
    assert!(Grant::seal(GrantTerms { not_after: start(), ..terms() }).is_err());
}

#[test]
fn a_scope_never_stands_for_more_than_itself() {
    assert!("secrets.update".parse::<Scope>().is_ok());
    for wild in ["*", "secrets.*", "secrets:*:read"] {
        assert_eq!(wild.parse::<Scope>(), Err(ScopeError::Wildcard), "{wild}");
    }
    for bad in ["", "a b", "a\"b", "a\\b", "ä", &"a".repeat(129)] {
        assert_eq!(bad.parse::<Scope>(), Err(ScopeError::Syntax), "{bad}");
    }
    assert!("a".repeat(128).parse::<Scope>().is_ok());
}

#[test]
fn a_detail_has_the_common_members_only() {
    let detail = |value| serde_json::from_value::<AuthorizationDetail>(value);
    assert!(detail(json!({"type": "k8s_object", "actions": ["get"]})).is_ok());
    assert!(detail(json!({"type": "k8s_object", "namespace": "x"})).is_err());
    assert!(detail(json!({"actions": ["get"]})).is_err());
}
