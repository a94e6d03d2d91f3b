use std::fs;

use marque_spiffe::{Environment, TrustDomain};

use super::*;

/// The shipped folder of one trust domain.
fn shipped(trust_domain: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../trust-domains").join(trust_domain)
}

fn prod() -> (CedarDecisionPoint, PlaybookSet) {
    of("prod.example.org", Environment::Production)
}

fn of(trust_domain: &str, environment: Environment) -> (CedarDecisionPoint, PlaybookSet) {
    let name = TrustDomain::new(trust_domain).unwrap();
    let point = CedarDecisionPoint::load(&shipped(trust_domain).join("policy")).unwrap();
    let playbooks =
        PlaybookSet::load(&shipped(trust_domain).join("playbooks"), &name, environment).unwrap();
    (point, playbooks)
}

/// Runs one case file against the shipped production folder.
fn run_text(text: &str) -> Result<Vec<CaseResult>, Vec<PolicyFinding>> {
    let (point, playbooks) = prod();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tests")).unwrap();
    fs::write(dir.path().join("tests/one.toml"), text).unwrap();
    run_cases(dir.path(), &point, &playbooks)
}

const GOOD: &str = r#"
[[case]]
name = "good"
agent = "spiffe://prod.example.org/agent/cert-rotator"
request = { playbook = "ingress-cert-rotation", ticket = "CHG-1842", parameters = { service = "a", region = "eu-west-1" } }
expect = "ask"
rules = ["prod-ask-for-reviewed-playbooks"]
"#;

#[test]
fn every_shipped_case_passes() {
    for (trust_domain, environment, least) in [
        ("prod.example.org", Environment::Production, 7),
        ("dev.example.org", Environment::NonProduction, 4),
    ] {
        let (point, playbooks) = of(trust_domain, environment);
        let results = run_cases(&shipped(trust_domain).join("policy"), &point, &playbooks).unwrap();
        let failed: Vec<String> =
            results.iter().filter_map(CaseResult::finding).map(|f| f.to_string()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(results.len() >= least, "{trust_domain}: {}", results.len());
    }
}

#[test]
fn a_case_that_comes_out_otherwise_fails_with_its_line() {
    for (from, to, says) in [
        ("expect = \"ask\"", "expect = \"approve\"", "expected approve by prod-ask"),
        (
            "prod-ask-for-reviewed-playbooks",
            "another-rule",
            "got ask by prod-ask-for-reviewed-playbooks",
        ),
        (
            "expect = \"ask\"",
            "expect = \"ask\"\ncode = \"ticket_missing\"",
            "expected ask with `ticket_missing`",
        ),
        ("eu-west-1", "mars-1", "got deny with `params_schema_invalid`"),
    ] {
        let results = run_text(&GOOD.replace(from, to)).unwrap();
        let finding = results[0].finding().unwrap();
        assert!(!results[0].passed());
        assert_eq!(finding.line, Some(2));
        assert!(finding.message.contains(says), "{finding}");
    }
    assert!(run_text(GOOD).unwrap()[0].passed());
}

#[test]
fn a_case_that_cannot_be_read_is_a_finding_with_its_line() {
    for (from, to, line) in [
        ("expect = \"ask\"", "expect = \"perhaps\"", 6),
        ("expect = \"ask\"", "expect = \"ask\"\nwhy = \"x\"", 7),
        ("agent = \"spiffe://prod", "agent = \"http://prod", 4),
        ("name = \"good\"\n", "", 2),
    ] {
        let findings = run_text(&GOOD.replace(from, to)).unwrap_err();
        assert_eq!(findings[0].line, Some(line), "{to}: {findings:?}");
    }
}

#[test]
fn a_folder_without_cases_has_no_results() {
    let (point, playbooks) = prod();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run_cases(dir.path(), &point, &playbooks).unwrap(), []);
}
