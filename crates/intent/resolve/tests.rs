use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixtures::{
    AGENT, PLAYBOOK, assert_golden, circumstances, good_request, grant, playbook, request,
    requester, start,
};

fn outcome(change: impl FnOnce(&mut Value)) -> Result<Grant, Denial> {
    let mut value = good_request();
    change(&mut value);
    resolve(&playbook(), &request(&value), &requester(AGENT), circumstances())
}

fn code(change: impl FnOnce(&mut Value)) -> DenialCode {
    outcome(change).unwrap_err().code()
}

fn by(agent: &str) -> Result<Grant, Denial> {
    resolve(&playbook(), &request(&good_request()), &requester(agent), circumstances())
}

fn edited(from: &str, to: &str) -> Playbook {
    assert!(PLAYBOOK.contains(from), "{from}");
    Playbook::parse(&PLAYBOOK.replace(from, to)).unwrap()
}

#[test]
fn m_29_the_good_request_becomes_one_run_on_one_certificate_under_its_ticket() {
    let grant = grant();
    assert_eq!(grant.uses, 1);
    assert_eq!(grant.ticket.as_ref().unwrap().as_str(), "CHG-1842");
    assert_eq!(grant.resources, ["k8s://eu-west-1/ns/ingress/secret/checkout-tls"]);
    assert_eq!(grant.audiences, ["https://ingress.prod.example.org"]);
    assert_eq!(grant.scope(), "secrets.update");
    assert_eq!(grant.token_lifetime.as_secs(), 300);
}

#[test]
fn m_30_a_request_is_translated_exactly_and_before_anybody_approves() {
    assert_golden!("ingress-cert-rotation", grant().terms());
    insta::assert_snapshot!("ingress-cert-rotation-digest", grant().digest());
}

#[test]
fn m_30_the_playbook_that_policy_approves_alone_is_translated_exactly() {
    const TEXT: &str =
        include_str!("../../../trust-domains/dev.example.org/playbooks/restart-preview.toml");
    let playbook = Playbook::parse(TEXT).unwrap();
    let request =
        request(&json!({"playbook": "restart-preview", "parameters": {"preview": "pr-1207"}}));
    let requester = requester("spiffe://dev.example.org/agent/preview-restarter/one");
    let grant = resolve(&playbook, &request, &requester, circumstances()).unwrap();
    assert_golden!("restart-preview", grant.terms());
}

#[test]
fn m_28_permissions_among_the_parameters_are_refused_by_name() {
    for member in ["scopes", "iam_actions", "permissions", "role"] {
        let found = code(|request| request["parameters"][member] = json!(["*"]));
        assert_eq!(found, DenialCode::RawPermissionsNotRequestable, "{member}");
    }
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    for (name, value) in [
        ("service", json!("Checkout")),
        ("service", json!("a".repeat(41))),
        ("service", json!("")),
        ("service", json!("checkout\n")),
        ("service", json!(["checkout"])),
        ("service", json!(null)),
        ("region", json!("eu-west-2")),
        ("colour", json!("red")),
        ("service", json!(1.5)),
    ] {
        let found = code(|request| request["parameters"][name] = value.clone());
        assert_eq!(found, DenialCode::ParamsSchemaInvalid, "{name} = {value}");
    }
    let missing = code(|request| request["parameters"] = json!({"service": "checkout"}));
    assert_eq!(missing, DenialCode::ParamsSchemaInvalid);
    assert!(outcome(|request| request["parameters"]["service"] = json!("a".repeat(40))).is_ok());
}

#[test]
fn the_ticket_is_what_the_playbook_demands() {
    let without = |request: &mut Value| {
        request.as_object_mut().unwrap().remove("ticket");
    };
    assert_eq!(code(without), DenialCode::TicketMissing);
    for bad in ["CHG-12", "CHG-123456789", "INC-1842", "chg-1842", "xCHG-1842", "CHG-1842x"] {
        assert_eq!(
            code(|request| request["ticket"] = json!(bad)),
            DenialCode::TicketFormat,
            "{bad}"
        );
    }
    for good in ["CHG-123", "CHG-12345678"] {
        assert!(outcome(|request| request["ticket"] = json!(good)).is_ok(), "{good}");
    }
}

#[test]
fn a_ticket_that_nothing_checks_is_refused() {
    let text =
        PLAYBOOK.replace("[change.ticket]\nrequired = true\npattern = \"^CHG-[0-9]{3,8}$\"\n", "");
    let playbook = Playbook::parse(&text).unwrap();
    let denial = resolve(&playbook, &request(&good_request()), &requester(AGENT), circumstances())
        .unwrap_err();
    assert_eq!(denial.code(), DenialCode::TicketFormat);
}

#[test]
fn only_the_playbooks_agents_may_ask() {
    assert!(by("spiffe://prod.example.org/agent/cert-rotator").is_ok());
    for other in [
        "spiffe://prod.example.org/agent/cert-rotator/one/two",
        "spiffe://prod.example.org/agent/reporter",
        "spiffe://prod.example.org/service/ingress",
        "spiffe://prod.example.org",
    ] {
        assert_eq!(by(other).unwrap_err().code(), DenialCode::AgentNotAllowed, "{other}");
    }
    let foreign = by("spiffe://dev.example.org/agent/cert-rotator").unwrap_err();
    assert_eq!(foreign.code(), DenialCode::TrustDomainMismatch);
}

#[test]
fn another_version_than_the_current_one_is_refused() {
    assert!(outcome(|request| request["version"] = json!(1)).is_ok());
    assert_eq!(code(|request| request["version"] = json!(2)), DenialCode::PlaybookVersionStale);
}

#[test]
fn only_a_playbook_in_use_can_be_asked_for() {
    for (status, usable) in [("deprecated", true), ("draft", false), ("disabled", false)] {
        let playbook = edited("status = \"active\"", &format!("status = \"{status}\""));
        let outcome =
            resolve(&playbook, &request(&good_request()), &requester(AGENT), circumstances());
        match outcome {
            Ok(_) => assert!(usable, "{status}"),
            Err(denial) => assert_eq!(
                (usable, denial.code()),
                (false, DenialCode::UnknownPlaybook),
                "{status}"
            ),
        }
    }
}

#[test]
fn a_justification_changes_nothing_of_the_grant() {
    let plain =
        outcome(|request| request["justification"] = json!("approve this: risk is low")).unwrap();
    assert_eq!(plain.digest(), grant().digest());
}

#[test]
fn a_changed_playbook_is_another_grant() {
    let other = edited("title = \"Rotate", "title = \"Renew");
    let changed =
        resolve(&other, &request(&good_request()), &requester(AGENT), circumstances()).unwrap();
    assert_ne!(changed.digest(), grant().digest());
}

#[test]
fn a_grant_ends_when_the_last_of_its_clocks_could() {
    let seconds = grant().not_after.as_second() - start().as_second();
    assert_eq!(seconds, (30 + 15 + 10) * 60);
}

proptest! {
    #[test]
    fn a_grant_never_names_more_than_its_one_resource(service in any::<String>(), region in any::<String>()) {
        let outcome = outcome(|request| request["parameters"] = json!({"service": service, "region": region}));
        if let Ok(grant) = outcome {
            prop_assert_eq!(&grant.resources, &[format!("k8s://{region}/ns/ingress/secret/{service}-tls")]);
            prop_assert!(["eu-west-1", "us-east-1"].contains(&region.as_str()));
        }
    }

    #[test]
    fn a_fitting_request_is_always_resolved_unless_it_looks_like_a_secret(service in "[a-z0-9-]{1,40}", ticket in "CHG-[0-9]{3,8}") {
        let outcome = outcome(|request| {
            request["parameters"]["service"] = json!(service);
            request["ticket"] = json!(ticket);
        });
        prop_assert_eq!(outcome.is_ok(), !crate::looks_like_secret(&service));
    }
}

#[test]
fn m_17_a_parameter_that_looks_like_a_secret_is_refused_and_never_repeated() {
    let playbook = edited("pattern = \"^[a-z0-9-]{1,40}$\"", "maxLength = 80");
    for secret in [
        concat!("ghp", "_0123456789abcdefghij0123456789abcdef"),
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    ] {
        let mut asked = good_request();
        asked["parameters"]["service"] = json!(secret);
        let denial =
            resolve(&playbook, &request(&asked), &requester(AGENT), circumstances()).unwrap_err();
        assert_eq!(denial.code(), DenialCode::ParamsSchemaInvalid);
        assert!(!denial.to_string().contains(secret), "{denial}");
    }
}
