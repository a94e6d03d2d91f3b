use serde_json::{Value, json};

use super::*;
use crate::fixtures::grant;

const FIXTURE: &str = include_str!("../testdata/identity-envelope.json");

#[test]
fn m_16_the_envelope_of_a_renewal_review_round_trips_with_the_same_meaning() {
    let document: EnvelopeDocument = serde_json::from_str(FIXTURE).unwrap();
    let (envelope, expires_at) = document.into_claims();
    let claims = serde_json::to_string(&envelope).unwrap();
    let read: Envelope = serde_json::from_str(&claims).unwrap();
    assert_eq!(read, envelope);
    assert_eq!(expires_at.to_string(), "2026-05-12T18:30:00Z");
    let back = serde_json::to_value(read.document(expires_at)).unwrap();
    assert_eq!(back, serde_json::from_str::<Value>(FIXTURE).unwrap());
    let tools: Vec<_> = envelope.allowed_tools.iter().map(|t| (t.server(), t.name())).collect();
    assert_eq!(tools, [("contracts", "read"), ("crm", "read"), ("tickets", "create")]);
    let constraints = &envelope.resource_constraints;
    assert_eq!(constraints.max_records, Some(25));
    assert_eq!(constraints.data_classes.len(), 3);
    assert_eq!(constraints.constraints.len(), 2);
}

#[test]
fn an_envelope_with_a_member_that_is_not_known_is_refused() {
    for (member, value) in [
        ("api_key", json!("x")),
        ("resource_constraints", json!({"max_records": "25"})),
        ("resource_constraints", json!({"data_classes": []})),
        ("resource_constraints", json!({"data_classes": "all"})),
        ("resource_constraints", json!({"region": null})),
        ("resource_constraints", json!({"region": {"any": true}})),
        ("resource_constraints", json!({"region": []})),
        ("allowed_tools", json!(["*"])),
        ("allowed_tools", json!(["contracts.*"])),
        ("allowed_tools", json!(["contracts"])),
        ("allowed_tools", json!(["Contracts.read"])),
        ("allowed_tools", json!("contracts.read")),
        ("session_id", json!("two words")),
        ("session_id", json!(null)),
        ("delegator_id", json!(null)),
        ("expires_at", json!(1_778_610_600)),
    ] {
        let mut document: Value = serde_json::from_str(FIXTURE).unwrap();
        document[member] = value.clone();
        let read = serde_json::from_value::<EnvelopeDocument>(document);
        assert!(read.is_err(), "{member}: {value}");
    }
}

#[test]
fn the_claims_of_a_token_say_the_rights_that_it_was_issued_with() {
    let rights = Rights::of(&grant());
    let envelope = Envelope::new(&rights, Bearings::of(&grant(), None));
    let mut details = vec![json!({"type": "marque_intent", "intent_id": "int_x"})];
    details.extend(rights.authorization_details.iter().map(|d| serde_json::to_value(d).unwrap()));
    let audiences: Vec<String> = rights.audiences.iter().cloned().collect();
    let claimed = Claimed {
        trust_domain: &rights.trust_domain,
        audiences: &audiences,
        scope: &grant().scope(),
        authorization_details: &details,
        not_before: rights.not_before,
        not_after: rights.not_after,
        envelope: &envelope,
        rights: &rights.claims(),
    };
    assert_eq!(Rights::from_claims(&claimed).unwrap(), rights.in_token());
}
