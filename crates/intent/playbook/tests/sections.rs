//! Delivery, phases, logging and what the lint says beside errors.

use serde_json::json;

use super::*;
use crate::fixtures::{
    approval, at, circumstances, good_request, operator, request, requester, start,
};
use crate::{
    Denial, DenialCode, Digest, Intent, LogField, Outcome, Requester, Ruling, Use, resolve,
};

const STAGED: &str = "
[[staged]]
name = \"prepare\"
scopes = [\"secrets.update\"]
actions = [\"get\"]

[[staged]]
name = \"execute\"
needs = [\"prepare\"]
within = \"1h\"
scopes = [\"secrets.update\"]
actions = [\"get\", \"patch\"]
approval = \"always\"
";

fn staged() -> Playbook {
    let text = PLAYBOOK.replace("mode = \"always\"", "mode = \"rule\"") + STAGED;
    Playbook::parse(&text).unwrap()
}

fn asked(phase: Option<&str>) -> crate::IntentRequest {
    let mut members = good_request();
    if let Some(phase) = phase {
        members["phase"] = json!(phase);
    }
    request(&members)
}

fn grant_of(playbook: &Playbook, phase: Option<&str>) -> Result<crate::Grant, Denial> {
    let asked = asked(phase);
    let playbook = playbook.in_phase(asked.phase())?;
    resolve(playbook, &asked, &requester(AGENT), circumstances())
}

/// The intent after one use, ninety seconds in.
fn used(intent: &Intent) -> Result<Intent, Denial> {
    let wanted = Use {
        agent: &AGENT.parse().unwrap(),
        grant_digest: intent.grant().digest(),
        token_id: "t",
        token_expires_at: at(120),
        facts: crate::TokenFacts::default(),
        epoch: 0,
    };
    intent.redeem(&wanted, at(90)).map(|(next, _)| next)
}

#[test]
fn every_kind_of_delivery_is_read_and_no_other() {
    for delivery in ["token", "gateway_only", "certificate", "cloud_session"] {
        let text = PLAYBOOK.replace("delivery = \"token\"", &format!("delivery = \"{delivery}\""));
        assert_eq!(Playbook::parse(&text).unwrap().delivery().as_str(), delivery);
    }
    refused("delivery = \"token\"", "delivery = \"carrier_pigeon\"", "is `token`");
}

#[test]
fn m_54_each_phase_is_a_grant_of_its_own_with_what_it_names() {
    let playbook = staged();
    let prepare = grant_of(&playbook, Some("prepare")).unwrap();
    let execute = grant_of(&playbook, Some("execute")).unwrap();
    let actions = |grant: &crate::Grant| {
        grant.authorization_details[0].actions.iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(actions(&prepare), ["get"]);
    assert_eq!(actions(&execute), ["get", "patch"]);
    assert_eq!(prepare.conditions.provisions.phase.as_ref().unwrap().as_str(), "prepare");
    assert_ne!(prepare.digest(), execute.digest());
    let mode =
        |name: &str| playbook.in_phase(Some(&name.parse().unwrap())).unwrap().approval_mode();
    assert_eq!(mode("prepare"), ApprovalMode::Rule);
    assert_eq!(mode("execute"), ApprovalMode::Always);
}

#[test]
fn m_45_what_prepares_cannot_execute() {
    let prepare = grant_of(&staged(), Some("prepare")).unwrap();
    let execute = grant_of(&staged(), Some("execute")).unwrap();
    assert!(crate::Rights::of(&execute).covers(&crate::Rights::of(&prepare)).is_ok());
    assert!(crate::Rights::of(&prepare).covers(&crate::Rights::of(&execute)).is_err());
}

#[test]
fn a_staged_playbook_is_asked_for_by_phase_and_others_are_not() {
    let code = |playbook: &Playbook, phase| grant_of(playbook, phase).unwrap_err().code();
    assert_eq!(code(&staged(), None), DenialCode::PhaseOrder);
    assert_eq!(code(&staged(), Some("other")), DenialCode::PhaseOrder);
    let plain = Playbook::parse(PLAYBOOK).unwrap();
    assert_eq!(code(&plain, Some("prepare")), DenialCode::PhaseOrder);
    // Whoever forgets to choose the phase gets no grant of all of them.
    let whole = resolve(&staged(), &asked(None), &requester(AGENT), circumstances());
    assert_eq!(whole.unwrap_err().code(), DenialCode::PhaseOrder);
    let other = resolve(
        staged().in_phase(Some(&"prepare".parse().unwrap())).unwrap(),
        &asked(Some("execute")),
        &requester(AGENT),
        circumstances(),
    );
    assert_eq!(other.unwrap_err().code(), DenialCode::PhaseOrder);
}

#[test]
fn m_54_a_phase_comes_after_what_it_needs_and_not_too_late() {
    let playbook = staged();
    let open = |outcome: Option<Outcome>| {
        let grant = grant_of(&playbook, Some("prepare")).unwrap();
        let ruling = Ruling::Approve { rules: vec!["auto".to_owned()] };
        let intent = used(&Intent::open(grant, None, ruling, start()).0).unwrap();
        match outcome {
            Some(outcome) => intent.complete(&AGENT.parse().unwrap(), outcome, at(100)).unwrap().0,
            None => intent,
        }
    };
    let order = |earlier: &[Intent], request: &crate::IntentRequest, now| {
        let execute = playbook.in_phase(request.phase()).unwrap();
        let outcome = execute.phase().unwrap().check_order(execute, request, earlier, now);
        outcome.map_err(|denial| denial.code())
    };
    let execute = asked(Some("execute"));
    let done = open(Some(Outcome::Success));
    assert_eq!(order(std::slice::from_ref(&done), &execute, at(120)), Ok(()));
    assert_eq!(order(std::slice::from_ref(&done), &execute, at(100 + 3600)), Ok(()));
    let refused = Err(DenialCode::PhaseOrder);
    assert_eq!(order(std::slice::from_ref(&done), &execute, at(101 + 3600)), refused);
    assert_eq!(order(&[], &execute, at(120)), refused);
    assert_eq!(order(&[open(None)], &execute, at(120)), refused);
    for outcome in [Outcome::Failure, Outcome::Partial, Outcome::Unknown] {
        assert_eq!(order(&[open(Some(outcome))], &execute, at(120)), refused);
    }
    for (member, value) in [("region", "us-east-1"), ("service", "search")] {
        let mut members = good_request();
        members["phase"] = json!("execute");
        members["parameters"][member] = json!(value);
        assert_eq!(
            order(std::slice::from_ref(&done), &request(&members), at(120)),
            refused,
            "{member}"
        );
    }
    let mut members = good_request();
    members["phase"] = json!("execute");
    members["ticket"] = json!("CHG-1843");
    assert_eq!(order(&[done], &request(&members), at(120)), refused);
}

#[test]
fn a_phase_waits_for_what_the_post_check_of_the_one_before_says() {
    let playbook = staged();
    let mut terms = grant_of(&playbook, Some("prepare")).unwrap().terms().clone();
    let url = "https://verify.example.org/prepared";
    terms.conditions.provisions.post_check = Some(url.parse().unwrap());
    let ruling = Ruling::Approve { rules: vec!["auto".to_owned()] };
    let grant = crate::Grant::seal(terms).unwrap();
    let intent = used(&Intent::open(grant, None, ruling, start()).0).unwrap();
    let agent = AGENT.parse().unwrap();
    let reported = intent.complete(&agent, Outcome::Success, at(100)).unwrap().0;
    let request = asked(Some("execute"));
    let execute = playbook.in_phase(request.phase()).unwrap();
    let order = |intent: &Intent| {
        let earlier = std::slice::from_ref(intent);
        execute.phase().unwrap().check_order(execute, &request, earlier, at(120))
    };
    let denial = order(&reported).unwrap_err();
    let wait = denial.retry().after;
    assert_eq!(
        (denial.code(), wait),
        (DenialCode::UpstreamUnreachable, Some(std::time::Duration::from_secs(5)))
    );
    let said = |said| reported.post_checked(said, at(110)).unwrap().0;
    assert_eq!(order(&said(crate::PostCheck::Verified)), Ok(()));
    for no in [crate::PostCheck::Failed, crate::PostCheck::Unreachable] {
        assert_eq!(order(&said(no)).unwrap_err().code(), DenialCode::PhaseOrder);
    }
}

#[test]
fn phases_have_their_order_their_bounds_and_nothing_of_their_own() {
    let wrong = |from: &str, to: &str, because: &str| {
        let text = PLAYBOOK.replace("mode = \"always\"", "mode = \"rule\"") + STAGED;
        assert!(text.contains(from), "{from}");
        let found = errors(&text.replacen(from, to, 1));
        assert!(found.iter().any(|error| error.contains(because)), "`{to}`: {found:?}");
    };
    wrong("needs = [\"prepare\"]", "needs = [\"execute\"]", "no phase that stands before");
    wrong("needs = [\"prepare\"]\n", "", "both are there or neither");
    wrong("within = \"1h\"\n", "", "both are there or neither");
    wrong("within = \"1h\"", "within = \"25h\"", "is 1s to");
    wrong("name = \"execute\"", "name = \"prepare\"", "listed twice");
    wrong("name = \"execute\"", "name = \"Execute\"", "a phase's name");
    wrong("approval = \"always\"", "approval = \"auto\"", "is weaker");
    wrong(
        "actions = [\"get\", \"patch\"]\napproval",
        "actions = [\"delete\"]\napproval",
        "no action",
    );
    wrong(
        "actions = [\"get\", \"patch\"]\napproval",
        "actions = []\napproval",
        "no phase has the action",
    );
    wrong(
        "approval = \"always\"",
        "limits = { max_calls = 1 }\ntools = [\"a.b\"]",
        "none of `tools`",
    );
    wrong(
        "scopes = [\"secrets.update\"]\nactions = [\"get\"]",
        "scopes = [\"secrets.delete\"]\nactions = [\"get\"]",
        "none of `permits.0.scopes`",
    );
    let one = STAGED.split("[[staged]]").take(2).collect::<Vec<_>>().join("[[staged]]");
    assert!(errors(&(PLAYBOOK.to_owned() + &one)).iter().any(|error| error.contains("2 to 8")));
}

#[test]
fn what_the_log_demands_can_be_filled_or_the_playbook_is_refused() {
    let with = |section: &str| format!("{PLAYBOOK}\n[logging]\n{section}\n");
    let all = "require = [\"approver\", \"justification\", \"purpose\", \"session\", \"sponsor\", \"target\", \"task\", \"ticket\"]\nprompt = \"hash\"";
    assert_eq!(Playbook::parse(&with(all)).unwrap().logging().require.len(), 8);
    let wrong = |section: &str, because: &str| {
        let found = errors(&with(section));
        assert!(found.iter().any(|error| error.contains(because)), "{section}: {found:?}");
    };
    wrong("require = [\"delegator\"]\nprompt = \"none\"", "who.delegators.required");
    wrong("require = [\"weather\"]\nprompt = \"none\"", "weather");
    wrong("require = [\"task\", \"task\"]\nprompt = \"none\"", "listed twice");
    let sealed = Playbook::parse(&with("require = []\nprompt = \"sealed\"")).unwrap();
    assert_eq!(sealed.logging().prompt, crate::PromptKept::Sealed);
    wrong("require = []\nprompt = \"all\"", "is `none`, `hash` or `sealed`");
    let rule = with("require = [\"approver\"]\nprompt = \"none\"")
        .replace("mode = \"always\"", "mode = \"rule\"");
    assert!(errors(&rule)[0].contains("`always`"));
    let optional = with("require = [\"ticket\"]\nprompt = \"none\"").replacen(
        "required = true",
        "required = false",
        1,
    );
    assert!(errors(&optional)[0].contains("change.ticket.required"));
}

fn demanding(field: &str) -> Playbook {
    let section = format!("\n[logging]\nrequire = [\"{field}\"]\nprompt = \"hash\"\n");
    Playbook::parse(&(PLAYBOOK.to_owned() + &section)).unwrap()
}

#[test]
fn a_request_that_leaves_the_log_without_what_it_demands_is_refused() {
    let code = |field: &str, members: &serde_json::Value, who: &Requester| {
        resolve(&demanding(field), &request(members), who, circumstances())
            .map(|_| ())
            .map_err(|denial| denial.code())
    };
    let mut silent = good_request();
    silent.as_object_mut().unwrap().remove("justification");
    let nobody = requester(AGENT);
    assert_eq!(code("justification", &silent, &nobody), Err(DenialCode::InvalidRequest));
    assert_eq!(code("justification", &good_request(), &nobody), Ok(()));
    assert_eq!(code("task", &good_request(), &nobody), Err(DenialCode::WorkflowMismatch));
    assert_eq!(code("session", &good_request(), &nobody), Err(DenialCode::WorkflowMismatch));
    assert_eq!(code("sponsor", &good_request(), &nobody), Err(DenialCode::SponsorMissing));
    let sponsored = Requester { owner: Some("group:platform-sre".to_owned()), ..nobody };
    assert_eq!(code("sponsor", &good_request(), &sponsored), Ok(()));
}

#[test]
fn a_grant_whose_approver_must_be_known_is_used_only_with_one() {
    let playbook = demanding("approver");
    let grant = resolve(&playbook, &request(&good_request()), &requester(AGENT), circumstances());
    let open = |ruling| Intent::open(grant.clone().unwrap(), None, ruling, start()).0;
    let redeem = |intent: &Intent| used(intent).map(|_| ()).map_err(|denial| denial.code());
    let by_policy = open(Ruling::Approve { rules: vec!["auto".to_owned()] });
    assert_eq!(redeem(&by_policy), Err(DenialCode::ApprovalRequired));
    let pending = open(crate::fixtures::ask());
    let (approved, _) = pending.approve(&approval(&pending, 1000, at(60)), at(60)).unwrap();
    assert_eq!(redeem(&approved), Ok(()));
    assert_eq!(approved.approvals()[0].approver(), &operator(1000));
}

#[test]
fn the_log_keeps_the_digest_of_a_justification_and_never_its_text() {
    let said = "the certificate ends in six days";
    for (field, kept) in [("target", true), ("", false)] {
        let playbook =
            if field.is_empty() { Playbook::parse(PLAYBOOK).unwrap() } else { demanding(field) };
        let request = request(&good_request());
        let grant = resolve(&playbook, &request, &requester(AGENT), circumstances()).unwrap();
        assert_eq!(grant.conditions.provisions.logging.require.contains(&LogField::Target), kept);
        let said_so = request.justification().cloned();
        let (_, events) = Intent::open(grant, said_so, crate::fixtures::ask(), start());
        let told = serde_json::to_string(&events).unwrap();
        assert!(!told.contains(said), "{told}");
        let digest = Digest::of(said.as_bytes()).to_string();
        assert_eq!(told.contains(&digest), kept, "{told}");
    }
}

fn warnings(text: &str, environment: Environment, now: &str) -> Vec<String> {
    let found = lint(text, environment, now.parse().unwrap());
    assert!(found.iter().all(|finding| finding.severity == Severity::Warning), "{found:?}");
    found.into_iter().map(|finding| format!("{:?}: {}", finding.line, finding.message)).collect()
}

#[test]
fn the_lint_says_what_somebody_should_look_at() {
    let now = "2026-11-01T00:00:00Z";
    let production = Environment::Production;
    assert_eq!(warnings(PLAYBOOK, production, now), Vec::<String>::new());
    for (from, to, at, because) in [
        ("status = \"active\"", "status = \"deprecated\"", "status", "agents are told"),
        ("delivery = \"token\"", "delivery = \"certificate\"", "delivery", "gives nothing"),
        ("required = true\npattern", "required = false\npattern", "[change.ticket]", "usually are"),
        (
            "groups = [\"operators\", \"platform-sre\"]",
            "groups = []",
            "[[approval.levels]]",
            "any operator",
        ),
        (
            "description = \"The service behind the ingress\"\n",
            "",
            "[parameters.properties",
            "`service` has no",
        ),
    ] {
        let text = PLAYBOOK.replacen(from, to, 1);
        let line = text.lines().position(|line| line.starts_with(at)).unwrap() + 1;
        let found = warnings(&text, production, now);
        assert_eq!(found.len(), 1, "{to}: {found:?}");
        assert!(found[0].contains(because), "{to}: {found:?}");
        assert!(found[0].starts_with(&format!("Some({line})")), "{to}: {found:?}");
    }
    for (from, name) in [
        ("purpose = \"rotate-ingress-certificate\"\n", "purpose"),
        ("data_classes = [\"infra_metadata\", \"tls_material\"]\n", "data_classes"),
    ] {
        let found = warnings(&PLAYBOOK.replace(from, ""), production, now);
        assert!(found[0].contains(name), "{found:?}");
    }
}

#[test]
fn m_48_a_review_that_is_due_or_overdue_is_told() {
    let told = |now: &str| warnings(PLAYBOOK, Environment::Production, now).join(";");
    assert_eq!(told("2027-01-29T00:00:00Z"), "");
    assert!(told("2027-01-31T00:00:00Z").contains("is due in 29 days"));
    assert!(told("2027-03-01T23:59:59Z").contains("is due in 0 days"));
    assert!(told("2027-03-02T00:00:00Z").contains("was due on 2027-03-01"));
}

#[test]
fn an_error_of_the_parser_is_an_error_of_the_lint_with_its_line() {
    let text = PLAYBOOK.replace("uses = 1", "uses = 0");
    let found = lint(&text, Environment::Production, start());
    assert_eq!((found[0].severity, found[0].line), (Severity::Error, Some(line_of("uses = 1"))));
}

#[test]
fn m_47_what_cannot_be_undone_is_approved_by_a_person_in_production() {
    let text = PLAYBOOK.replace("mode = \"always\"", "mode = \"rule\"")
        + "\n[[tools]]\nserver = \"k8s\"\nname = \"secrets.patch\"\ndestructive = true\nmax_calls = 1\n\n[limits]\nmax_calls = 1\nmax_destructive = 1\n";
    let found = lint(&text, Environment::Production, start());
    assert!(found[0].message.contains("cannot be undone"), "{found:?}");
    assert_eq!(found[0].severity, Severity::Error);
    let found = lint(&text, Environment::NonProduction, start());
    assert!(found.iter().all(|finding| finding.severity == Severity::Warning), "{found:?}");
    let files = [("ingress-cert-rotation.toml", text.as_str())];
    let findings = load(&scratch("destructive-prod", &files), Environment::Production);
    assert!(findings.unwrap_err()[0].contains("cannot be undone"));
}

#[test]
fn m_55_no_phase_is_auto_in_production() {
    let text = PLAYBOOK.replace("mode = \"always\"", "mode = \"auto\"")
        + &STAGED.replace("approval = \"always\"", "approval = \"rule\"");
    let files = [("ingress-cert-rotation.toml", text.as_str())];
    let findings = load(&scratch("auto-phase", &files), Environment::Production).unwrap_err();
    assert!(findings.iter().any(|found| found.contains("in phase `prepare`")), "{findings:?}");
}

#[test]
fn a_playbook_whose_review_is_overdue_is_refused_where_the_folder_says_so() {
    let dir = scratch("overdue", &[("ingress-cert-rotation.toml", PLAYBOOK)]);
    let set = load(&dir, Environment::Production).unwrap();
    let (due, over) =
        ("2027-03-01T23:59:59Z".parse().unwrap(), "2027-03-02T00:00:00Z".parse().unwrap());
    let playbook = Playbook::parse(PLAYBOOK).unwrap();
    assert_eq!(set.check_review(&playbook, over).map_err(|denial| denial.code()), Ok(()));
    let set = set.with_overdue(Overdue::Refuse);
    assert_eq!(set.check_review(&playbook, due).map_err(|denial| denial.code()), Ok(()));
    let refused = set.check_review(&playbook, over).unwrap_err();
    assert_eq!(refused.code(), DenialCode::PlaybookVersionStale);
}

#[test]
fn a_deprecated_playbook_is_given_with_a_warning() {
    let text = PLAYBOOK.replace("status = \"active\"", "status = \"deprecated\"");
    let summary = Playbook::parse(&text).unwrap().summary();
    assert!(summary.warning.unwrap().contains("is deprecated"));
    assert_eq!(Playbook::parse(PLAYBOOK).unwrap().summary().warning, None);
}
