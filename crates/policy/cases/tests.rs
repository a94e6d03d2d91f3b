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

/// The examples, each with the policies that its cases decide.
fn example(name: &str) -> (CedarDecisionPoint, Vec<CaseResult>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy").join(name);
    let policy = path.join("policy");
    let point = CedarDecisionPoint::load(&policy).unwrap();
    let domain = TrustDomain::new("dev.example.org").unwrap();
    let playbooks =
        PlaybookSet::load(&path.join("playbooks"), &domain, Environment::NonProduction).unwrap();
    let results = run_cases(&policy, &point, &playbooks).unwrap();
    (point, results)
}

#[track_caller]
fn passes(name: &str, codes: &[&str]) {
    let (point, results) = example(name);
    let failed: Vec<String> =
        results.iter().filter_map(CaseResult::finding).map(|found| found.to_string()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let text: String = files(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples/policy")
            .join(name)
            .join("policy/tests"),
    )
    .unwrap()
    .iter()
    .map(|file| fs::read_to_string(file).unwrap())
    .collect();
    for code in codes {
        assert!(text.contains(&format!("code = \"{code}\"")), "{name}: no case for `{code}`");
    }
    let decided: BTreeSet<&String> = results.iter().flat_map(|case| &case.rules).collect();
    let never: Vec<&str> = point
        .policies()
        .filter(|policy| !decided.contains(&policy.id))
        .map(|policy| policy.id.as_str())
        .filter(|id| !["own-agents-only", "own-tenant"].contains(id))
        .collect();
    assert!(never.is_empty(), "{name}: {never:?}");
}

#[test]
fn m_82_roles_decide_by_groups() {
    passes("rbac", &["delegator_not_allowed", "approver_not_eligible"]);
}

#[test]
fn m_82_m_15_m_88_m_89_attributes_decide_by_workflow_class_purpose_and_time() {
    passes(
        "abac",
        &["workflow_mismatch", "data_class_denied", "purpose_mismatch", "posture_changed"],
    );
}

#[test]
fn m_82_relations_decide_by_owner_and_assigned_manager() {
    passes("rebac", &["agent_not_allowed", "approver_not_eligible"]);
}

#[test]
fn m_89_not_this_tenant() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy/abac");
    let point = CedarDecisionPoint::load(&path.join("policy")).unwrap();
    let text = fs::read_to_string(path.join("playbooks/renewal-review.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let other = text.replacen("tenant = \"example\"", "tenant = \"other\"", 1);
    fs::create_dir_all(dir.path().join("playbooks")).unwrap();
    fs::create_dir_all(dir.path().join("tests")).unwrap();
    fs::write(dir.path().join("playbooks/renewal-review.toml"), other).unwrap();
    let case = "[[case]]\nname = \"x\"\nagent = \"spiffe://dev.example.org/agent/renewal\"\n\
                request = { playbook = \"renewal-review\", parameters = { customer_id = \"cust_1\" } }\n\
                expect = \"deny\"\ncode = \"tenant_mismatch\"\nrules = [\"own-tenant\"]\n";
    fs::write(dir.path().join("tests/one.toml"), case).unwrap();
    let domain = TrustDomain::new("dev.example.org").unwrap();
    let playbooks =
        PlaybookSet::load(&dir.path().join("playbooks"), &domain, Environment::NonProduction)
            .unwrap();
    let results = run_cases(dir.path(), &point, &playbooks).unwrap();
    assert!(results[0].passed(), "{results:?}");
}
