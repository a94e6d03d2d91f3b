use jiff::Timestamp;
use marque_intent::{Evidence, Playbook};
use marque_spiffe::Environment;

use super::*;
use crate::decision::{Act, Question};
use crate::shipped::{self, PLAYBOOK};

fn load(text: &str) -> Result<Option<RegoPolicies>, Vec<PolicyFinding>> {
    RegoPolicies::parse(&[("policy/own.rego".into(), text.to_owned())])
}

fn veto(text: &str) -> Result<Option<Veto>, PolicyError> {
    let playbook = Playbook::parse(PLAYBOOK).unwrap();
    let grant = shipped::grant(&playbook, Evidence::default());
    let question = Question {
        grant: &grant,
        playbook: &playbook,
        evidence: &grant.evidence,
        environment: Environment::Production,
        act: Act::Request,
        now: Timestamp::UNIX_EPOCH,
    };
    load(text).unwrap().unwrap().veto(&question.to_json())
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
fn a_rule_that_cannot_be_evaluated_is_no_answer_whatever_the_others_say() {
    for broken in [
        // Two values of one rule, both of which hold.
        "deny := {\"one\"} if input.context.risk < 50\ndeny := {\"two\"} if input.action.name == \"request\"",
        "deny contains \"late\" if to_number(input.context.environment) > 3",
        "deny contains \"x\" if helper\nhelper := 1 if input.context.risk < 50\nhelper := 2 if input.context.risk < 51",
    ] {
        let answer = veto(&format!("{HEAD}allow := true\n{broken}\n"));
        assert!(matches!(answer, Err(PolicyError::Evaluation(_))), "{broken}: {answer:?}");
    }
}

#[test]
fn a_question_has_its_time() {
    let all = "numbers.range(1, 2000)";
    let text = format!(
        "{HEAD}allow := true\ndeny contains \"x\" if {{\n  input.context.risk\n  some a in {all}\n  some b in {all}\n  \
         some c in {all}\n  a + b + c < 0\n}}\n"
    );
    let began = std::time::Instant::now();
    let answer = veto(&text);
    assert!(matches!(answer, Err(PolicyError::Evaluation(_))), "{answer:?}");
    // Well below the second after which people and agents wonder.
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_with_its_line() {
    let told = |text: &str| load(text).unwrap_err()[0].to_string();
    assert!(told("package other\nallow := true\n").contains("own.rego: is of the package"));
    let broken = told("package marque\n\nallow if {\n  1 ==\n}\n");
    assert!(broken.starts_with("policy/own.rego:5: ") && !broken.contains('\n'), "{broken}");
    assert!(told("package marque\ndeny contains \"x\" if true\n").contains("no file has a rule"));
    let conflict = told(&format!("{HEAD}allow := true\nx := 1\nx := 2\n"));
    assert!(conflict.starts_with("policy/own.rego:5: "), "{conflict}");
    assert!(RegoPolicies::parse(&[]).unwrap().is_none());
}
