use serde_json::json;

use super::*;
use crate::fixtures::{
    AGENT, PLAYBOOK, at, circumstances, good_request, playbook, request, requester, start,
};
use crate::resolve;

const EXCEPTION: &str = r#"
apiVersion = "marque/v1"
kind = "PlaybookException"
id = "checkout-by-one"
playbook = "ingress-cert-rotation"
version = 1
agent = "spiffe://prod.example.org/agent/cert-rotator/one"
owner = "group:platform-sre"
reason = "the second approver is away until the certificate ends"
review_by = "2026-03-20"
from = "2026-03-10T00:00:00Z"
expires_at = "2026-04-01T00:00:00Z"
runs = 1

[parameters]
service = "checkout"
region = "eu-west-1"

[relaxes]
approvals = 1
"#;

fn exception() -> Exception {
    Exception::parse(EXCEPTION).unwrap()
}

/// The playbook, wanting two approvers.
fn by_two() -> Playbook {
    Playbook::parse(&PLAYBOOK.replace("approve = 1", "approve = 2")).unwrap()
}

#[track_caller]
fn refused(from: &str, to: &str, because: &str) {
    assert!(EXCEPTION.contains(from), "{from}");
    let errors = Exception::parse(&EXCEPTION.replacen(from, to, 1)).unwrap_err();
    assert!(errors.iter().any(|error| error.message().contains(because)), "{to}: {errors:?}");
}

#[test]
fn m_43_an_exception_is_for_one_thing_and_ends() {
    refused("runs = 1", "runs = 0", "is 1 to 10");
    refused("runs = 1", "runs = 11", "is 1 to 10");
    refused("2026-04-01T00:00:00Z", "2026-04-11T00:00:00Z", "at most 31 days");
    refused("2026-04-01T00:00:00Z", "2026-03-10T00:00:00Z", "is after `from`");
    refused("service = \"checkout\"\nregion = \"eu-west-1\"\n", "", "fixes at least one");
    refused("approvals = 1", "", "lists at least one thing");
    refused("approvals = 1", "approvals = 0", "never does away with people");
    refused("owner = \"group:platform-sre\"", "owner = \"somebody\"", "kind:name");
    for never in ["blackout = true", "ticket = false", "scopes = [\"x\"]", "hard_policy = true"] {
        refused("approvals = 1", &format!("approvals = 1\n{never}"), "unknown field");
    }
    for line in EXCEPTION.lines().filter(|line| line.contains(" = ")) {
        let text = EXCEPTION.replacen(line, "", 1);
        let found = Exception::parse(&text);
        let incomplete = found.is_err()
            || found.is_ok_and(|exception| !exception.check(Some(&by_two())).is_empty());
        assert!(incomplete, "{line}");
    }
}

#[test]
fn an_exception_that_could_have_no_effect_is_refused() {
    let wrong = |from: &str, to: &str, playbook: Option<&Playbook>| {
        Exception::parse(&EXCEPTION.replacen(from, to, 1)).unwrap().check(playbook).join("; ")
    };
    let by_two = by_two();
    assert_eq!(exception().check(Some(&by_two)), Vec::<String>::new());
    assert!(exception().check(None)[0].contains("there is no playbook"));
    assert!(exception().check(Some(&playbook()))[0].contains("no fewer"));
    assert!(wrong("version = 1", "version = 2", Some(&by_two)).contains("review it again"));
    assert!(wrong("cert-rotator/one", "reporter", Some(&by_two)).contains("may not ask"));
    assert!(wrong("region = \"eu-west-1\"\n", "", Some(&by_two)).contains("required"));
    assert!(wrong("\"eu-west-1\"", "\"mars-1\"", Some(&by_two)).contains("fix every one"));
}

#[test]
fn an_exception_is_for_this_agent_and_these_parameters_and_while_it_lasts() {
    let (exception, playbook) = (exception(), by_two());
    let is_for = |agent: &str, asked: &serde_json::Value, now| {
        exception.is_for(&agent.parse().unwrap(), &playbook, &request(asked), now)
    };
    assert!(is_for(AGENT, &good_request(), start()));
    assert!(!is_for("spiffe://prod.example.org/agent/cert-rotator/two", &good_request(), start()));
    let mut other = good_request();
    other["parameters"]["region"] = json!("us-east-1");
    assert!(!is_for(AGENT, &other, start()));
    assert!(!is_for(AGENT, &good_request(), exception.expires_at()));
    assert!(!is_for(AGENT, &good_request(), "2026-03-09T23:59:59Z".parse().unwrap()));
    let next = Playbook::parse(&PLAYBOOK.replace("version = 1", "version = 2")).unwrap();
    assert!(!exception.is_for(&AGENT.parse().unwrap(), &next, &request(&good_request()), start()));
    assert_eq!(exception.standing(start()), ExceptionStanding::Live);
    let later = "2026-03-21T00:00:00Z".parse().unwrap();
    assert_eq!(exception.standing(later), ExceptionStanding::ReviewOverdue);
    assert_eq!(exception.standing(exception.expires_at()), ExceptionStanding::Ended);
}

#[test]
fn what_an_exception_relaxes_is_in_the_grant_and_its_digest() {
    let (exception, playbook) = (exception(), by_two());
    let grant = |playbook: &Playbook| {
        resolve(playbook, &request(&good_request()), &requester(AGENT), circumstances()).unwrap()
    };
    let (plain, under) = (grant(&playbook), grant(&playbook.under(&exception)));
    assert_ne!(plain.digest(), under.digest());
    let rule =
        |grant: &crate::Grant| grant.approval.as_ref().unwrap().rules().next().unwrap().clone();
    assert_eq!((rule(&plain).approve.get(), rule(&under).approve.get()), (2, 1));
    assert_eq!(rule(&under).groups, rule(&plain).groups);
    assert_eq!(under.conditions.provisions.exception, Some(exception.pin()));
    assert_eq!(under.scopes, plain.scopes);
}

#[test]
fn what_an_exception_gave_ends_with_it() {
    let soon = at(60);
    let text = EXCEPTION.replace("2026-04-01T00:00:00Z", &soon.to_string());
    let exception = Exception::parse(&text).unwrap();
    let grant = |playbook: &Playbook| {
        resolve(playbook, &request(&good_request()), &requester(AGENT), circumstances()).unwrap()
    };
    let playbook = by_two();
    assert_eq!(grant(&playbook.under(&exception)).not_after, soon);
    assert!(grant(&playbook).not_after > soon);
}

#[test]
fn a_run_is_what_was_or_can_still_be_used() {
    let exception = exception();
    let grant = resolve(
        &by_two().under(&exception),
        &request(&good_request()),
        &requester(AGENT),
        circumstances(),
    )
    .unwrap();
    let open = Intent::open(grant, None, crate::fixtures::ask(), start()).0;
    let pinned = exception.pin();
    assert!(pinned.has_run(&open));
    let (expired, _) = open.expire_if_due(at(3600)).unwrap();
    assert!(!pinned.has_run(&expired));
    let of_no_exception = crate::fixtures::pending(1, 1);
    assert!(!pinned.has_run(&of_no_exception));
}
