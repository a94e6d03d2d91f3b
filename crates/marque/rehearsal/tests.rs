use std::path::Path;

use marque_intent::{Severity, lint};
use marque_policy::CedarDecisionPoint;
use marque_spiffe::{Environment, TrustDomain};
use serde_json::json;

mod minted;

use super::*;
use crate::templates::{ALL, Own, Template};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn policy(trust_domain: &str) -> CedarDecisionPoint {
    CedarDecisionPoint::load(&root().join("trust-domains").join(trust_domain).join("policy"))
        .unwrap()
}

fn templates() -> PlaybookSet {
    let dir = root().join("crates/marque/templates");
    let trust_domain = TrustDomain::new("prod.example.org").unwrap();
    PlaybookSet::load(&dir, &trust_domain, Environment::Production).unwrap()
}

fn now() -> Timestamp {
    "2026-11-10T09:00:00Z".parse().unwrap()
}

#[test]
fn m_41_m_42_every_template_is_a_playbook_that_production_takes_without_a_remark() {
    let names: Vec<_> = ALL.iter().map(|template| template.name).collect();
    let files: Vec<_> = templates().iter().map(|playbook| playbook.id().to_string()).collect();
    assert_eq!(names, files);
    for Template { name, text } in ALL {
        assert_eq!(lint(text, Environment::Production, now()), [], "{name}");
    }
}

#[test]
fn m_41_m_42_every_template_grants_and_refuses_as_its_cases_say() {
    let (playbooks, policy) = (templates(), policy("prod.example.org"));
    let results =
        run_cases(&root().join("crates/marque/templates/tests"), &playbooks, &policy).unwrap();
    let failed: Vec<_> = results.iter().filter_map(CaseResult::finding).collect();
    assert!(
        failed.is_empty(),
        "{}",
        failed.iter().map(|one| format!("{one}\n")).collect::<String>()
    );
    for Template { name, .. } in ALL {
        let of = |result: &&CaseResult| result.file.file_stem().is_some_and(|stem| stem == *name);
        assert!(results.iter().filter(of).count() >= 5, "{name} has too few cases");
    }
}

/// A golden of what each shipped playbook gives: the grant, and every claim of the token that is minted of it.
#[tokio::test]
async fn every_shipped_playbook_turns_its_request_into_this_grant_and_these_claims() {
    let folder = |name: &str, environment| {
        let dir = root().join("trust-domains").join(name).join("playbooks");
        PlaybookSet::load(&dir, &TrustDomain::new(name).unwrap(), environment).unwrap()
    };
    let (prod, dev) = ("prod.example.org", "dev.example.org");
    let mut golden = serde_json::Map::new();
    let mut play = async |playbooks: &PlaybookSet, domain: &str, agent: &str, request: Value| {
        let asked = Asked {
            agent: format!("spiffe://{domain}/agent/{agent}").parse().unwrap(),
            sponsor: Some("group:agents".to_owned()),
            request: request.as_object().unwrap().clone(),
            evidence: Evidence::default(),
            done: BTreeSet::new(),
            now: now(),
        };
        let Rehearsed { grant, ruling, denial } = rehearse(playbooks, &policy(domain), &asked);
        let grant = grant.unwrap_or_else(|| panic!("{denial:?}"));
        let mut terms = serde_json::to_value(&grant).unwrap();
        let (digest, ruled) = (grant.digest().to_string(), ruling.clone().unwrap());
        let mut claims = minted::claims(grant, ruled, playbooks.environment(), now()).await;
        assert_eq!(
            claims["intent"]["digest"], digest,
            "the token names the grant that was approved"
        );
        // The policies change more often than the playbooks, and the digest of the grant with them.
        terms["policy_set_digest"] = json!("-");
        claims["intent"]["digest"] = json!("-");
        // Drawn by the store, so that nobody counts tokens by it.
        assert!(claims["status"]["status_list"]["idx"].is_u64(), "{claims}");
        claims["status"]["status_list"]["idx"] = json!("-");
        golden.insert(
            request["playbook"].as_str().unwrap().to_owned(),
            json!({ "request": request, "ruling": ruling, "grant": terms, "token": claims }),
        );
    };
    let rotation = json!({
        "playbook": "ingress-cert-rotation", "ticket": "CHG-1842",
        "parameters": { "service": "checkout", "region": "eu-west-1" },
    });
    play(&folder(prod, Environment::Production), prod, "cert-rotator", rotation).await;
    let preview = json!({ "playbook": "restart-preview", "parameters": { "preview": "pr-1842" } });
    play(&folder(dev, Environment::NonProduction), dev, "preview-restarter", preview).await;
    let templates = templates();
    for (name, agent, parameters) in [
        (
            "certificate-rotation",
            "cert-rotator",
            json!({ "service": "checkout", "region": "eu-west-1" }),
        ),
        (
            "queue-replay",
            "queue-operator",
            json!({ "queue": "orders", "region": "eu-west-1", "messages": 100 }),
        ),
        (
            "secret-rollover-validation",
            "secret-validator",
            json!({ "entry": "payments-db", "consumer": "checkout" }),
        ),
        (
            "stale-instance-cleanup",
            "fleet-janitor",
            json!({ "instance": "i-0abc1234def567890", "region": "us-east-1" }),
        ),
        (
            "policy-drift-remediation",
            "drift-remediator",
            json!({ "account": "111122223333", "policy": "deny-public-buckets" }),
        ),
        (
            "restart-failed-deployment",
            "deployment-restarter",
            json!({ "namespace": "checkout", "deployment": "cart-api" }),
        ),
        (
            "network-rule-update",
            "network-changer",
            json!({ "ruleset": "checkout-egress", "rule": 17, "port": 443 }),
        ),
        (
            "reviewed-infrastructure-change",
            "infra-applier",
            json!({ "stack": "search-cluster", "plan": "plan-1842" }),
        ),
        ("minimal", "operator", json!({})),
    ] {
        let mut request =
            json!({ "playbook": name, "ticket": "CHG-1842", "parameters": parameters });
        if name == "policy-drift-remediation" {
            request["phase"] = json!("plan");
        }
        play(&templates, prod, agent, request).await;
    }
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(golden) });
}

#[test]
fn a_template_is_filled_in_for_another_trust_domain() {
    let own = Own {
        id: "rotate-web",
        trust_domain: "stage.example.net",
        tenant: "acme",
        owner: "group:web",
        review_by: "2027-06-30",
    };
    for template in ALL {
        let playbook = marque_intent::Playbook::parse(&template.fill(&own)).unwrap();
        assert_eq!(playbook.id().as_str(), "rotate-web");
        assert_eq!(playbook.trust_domain().as_str(), "stage.example.net");
        assert_eq!((playbook.tenant(), playbook.owner()), ("acme", "group:web"));
        assert!(!template.fill(&own).contains("example.org"), "{}", template.name);
        let findings = lint(&template.fill(&own), Environment::Production, now());
        assert!(findings.iter().all(|one| one.severity == Severity::Warning), "{findings:?}");
    }
}

#[test]
fn a_case_that_comes_out_otherwise_says_how() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("crates/marque/templates/tests/minimal.toml"))
        .unwrap()
        .replace("\"cache.flush\"", "\"cache.drop\"")
        .replace("\"ticket_missing\"", "\"ticket_format\"");
    std::fs::write(dir.path().join("minimal.toml"), text).unwrap();
    let results = run_cases(dir.path(), &templates(), &policy("prod.example.org")).unwrap();
    let told: Vec<_> =
        results.iter().filter_map(CaseResult::finding).map(|one| one.to_string()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("minimal.toml:3: case `the operation") && told[0].contains("cache.drop")
    );
    assert!(told[1].contains("expected `ticket_format`, got `ticket_missing`"));
    std::fs::write(dir.path().join("broken.toml"), "[[case]]\nname = 1\n").unwrap();
    let findings = run_cases(dir.path(), &templates(), &policy("prod.example.org")).unwrap_err();
    assert!(findings[0].to_string().contains("broken.toml:"), "{findings:?}");
}
