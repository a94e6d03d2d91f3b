//! Intents as the daemon tells them.

use std::collections::BTreeMap;

use marque_intent::{Constraints, Limits};
use serde_json::json;

use super::super::*;
use crate::grpc::admin::{ApprovalView, EligibilityView, NarrowedView, ObjectionView};

pub(in crate::cli) fn pending() -> IntentView {
    let at = |text: &str| Some(text.parse().unwrap());
    IntentView {
        id: "int_01abcdefghjkmnpqrstvwxyz01".to_owned(),
        state: "pending".to_owned(),
        agent: "spiffe://prod.example.org/agent/cert-rotator/one".to_owned(),
        agent_owner: "group:platform-sre".to_owned(),
        grant: GrantView {
            digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            playbook: "ingress-cert-rotation".to_owned(),
            playbook_version: 7,
            playbook_digest: format!("sha256:{}", "ab".repeat(32)),
            title: "Rotate the TLS certificate of one ingress".to_owned(),
            purpose: "rotate-ingress-certificate".to_owned(),
            parameters: serde_json::json!({ "region": "eu-west-1", "service": "shop" }),
            ticket: "CHG-1842".to_owned(),
            audiences: vec!["https://ingress.prod.example.org".to_owned()],
            scopes: vec!["secrets.update".to_owned()],
            authorization_details: serde_json::json!([{
                "type": "k8s_object",
                "actions": ["get", "patch"],
                "identifier": "ns/ingress/secret/shop-tls",
            }]),
            resources: vec!["k8s://eu-west-1/ns/ingress/secret/shop-tls".to_owned()],
            uses: 1,
            single_use_tokens: false,
            token_lifetime_s: Some(300),
            start_within_s: Some(900),
            max_duration_s: Some(600),
            not_before: at("2026-11-22T03:00:00Z"),
            not_after: at("2026-11-22T04:00:00Z"),
            risk: 40,
            approvals: 1,
            approver_groups: vec!["sre".to_owned()],
            tenant: "example".to_owned(),
            playbook_owner: "group:platform-sre".to_owned(),
            data_classes: vec!["tls_material".to_owned()],
            tools: BTreeMap::new(),
            constraints: Constraints::default(),
            limits: Limits::default(),
            on_behalf: None,
            parent: None,
            emergency: None,
            delegators: None,
            session: String::new(),
            task: String::new(),
            delivery: "token".to_owned(),
            attestation: format!("sha256:{}", "cd".repeat(32)),
            policy_set_digest: format!("sha256:{}", "ef".repeat(32)),
            evidence: Default::default(),
            conditions: Default::default(),
            approval: None,
        },
        justification: "The certificate of shop ends in two days.".to_owned(),
        created_at: at("2026-11-22T02:58:00Z"),
        changed_at: at("2026-11-22T02:58:00Z"),
        expires_at: at("2026-11-22T03:28:00Z"),
        approvals: Vec::new(),
        approvals_missing: 1,
        uses_left: 1,
        uses: Vec::new(),
        denial: None,
        ended_by: String::new(),
        reason: String::new(),
        outcome: String::new(),
        reported_outcome: String::new(),
        post_check: String::new(),
        asked_of: String::new(),
        binding_message: String::new(),
        ended_for: String::new(),
        report: String::new(),
        heard_at: None,
        revocable: true,
        irrevocable: None,
        open_level: 1,
        objections: Vec::new(),
        narrowed: Vec::new(),
        you: None,
        held: None,
    }
}

/// A grant with every bound that a playbook may have.
pub(super) fn bounded() -> IntentView {
    let mut intent = pending();
    let grant = &mut intent.grant;
    let tools = json!({
        "k8s-prod.secrets.get": {},
        "k8s-prod.secrets.patch": {
            "sensitive": true,
            "destructive": true,
            "max_calls": 2,
            "arguments": [{"properties": {"name": {"const": "shop-tls"}}}],
        },
    });
    grant.tools = serde_json::from_value(tools).unwrap();
    let constraints = json!({"cluster": "eu-1", "contract_ids": ["c_1", "c_2"], "max_rows": 5});
    grant.constraints = serde_json::from_value(constraints).unwrap();
    let limits = json!({
        "max_records": 25, "max_calls": 12, "max_destructive": 1, "max_bytes_out": 1024,
        "min_interval_s": 90,
    });
    grant.limits = serde_json::from_value(limits).unwrap();
    let on_behalf = json!({
        "max_depth": 2,
        "agents": ["spiffe://prod.example.org/agent/helper/*"],
        "equal": ["scopes"],
    });
    grant.on_behalf = serde_json::from_value(on_behalf).unwrap();
    let delegators = json!({"required": true, "persons": [
        {"issuer": "corp", "subjects": ["alice"], "groups": ["sre"]},
        {"issuer": "partner", "everybody": true},
    ]});
    grant.delegators = serde_json::from_value(delegators).unwrap();
    grant.single_use_tokens = true;
    (grant.session, grant.task) = ("sess_1".to_owned(), "task_2".to_owned());
    intent
}

/// Two levels, the first of which is done, with a refusal and something taken away.
pub(super) fn waiting() -> IntentView {
    let mut intent = pending();
    let plan = json!({
        "levels": [
            {"any": [{"approve": 2, "groups": ["dev"], "deny": 2}, {"approve": 1, "groups": ["lead"]}]},
            {"any": [{"approve": 2, "groups": ["sec", "sre"], "distinct_groups": true}]},
        ],
        "exclude": ["agent_owner", "delegation_chain"],
        "excluded": ["group:platform-sre"],
        "mfa": true,
    });
    intent.grant.approval = serde_json::from_value(plan).unwrap();
    let at = |text: &str| Some(text.parse().unwrap());
    intent.approvals = vec![ApprovalView {
        approver: "operator:lee(1002)".to_owned(),
        at: at("2026-11-22T02:59:00Z"),
        digest: intent.grant.digest.clone(),
        level: 1,
        groups: vec!["lead".to_owned()],
        mfa: "host".to_owned(),
        client: "admin socket".to_owned(),
    }];
    intent.objections = vec![ObjectionView {
        approver: "operator:dan(1003)".to_owned(),
        at: at("2026-11-22T02:58:30Z"),
        reason: "too_broad".to_owned(),
    }];
    intent.narrowed = vec![NarrowedView {
        approver: "operator:lee(1002)".to_owned(),
        at: at("2026-11-22T02:59:00Z"),
        from: format!("sha256:{}", "a1".repeat(32)),
        to: intent.grant.digest.clone(),
    }];
    intent.open_level = 2;
    intent.you = Some(EligibilityView {
        may_approve: false,
        groups: vec!["dev".to_owned()],
        code: "approver_not_eligible".to_owned(),
        detail: "operator:dev(1004) is in none of the approver groups of level 2".to_owned(),
    });
    intent
}
