//! Shared by this crate's tests: a playbook, a request and a grant that fit together, and instants to play with.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Approval, ApprovalRule, Approver, Circumstances, Digest, Grant, GrantTerms, Intent,
    IntentRequest, Playbook, Requester, Ruling, resolve,
};

pub(crate) const PLAYBOOK: &str =
    include_str!("../../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml");

/// The playbook of M 16 and M 21: a renewal review, which may hand parts of its work to other agents.
pub(crate) const REVIEW: &str = include_str!("testdata/contract-renewal-review.toml");
pub(crate) const REVIEWER: &str = "spiffe://prod.example.org/agent/renewal-review";

/// The instant at which every story begins.
pub(crate) fn start() -> Timestamp {
    "2026-03-10T09:00:00Z".parse().unwrap()
}

/// So many seconds after the beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(start().as_second() + seconds).unwrap()
}

pub(crate) fn playbook() -> Playbook {
    Playbook::parse(PLAYBOOK).unwrap()
}

pub(crate) fn request(value: &Value) -> IntentRequest {
    IntentRequest::parse(&serde_json::to_vec(value).unwrap()).unwrap()
}

/// The request of M 29.
pub(crate) fn good_request() -> Value {
    json!({
        "playbook": "ingress-cert-rotation",
        "parameters": {"service": "checkout", "region": "eu-west-1"},
        "ticket": "CHG-1842",
        "justification": "the certificate ends in six days",
    })
}

pub(crate) fn requester(id: &str) -> Requester {
    Requester {
        agent: id.parse().unwrap(),
        attestation: Some(Digest::of(b"selectors")),
        owner: None,
    }
}

pub(crate) const AGENT: &str = "spiffe://prod.example.org/agent/cert-rotator/one";

pub(crate) fn circumstances() -> Circumstances {
    Circumstances {
        intent_id: "int_0123456789abcdefghjkmnpqrs".parse().unwrap(),
        policy_set_digest: Digest::of(b"policies"),
        evidence: Default::default(),
        now: start(),
    }
}

pub(crate) fn grant() -> Grant {
    resolve(&playbook(), &request(&good_request()), &requester(AGENT), circumstances()).unwrap()
}

/// The grant of a renewal review.
pub(crate) fn review() -> Grant {
    review_of(&Playbook::parse(REVIEW).unwrap(), &json!({})).unwrap()
}

/// The grant of a renewal review under another playbook, with more parameters.
pub(crate) fn review_of(playbook: &Playbook, more: &Value) -> Result<Grant, crate::Denial> {
    let mut parameters =
        json!({"customer_id": "cust_example_1042", "contract_id": "contract_7781"});
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let asked = json!({
        "playbook": "contract-renewal-review",
        "parameters": parameters,
        "session": "sess_2026_05_12_001",
        "task": "task_contract_renewal_review_8842",
    });
    resolve(playbook, &request(&asked), &requester(REVIEWER), circumstances())
}

/// The grant with other counts: so many uses, so many approvals.
pub(crate) fn grant_with(uses: u32, approvals: u32) -> Grant {
    let approve = NonZeroU32::new(approvals).unwrap();
    let terms = grant().terms().clone();
    let groups = terms.approval.as_ref().unwrap().rules().next().unwrap().groups.clone();
    let approval = Some(ApprovalRule::of(approve, groups).into());
    Grant::seal(GrantTerms { uses, approval, ..terms }).unwrap()
}

pub(crate) fn ask() -> Ruling {
    Ruling::AskApproval { rules: vec!["ask".to_owned()] }
}

pub(crate) fn pending(uses: u32, approvals: u32) -> Intent {
    Intent::open(grant_with(uses, approvals), None, ask(), start()).0
}

pub(crate) fn operator(uid: u32) -> Approver {
    Approver::Operator { uid, user: format!("user{uid}") }
}

pub(crate) fn approval(intent: &Intent, uid: u32, now: Timestamp) -> Approval {
    Approval::new(operator(uid), *intent.grant().digest(), now)
}

/// Approved by one operator, sixty seconds in.
pub(crate) fn approved(uses: u32) -> Intent {
    let intent = pending(uses, 1);
    intent.approve(&approval(&intent, 1000, at(60)), at(60)).unwrap().0
}

/// A golden that does not depend on the order of members: whether `serde_json` keeps it is up to whoever else is built.
macro_rules! assert_golden {
    ($($argument:expr),+) => {
        insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!($($argument),+) })
    };
}
pub(crate) use assert_golden;
