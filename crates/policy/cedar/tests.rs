mod folder;

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_intent::{Evidence, Grant, GrantTerms, Intent, IntentRequest, Playbook, State};
use marque_spiffe::Environment;
use serde_json::json;

use super::*;
use crate::shipped::{self, PLAYBOOK};

fn policies_of(trust_domain: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../trust-domains")
        .join(trust_domain)
        .join("policy")
}

fn prod() -> CedarDecisionPoint {
    CedarDecisionPoint::load(&policies_of("prod.example.org")).unwrap()
}

fn dev() -> CedarDecisionPoint {
    CedarDecisionPoint::load(&policies_of("dev.example.org")).unwrap()
}

fn grant(playbook: &Playbook) -> Grant {
    shipped::grant(playbook, Evidence::default())
}

fn playbook(mode: &str) -> Playbook {
    Playbook::parse(&PLAYBOOK.replace("mode = \"always\"", &format!("mode = \"{mode}\""))).unwrap()
}

/// The ruling on the shipped production grant after one change.
fn rule(
    point: &CedarDecisionPoint,
    mode: &str,
    environment: Environment,
    change: impl FnOnce(&mut GrantTerms),
) -> Ruling {
    let playbook = playbook(mode);
    let mut terms = grant(&playbook).terms().clone();
    change(&mut terms);
    let grant = Grant::seal(terms).unwrap();
    point.decide(&question(&grant, &playbook, environment)).unwrap().ruling
}

/// A request for the grant.
fn question<'a>(
    grant: &'a Grant,
    playbook: &'a Playbook,
    environment: Environment,
) -> Question<'a> {
    let (evidence, now) = (&grant.evidence, Timestamp::UNIX_EPOCH);
    Question { grant, playbook, evidence, environment, act: Act::Request, now }
}

fn in_prod(change: impl FnOnce(&mut GrantTerms)) -> Ruling {
    rule(&prod(), "rule", Environment::Production, change)
}

fn denied(code: DenialCode, rule: &str) -> Ruling {
    Ruling::Deny { code, rules: vec![rule.to_owned()] }
}

/// A folder with the shipped schema and these policies.
fn folder(hard: &str, gate: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        policies_of("prod.example.org").join("schema.cedarschema"),
        dir.path().join("schema.cedarschema"),
    )
    .unwrap();
    fs::write(dir.path().join("hard.cedar"), hard).unwrap();
    fs::write(dir.path().join("gate.cedar"), gate).unwrap();
    dir
}

fn point(hard: &str, gate: &str) -> CedarDecisionPoint {
    CedarDecisionPoint::load(folder(hard, gate).path()).unwrap()
}

const AUTO: &str = "@id(\"auto\")\n@tier(\"auto\")\npermit (principal, action, resource);\n";

const ASK: &str = "@id(\"ask\")\n@tier(\"ask\")\npermit (principal, action, resource);\n";

#[test]
fn production_always_asks_a_person() {
    let ask = Ruling::AskApproval { rules: vec!["prod-ask-for-reviewed-playbooks".to_owned()] };
    for mode in ["auto", "rule", "always"] {
        assert_eq!(rule(&prod(), mode, Environment::Production, |_| {}), ask, "{mode}");
    }
}

#[test]
fn no_policy_of_production_is_automatic() {
    let point = prod();
    let mut gate = point.policies().filter(|policy| policy.part == PolicyPart::Gate);
    assert!(gate.all(|policy| policy.tier() == Some("ask")));
}

#[test]
fn m_32_the_environment_is_decided_by_the_trust_domain_and_not_by_a_name() {
    let ruling = rule(&prod(), "rule", Environment::NonProduction, |_| {});
    assert_eq!(ruling, denied(DenialCode::EnvironmentBoundary, "prod-only-production"));
    let ruling = rule(&dev(), "rule", Environment::Production, |_| {});
    assert_eq!(ruling, denied(DenialCode::EnvironmentBoundary, "dev-only-non-production"));
}

#[test]
fn an_agent_of_another_trust_domain_is_forbidden_whatever_else_holds() {
    let ruling = in_prod(|terms| {
        terms.agent = "spiffe://dev.example.org/agent/cert-rotator".parse().unwrap()
    });
    assert_eq!(ruling, denied(DenialCode::TrustDomainMismatch, "prod-own-agents-only"));
}

#[test]
fn m_34_production_needs_a_ticket() {
    let ruling = in_prod(|terms| terms.ticket = None);
    assert_eq!(ruling, denied(DenialCode::TicketMissing, "prod-needs-a-ticket"));
}

#[test]
fn m_36_risk_has_a_ceiling() {
    assert_eq!(
        in_prod(|terms| terms.risk = 90),
        denied(DenialCode::RiskTooHigh, "prod-risk-ceiling")
    );
    assert!(matches!(in_prod(|terms| terms.risk = 89), Ruling::AskApproval { .. }));
}

#[test]
fn m_63_production_tokens_and_uses_have_a_ceiling() {
    let over = denied(DenialCode::ExceedsPlaybookCeiling, "prod-tokens-are-short");
    assert_eq!(in_prod(|terms| terms.token_lifetime = std::time::Duration::from_secs(601)), over);
    assert_eq!(in_prod(|terms| terms.uses = 6), over);
    assert!(matches!(in_prod(|terms| terms.uses = 5), Ruling::AskApproval { .. }));
}

#[test]
fn what_nothing_permits_is_refused() {
    let ruling = in_prod(|terms| terms.approval = None);
    assert_eq!(ruling, Ruling::Deny { code: DenialCode::AgentNotAllowed, rules: Vec::new() });
    let ruling = rule(&point("", ""), "rule", Environment::Production, |_| {});
    assert_eq!(ruling, Ruling::Deny { code: DenialCode::AgentNotAllowed, rules: Vec::new() });
}

#[test]
fn outside_production_low_risk_goes_ahead_and_the_rest_asks() {
    let in_dev = |risk| rule(&dev(), "rule", Environment::NonProduction, |terms| terms.risk = risk);
    assert_eq!(in_dev(29), Ruling::Approve { rules: vec!["dev-auto-low-risk".to_owned()] });
    assert_eq!(in_dev(30), Ruling::AskApproval { rules: vec!["dev-ask-for-the-rest".to_owned()] });
    assert_eq!(in_dev(90), denied(DenialCode::RiskTooHigh, "dev-risk-ceiling"));
}

#[test]
fn a_playbook_that_always_wants_a_person_gets_one_though_policy_would_approve() {
    let point = point("", &format!("{AUTO}{ASK}"));
    let ruling = |mode| rule(&point, mode, Environment::NonProduction, |_| {});
    assert_eq!(ruling("auto"), Ruling::Approve { rules: vec!["auto".to_owned()] });
    assert_eq!(ruling("rule"), Ruling::Approve { rules: vec!["auto".to_owned()] });
    assert_eq!(ruling("always"), Ruling::AskApproval { rules: vec!["ask".to_owned()] });
    let only_auto = self::point("", AUTO);
    let ruling = rule(&only_auto, "always", Environment::NonProduction, |_| {});
    assert_eq!(ruling, Ruling::AskApproval { rules: vec!["auto".to_owned()] });
}

#[test]
fn a_forbid_overrides_every_permit_and_the_first_in_the_file_gives_the_code() {
    let hard = "@id(\"z-first\")\n@code(\"blackout\")\nforbid (principal, action, resource);\n\
                @id(\"a-second\")\n@code(\"risk_too_high\")\nforbid (principal, action, resource);\n";
    let ruling = rule(&point(hard, AUTO), "auto", Environment::NonProduction, |_| {});
    let rules = vec!["a-second".to_owned(), "z-first".to_owned()];
    assert_eq!(ruling, Ruling::Deny { code: DenialCode::Blackout, rules });
}

#[test]
fn the_questions_facts_reach_the_policies() {
    for (fact, holds) in [
        ("context.ticket == \"CHG-1842\"", true),
        ("context.scopes == [\"secrets.update\"]", true),
        ("context.audiences.contains(\"https://ingress.prod.example.org\")", true),
        ("context.resources == [\"k8s://eu-west-1/ns/ingress/secret/checkout-tls\"]", true),
        ("context.actions.containsAll([\"get\", \"patch\"])", true),
        ("context.detail_types == [\"k8s_object\"]", true),
        ("context.token_lifetime_seconds == 300 && context.max_duration_seconds == 600", true),
        ("context.uses == 1 && context.risk == 40 && context.approvals_needed == 1", true),
        ("context.now == datetime(\"1970-01-01\")", true),
        ("principal.path == \"/agent/cert-rotator\"", true),
        ("principal == Marque::Agent::\"spiffe://prod.example.org/agent/cert-rotator\"", true),
        ("resource == Marque::Playbook::\"ingress-cert-rotation\" && resource.version == 1", true),
        ("resource.data_classes.contains(\"tls_material\")", true),
        ("resource.owner == \"group:platform-sre\" && resource.tenant == \"example\"", true),
        ("resource.approval_mode == \"rule\"", true),
        ("context.scopes.contains(\"secrets.delete\")", false),
        ("context.now > datetime(\"1970-01-01T00:00:00Z\")", false),
    ] {
        let gate = format!(
            "@id(\"x\")\n@tier(\"auto\")\npermit (principal, action == Marque::Action::\"request\", resource)\n\
             when {{ {fact} }};"
        );
        let ruling = rule(&point("", &gate), "rule", Environment::Production, |_| {});
        assert_eq!(matches!(ruling, Ruling::Approve { .. }), holds, "{fact}");
    }
}

#[test]
fn a_policy_that_fails_to_evaluate_refuses_everything() {
    let hard = "@id(\"overflow\")\n@code(\"risk_too_high\")\nforbid (principal, action == Marque::Action::\"request\", \
                resource)\nwhen { context.risk + 9223372036854775807 > 0 };\n";
    let point = point(hard, AUTO);
    let playbook = playbook("rule");
    let grant = grant(&playbook);
    let question = question(&grant, &playbook, Environment::NonProduction);
    let error = point.decide(&question).unwrap_err();
    assert!(matches!(&error, PolicyError::Evaluation(why) if why.contains("overflow")), "{error}");
}

#[cfg(feature = "rego")]
#[test]
fn rego_of_the_folder_refuses_more_and_is_in_the_digest() {
    let rego = "package marque\nimport rego.v1\nallow if input.context.has_ticket\n";
    let load =
        |text: &str| CedarDecisionPoint::load(folder_with("", AUTO, "own.rego", text).path());
    let (playbook, some) = (playbook("rule"), load(rego).unwrap());
    let grant = grant(&playbook);
    let ruling = |point: &CedarDecisionPoint| {
        point.decide(&question(&grant, &playbook, Environment::NonProduction)).unwrap().ruling
    };
    assert!(matches!(ruling(&some), Ruling::Approve { .. }));
    let other = load(&rego.replace("if input", "if not input")).unwrap();
    assert_eq!(ruling(&other), denied(DenialCode::AgentNotAllowed, "rego:data.marque.allow"));
    assert_ne!(some.set_digest(), other.set_digest());
    assert_ne!(some.set_digest(), point("", AUTO).set_digest());
    let broken = load("package marque\n\nallow if {").unwrap_err();
    assert!(broken[0].file.ends_with("own.rego") && broken[0].line == Some(3), "{broken:?}");
    // Rego refuses what Cedar permits, and permits nothing.
    let nothing = folder_with("", "", "own.rego", "package marque\nallow := true\n");
    let nothing = CedarDecisionPoint::load(nothing.path()).unwrap();
    assert_eq!(ruling(&nothing), Ruling::refused(DenialCode::AgentNotAllowed));
}

#[test]
fn m_29_the_good_request_waits_for_an_approver_and_m_31_the_bad_one_is_nothing() {
    let playbook = playbook("always");
    let grant = grant(&playbook);
    let question = question(&grant, &playbook, Environment::Production);
    let ruling = prod().decide(&question).unwrap();
    let (intent, _) = Intent::open(grant, None, ruling, Timestamp::UNIX_EPOCH);
    assert_eq!((intent.state(), intent.approvals_missing()), (State::Pending, 1));

    let bad = json!({"access": "write", "target": "networking", "environment": "production", "minutes": 60});
    let denial = IntentRequest::from_object(bad.as_object().unwrap().clone()).unwrap_err();
    assert_eq!(denial.code(), DenialCode::RawPermissionsNotRequestable);
}

/// A folder with one more file.
fn folder_with(hard: &str, gate: &str, file: &str, text: &str) -> tempfile::TempDir {
    let dir = folder(hard, gate);
    let file = dir.path().join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
    dir
}

#[test]
fn a_playbook_has_policies_of_its_own_that_count_for_it_alone() {
    let forbid = "@id(\"own\")\n@code(\"purpose_mismatch\")\n@reason(\"not this one\")\n\
                  forbid (principal, action, resource);\n";
    let load = |playbook: &str| {
        let file = format!("playbooks/{playbook}/hard.cedar");
        CedarDecisionPoint::load(folder_with("", AUTO, &file, forbid).path()).unwrap()
    };
    let playbook = playbook("rule");
    let grant = grant(&playbook);
    let verdict = |point: &CedarDecisionPoint| {
        point.decide(&question(&grant, &playbook, Environment::Production)).unwrap()
    };
    let own = verdict(&load("ingress-cert-rotation"));
    assert_eq!(own.ruling, denied(DenialCode::PurposeMismatch, "own"));
    assert_eq!(own.reasons, ["not this one"]);
    assert!(matches!(verdict(&load("another")).ruling, Ruling::Approve { .. }));
    let taken = forbid.replace("\"own\"", "\"auto\"");
    let dir = folder_with("", AUTO, "playbooks/x/hard.cedar", &taken);
    assert!(CedarDecisionPoint::load(dir.path()).is_err());
    let dir = folder_with("", AUTO, "playbooks/x/readme.txt", "nothing");
    assert!(CedarDecisionPoint::load(dir.path()).is_err());
    assert_ne!(load("a").set_digest(), load("b").set_digest());
}

#[test]
fn an_approval_and_a_use_need_a_permit_only_where_one_is_about_them() {
    let auto = AUTO.replace("action,", "action == Marque::Action::\"request\",");
    let playbook = playbook("rule");
    let grant = grant(&playbook);
    let act = Act::Use { delegator: None, approvals: 1, uses_left: 1, by_policy: false };
    let ruling = |gate: &str| {
        let asked = Question { act, ..question(&grant, &playbook, Environment::Production) };
        point("", gate).decide(&asked).unwrap().ruling
    };
    assert!(matches!(ruling(&auto), Ruling::Approve { .. }));
    let gate = format!(
        "{auto}@id(\"use\")\npermit (principal, action == Marque::Action::\"use\", resource)\n\
         when {{ context.approvals > 1 }};\n"
    );
    assert_eq!(ruling(&gate), Ruling::refused(DenialCode::AgentNotAllowed));
    let Ruling::Approve { rules } = ruling(&gate.replace("> 1", "> 0")) else { panic!() };
    assert_eq!(rules, ["auto", "use"]);
}
