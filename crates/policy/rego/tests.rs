use std::fs;

use jiff::Timestamp;
use marque_intent::{Circumstances, Digest, Evidence, IntentRequest, Playbook, Requester, resolve};
use marque_spiffe::Environment;
use serde_json::json;

use super::*;
use crate::decision::Act;

const PLAYBOOK: &str =
    include_str!("../../../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml");

fn load(text: &str) -> Result<Option<RegoPolicies>, Vec<PolicyFinding>> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own.rego"), text).unwrap();
    RegoPolicies::load(dir.path())
}

fn veto(text: &str) -> Result<Option<Veto>, PolicyError> {
    let playbook = Playbook::parse(PLAYBOOK).unwrap();
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
    let now = Timestamp::UNIX_EPOCH;
    let circumstances = Circumstances {
        intent_id: "int_00000000000000000000000000".parse().unwrap(),
        policy_set_digest: Digest::of(b"set"),
        evidence: Evidence::default(),
        now,
    };
    let grant = resolve(&playbook, &request, &requester, circumstances).unwrap();
    let question = Question {
        grant: &grant,
        playbook: &playbook,
        evidence: &grant.evidence,
        environment: Environment::Production,
        act: Act::Request,
        now,
    };
    load(text).unwrap().unwrap().veto(&question)
}

const HEAD: &str = "package marque\nimport rego.v1\n";

#[test]
fn true_alone_allows_and_undefined_refuses() {
    let of = |rule: &str| veto(&format!("{HEAD}{rule}\n")).unwrap();
    assert_eq!(of("allow if input.context.risk < 50"), None);
    assert_eq!(of("allow if input.resource.properties.tenant == \"example\""), None);
    assert!(of("allow if input.context.risk > 50").is_some());
    assert!(of("allow if input.context.no_such_fact").is_some());
    assert!(of("allow := \"true\"").is_some());
    assert!(of("default allow := false").is_some());
}

#[test]
fn m_83_a_denial_of_a_set_gives_its_code() {
    let text = format!(
        "{HEAD}allow := true\ndeny contains {{\"code\": \"data_class_denied\", \"reason\": \"no keys\"}} if {{\n\
         \"tls_material\" in input.resource.properties.data_classes\n}}\n"
    );
    let veto = veto(&text).unwrap().unwrap();
    assert_eq!((veto.code, veto.reason.as_str()), (DenialCode::DataClassDenied, "no keys"));
}

#[test]
fn a_file_that_is_none_of_ours_is_refused() {
    assert!(load("package other\nallow := true\n").is_err());
    assert!(load("package marque\nallow if {").is_err());
    let empty = tempfile::tempdir().unwrap();
    assert!(RegoPolicies::load(empty.path()).unwrap().is_none());
}
