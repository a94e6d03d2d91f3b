//! An intent that waits.

use std::time::Duration;

use jiff::Timestamp;
use marque_intent::{
    Appeal, ApprovalRule, Delivery, Digest, Grant, GrantTerms, Intent, IntentId, Justification,
    PinnedPlaybook, Ruling,
};
use marque_spiffe::SpiffeId;
use marque_testkit::SeededRandom;

/// A pending intent of `agent`.
pub(in crate::grpc::admin) fn intent(agent: &str, now: Timestamp) -> Intent {
    let agent: SpiffeId = agent.parse().unwrap();
    let seed = agent.as_str().bytes().map(u64::from).sum();
    let id = IntentId::generate(&SeededRandom::new(seed), now).unwrap();
    let terms = GrantTerms {
        intent_id: id,
        trust_domain: "test.example.org".parse().unwrap(),
        tenant: "example".to_owned(),
        agent,
        attestation: None,
        playbook: PinnedPlaybook {
            id: "rotate".parse().unwrap(),
            version: 1,
            digest: Digest::of(b"playbook"),
            title: "Rotate".to_owned(),
            owner: "group:platform-sre".to_owned(),
            data_classes: vec!["tls_material".to_owned()],
            purpose: None,
        },
        parameters: [("service".to_owned(), "shop".into())].into_iter().collect(),
        audiences: vec!["https://api.example.org".to_owned()],
        scopes: Vec::new(),
        authorization_details: Vec::new(),
        resources: Vec::new(),
        tools: std::collections::BTreeMap::new(),
        constraints: marque_intent::Constraints::default(),
        limits: marque_intent::Limits::default(),
        on_behalf: None,
        delegators: None,
        parent: None,
        emergency: None,
        session: None,
        task: None,
        delivery: Delivery::Token,
        uses: 1,
        single_use_tokens: false,
        token_lifetime: Duration::from_secs(300),
        request_ttl: Duration::from_secs(1800),
        start_within: Duration::from_secs(900),
        max_duration: Duration::from_secs(600),
        not_before: now,
        not_after: now + Duration::from_secs(3600),
        ticket: None,
        approval: Some(ApprovalRule::of(std::num::NonZeroU32::MIN, Default::default()).into()),
        policy_set_digest: Digest::of(b"policy"),
        risk: 0,
        evidence: Default::default(),
        conditions: Default::default(),
    };
    let justification = Justification::new("please").unwrap();
    let ruling = Ruling::AskApproval { rules: Vec::new() };
    let appeal =
        Appeal { asked: "platform-sre".parse().unwrap(), message: Some("W4SCT".parse().unwrap()) };
    Intent::open(Grant::seal(terms).unwrap(), Some(justification), ruling, now)
        .0
        .with_appeal(Some(appeal))
}
