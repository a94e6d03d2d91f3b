//! What the issuer knows: an intent.

use std::collections::BTreeSet;
use std::time::Duration;

use marque_intent::{
    ApprovalRule, AuthorizationDetail, Delivery, Digest, Grant, GrantTerms, Intent, PinnedPlaybook,
    Ruling,
};
use marque_spiffe::SpiffeId;
use marque_testkit::START;

use super::{AGENT, INTENT};

pub(super) fn intent(pending: bool) -> Intent {
    let agent: SpiffeId = AGENT.parse().unwrap();
    let approve = std::num::NonZeroU32::MIN;
    let terms = GrantTerms {
        intent_id: INTENT.parse().unwrap(),
        trust_domain: agent.trust_domain().clone(),
        tenant: "example".to_owned(),
        agent,
        attestation: None,
        playbook: PinnedPlaybook {
            id: "ingress-cert-rotation".parse().unwrap(),
            version: 7,
            digest: Digest::of(b"playbook"),
            title: "Rotate a certificate".to_owned(),
            owner: "group:platform-sre".to_owned(),
            data_classes: vec!["tls_material".to_owned()],
            purpose: None,
        },
        parameters: serde_json::Map::new(),
        audiences: vec!["https://gw.prod.example.org/k8s".to_owned()],
        scopes: vec!["secrets.update".parse().unwrap()],
        authorization_details: vec![AuthorizationDetail {
            kind: "k8s_object".to_owned(),
            locations: BTreeSet::new(),
            actions: BTreeSet::new(),
            datatypes: BTreeSet::new(),
            identifier: None,
            privileges: BTreeSet::new(),
        }],
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
        token_lifetime: Duration::from_secs(240),
        request_ttl: Duration::from_secs(1800),
        start_within: Duration::from_secs(900),
        max_duration: Duration::from_secs(600),
        not_before: START,
        not_after: START + Duration::from_secs(3600),
        ticket: None,
        approval: pending.then(|| ApprovalRule::of(approve, BTreeSet::new()).into()),
        policy_set_digest: Digest::of(b"policy"),
        risk: 42,
        evidence: Default::default(),
        conditions: Default::default(),
    };
    let rules = vec!["rule".to_owned()];
    let ruling = if pending { Ruling::AskApproval { rules } } else { Ruling::Approve { rules } };
    Intent::open(Grant::seal(terms).unwrap(), None, ruling, START).0
}
