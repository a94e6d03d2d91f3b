//! The shipped playbook and a grant under it.

use jiff::Timestamp;
use marque_intent::{
    Circumstances, Digest, Evidence, Grant, IntentRequest, Playbook, Requester, resolve,
};
use serde_json::json;

pub(crate) const PLAYBOOK: &str =
    include_str!("../../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml");

/// What `playbook`, which is the shipped one or changed a little, gives an agent that asks for a ticket's work.
pub(crate) fn grant(playbook: &Playbook, evidence: Evidence) -> Grant {
    let request = json!({
        "playbook": "ingress-cert-rotation",
        "parameters": {"service": "checkout", "region": "eu-west-1"},
        "ticket": "CHG-1842",
    });
    let request = IntentRequest::from_object(request.as_object().unwrap().clone()).unwrap();
    let requester = Requester {
        agent: "spiffe://prod.example.org/agent/cert-rotator".parse().unwrap(),
        attestation: None,
        owner: None,
    };
    let circumstances = Circumstances {
        intent_id: "int_00000000000000000000000000".parse().unwrap(),
        policy_set_digest: Digest::of(b"set"),
        evidence,
        now: Timestamp::UNIX_EPOCH,
    };
    resolve(playbook, &request, &requester, circumstances).unwrap()
}
