//! Stores that an older version wrote.

use marque_intent::{Grant, Intent, Ruling};
use refinery::Target;
use rusqlite::params;
use serde_json::json;

use super::*;
use crate::sqlite::load::{INTENT, intent_row};

fn approved() -> Intent {
    let grant: Grant = serde_json::from_value(json!({
        "intent_id": "int_00000000000000000000000042",
        "trust_domain": "prod.example.org",
        "tenant": "example",
        "agent": "spiffe://prod.example.org/agent/cert-rotator/one",
        "playbook": {
            "id": "ingress-cert-rotation",
            "version": 7,
            "digest": marque_intent::Digest::of(b"playbook"),
            "title": "Rotate \u{201c}one\u{201d} certificate",
            "owner": "group:platform-sre",
        },
        "parameters": {"service": "checkout"},
        "audiences": ["https://ingress.prod.example.org"],
        "scopes": ["secrets.update"],
        "authorization_details": [],
        "resources": [],
        "delivery": "token",
        "uses": 1,
        "token_lifetime_s": 300,
        "request_ttl_s": 1800,
        "start_within_s": 900,
        "max_duration_s": 600,
        "not_before": Timestamp::UNIX_EPOCH,
        "not_after": marque_testkit::START,
        "policy_set_digest": marque_intent::Digest::of(b"policy"),
        "risk": 40,
    }))
    .unwrap();
    let ruling = Ruling::Approve { rules: vec!["low-risk".to_owned()] };
    Intent::open(grant, None, ruling, Timestamp::UNIX_EPOCH).0
}

#[test]
fn an_intent_that_was_kept_whole_is_the_same_in_two_parts() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrations().set_target(Target::Version(5)).run(&mut connection).unwrap();
    let intent = approved();
    let mut whole = serde_json::to_value(intent.course()).unwrap();
    whole["grant"] = serde_json::to_value(intent.grant()).unwrap();
    connection
        .execute(
            "INSERT INTO intents (id, agent, playbook, state, state_version, created_at, document)
             VALUES (?1, 'a', 'p', 'approved', 1, 0, ?2)",
            params![intent.id().as_str(), whole.to_string()],
        )
        .unwrap();
    migrations().run(&mut connection).unwrap();
    let row = connection.query_row(INTENT, [intent.id().as_str()], intent_row).unwrap();
    let read = row.into_intent().unwrap();
    assert_eq!(read, intent);
    assert_eq!(read.grant().digest(), intent.grant().digest());
}
