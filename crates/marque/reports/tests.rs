use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind, PlaybookPin};
use marque_intent::{HumanJob, PlaybookSet};
use marque_registry::{Registry, TrustDomainDocument};
use marque_spiffe::Environment;
use serde_json::json;

use super::*;

const DOCUMENT: &str = include_str!("../../registry/folder/tests/trust-domain.toml");

fn start() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn at(minutes: u64) -> Timestamp {
    start() + Duration::from_secs(60 * minutes)
}

/// An event about one intent of one agent.
fn event(kind: EventKind, id: &str, playbook: &str, minutes: u64) -> Event {
    Event::new(kind, at(minutes))
        .with_intent(id)
        .with_agent("spiffe://prod.example.org/agent/cert-rotator/one".parse().unwrap())
        .with_playbook(PlaybookPin { id: playbook.into(), version: 1, digest: "d".into() })
}

fn requested(id: &str, playbook: &str, minutes: u64) -> Event {
    event(EventKind::IntentRequested, id, playbook, minutes)
        .with_detail("parameters", json!({"service": "checkout"}))
}

fn approved(id: &str, playbook: &str, minutes: u64, until: u64) -> Event {
    event(EventKind::IntentApproved, id, playbook, minutes).with_expires_at(at(until))
}

fn ledger(events: &[Event], now: u64) -> Ledger {
    let mut ledger = Ledger::new(start(), at(now));
    events.iter().for_each(|event| ledger.tell(event));
    ledger
}

fn playbooks() -> PlaybookSet {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("trust-domains/prod.example.org/playbooks");
    let domain = "prod.example.org".parse().unwrap();
    PlaybookSet::load(&folder, &domain, Environment::Production).unwrap()
}

fn found(which: Which, playbooks: &PlaybookSet, ledger: &Ledger, now: Timestamp) -> Vec<Finding> {
    // Nobody is in the group that owns the playbooks.
    let text = DOCUMENT.replace("\"platform-sre\"", "\"somebody-else\"");
    let document = TrustDomainDocument::parse(std::path::Path::new("t"), &text).unwrap();
    let document = Arc::new(document);
    let registry = Registry::new(Arc::clone(&document), Vec::new()).unwrap().snapshot();
    let sources = Sources { document: &document, playbooks, registry: &registry, ledger, now };
    sources.findings(which)
}

const ROTATION: &str = "ingress-cert-rotation";

#[test]
fn m_73_the_same_grant_again_and_again_is_told() {
    let runs = |count: u64| -> Vec<Event> {
        (0..count)
            .flat_map(|run| {
                let id = format!("int_{run}");
                [requested(&id, ROTATION, run), approved(&id, ROTATION, run, run + 5)]
            })
            .collect()
    };
    let renewed = |count| found(Which::Renewed, &playbooks(), &ledger(&runs(count), 100), at(100));
    assert_eq!(renewed(5), []);
    let told = renewed(6);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].facts["times"], 6);
    assert_eq!(told[0].owner, "group:platform-sre");
}

#[test]
fn m_73_a_playbook_that_is_nearly_always_in_force_is_told() {
    let events = |until| {
        [
            requested("int_1", ROTATION, 0),
            approved("int_1", ROTATION, 0, until),
            // What overlaps counts once.
            approved("int_2", ROTATION, 10, 20),
        ]
    };
    let near =
        |until| found(Which::NearPermanent, &playbooks(), &ledger(&events(until), 120), at(120));
    assert_eq!(near(60), []);
    assert_eq!(near(66)[0].facts["share_percent"], 55);
}

#[test]
fn refusals_are_told_by_what_followed_them() {
    let refusal = |code: &str, minutes: u64| {
        event(EventKind::IntentDenied, "int_0", ROTATION, minutes).with_denial(code, "change")
    };
    let mark = json!({"alert": "log", "post_review_within_s": 3600, "alert_above": 0});
    let broken = requested("int_3", "emergency", 200).with_detail("break_glass", mark);
    let events = [
        refusal("ticket_missing", 0),
        requested("int_1", ROTATION, 10),
        approved("int_1", ROTATION, 59, 90),
        refusal("outside_change_window", 150),
        broken,
        refusal("blackout", 300),
    ];
    let told = found(Which::Denials, &playbooks(), &ledger(&events, 400), at(400));
    let of = |code: &str| {
        let one = told.iter().find(|finding| finding.facts["code"] == code).unwrap();
        (one.facts["fixed_within_1h"].clone(), one.facts["then_break_glass"].clone(), one.act)
    };
    assert_eq!(of("ticket_missing"), (json!(1), json!(0), false));
    assert_eq!(of("outside_change_window"), (json!(0), json!(1), true));
    assert_eq!(of("blackout"), (json!(0), json!(0), false));
}

#[test]
fn a_broken_glass_is_told_until_somebody_else_looked_at_it() {
    let mark = json!({"alert": "log", "post_review_within_s": 3600, "alert_above": 1});
    let marked = |event: Event| event.with_detail("break_glass", mark.clone());
    let mut events = vec![
        marked(requested("int_1", "emergency", 0)),
        marked(approved("int_1", "emergency", 1, 30)),
    ];
    let told = |events: &[Event], now: u64| {
        found(Which::BreakGlass, &playbooks(), &ledger(events, now), at(now))
    };
    let acts = |all: &[Finding]| all.iter().filter(|finding| finding.act).count();
    assert_eq!(acts(&told(&events, 60)), 0);
    assert_eq!(acts(&told(&events, 62)), 1);
    let review = event(EventKind::BreakGlassReviewed, "int_1", "emergency", 70);
    events.push(review.with_actor("operator:bob(1001)").with_detail("finding", "needed"));
    assert_eq!(acts(&told(&events, 80)), 0);
    // The second one in 30 days is one too many.
    events.push(marked(approved("int_2", "emergency", 90, 100)));
    let all = told(&events, 91);
    let trend = all.iter().find(|finding| finding.subject == "emergency").unwrap();
    assert_eq!((trend.act, &trend.facts["in_30_days"]), (true, &json!(2)));
}

#[test]
fn m_133_a_playbook_that_permits_more_than_the_job_does_is_told() {
    let role = |permissions: &str| {
        let text =
            format!("name = \"sre\"\npermissions = [{permissions}]\nplaybooks = [\"{ROTATION}\"]");
        playbooks().with_roles(vec![HumanJob::parse(&text).unwrap()])
    };
    let all = r#""scope secrets.update", "audience https://ingress.prod.example.org", "action k8s_object:get", "action k8s_object:patch""#;
    let empty = ledger(&[], 1);
    assert_eq!(found(Which::OverGrant, &role(all), &empty, at(1)), []);
    let told = found(Which::OverGrant, &role("\"scope secrets.update\""), &empty, at(1));
    assert_eq!(told[0].facts["excess_percent"], 75);
}

#[test]
fn what_nobody_answers_for_and_what_is_past_its_review_is_told() {
    let empty = ledger(&[], 1);
    let unowned = found(Which::Unowned, &playbooks(), &empty, at(1));
    assert!(unowned.iter().any(|one| one.subject == format!("playbook {ROTATION}")), "{unowned:?}");
    assert_eq!(found(Which::Exceptions, &playbooks(), &empty, at(1)), []);
    let later = "2027-03-02T00:00:00Z".parse().unwrap();
    assert!(!found(Which::Exceptions, &playbooks(), &empty, later).is_empty());
}

#[test]
fn m_27_whoever_holds_a_grant_without_an_entry_is_told() {
    let events = [requested("int_1", ROTATION, 0), approved("int_1", ROTATION, 1, 30)];
    let told = found(Which::Unowned, &playbooks(), &ledger(&events, 2), at(2));
    assert!(told.iter().any(|one| one.subject.starts_with("agent ")), "{told:?}");
}

#[test]
fn whoever_approves_everything_at_once_is_told() {
    let decisions = |count: u64, seconds: u64| -> Vec<Event> {
        (0..count)
            .flat_map(|run| {
                let id = format!("int_{run}");
                let mut yes = event(EventKind::ApprovalRecorded, &id, ROTATION, run);
                yes.time += Duration::from_secs(seconds);
                [requested(&id, ROTATION, run), yes.with_actor("operator:alice(1000)")]
            })
            .collect()
    };
    let told = |count, seconds| {
        found(Which::Approvals, &playbooks(), &ledger(&decisions(count, seconds), 60), at(60))
    };
    assert!(told(5, 2)[0].act);
    assert!(!told(5, 30)[0].act && !told(4, 2)[0].act);
    assert_eq!(told(5, 30)[0].facts["median_decision_s"], 30);
}

#[test]
fn every_report_reads_back_its_name() {
    for which in Which::ALL {
        assert_eq!(which.as_str().parse(), Ok(which));
    }
    assert_eq!("everything".parse::<Which>(), Err(UnknownReport));
}
