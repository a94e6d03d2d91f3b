use std::time::Duration;

use marque_audit::EventKind;

use super::*;
use crate::emergency::Emergency;
use crate::fixtures::{approval, ask, at, grant_with, operator, start};
use crate::{AlertSink, Grant, GrantTerms, IntentChange, Responder};

fn reason() -> Reason {
    Reason::new("a real outage").unwrap()
}

fn emergency() -> Emergency {
    Emergency {
        responders: ["operator:user1000", "group:on-call"].map(|one| one.parse().unwrap()).into(),
        alert: AlertSink::Log,
        post_review_within: Duration::from_secs(86_400),
        cooldown: Duration::from_secs(1800),
        max_per_day: 2,
        alert_above: 3,
    }
}

fn pending(number: u8, now: Timestamp) -> Intent {
    let terms = GrantTerms {
        intent_id: format!("int_000000000000000000000000{number:02}").parse().unwrap(),
        emergency: Some(emergency()),
        not_before: now,
        not_after: plus(now, Duration::from_secs(7200)),
        approval: Some(
            crate::ApprovalRule::of(std::num::NonZeroU32::MIN, Default::default()).into(),
        ),
        ..grant_with(1, 1).terms().clone()
    };
    Intent::open(Grant::seal(terms).unwrap(), None, ask(), now).0
}

fn activated(number: u8, now: Timestamp) -> Intent {
    let intent = pending(number, now);
    intent.approve(&approval(&intent, 1000, now), now).unwrap().0
}

fn ended(number: u8, now: Timestamp) -> Intent {
    activated(number, now).revoke("operator", reason(), now).unwrap().0
}

#[test]
fn only_a_named_responder_breaks_the_glass() {
    let intent = pending(1, start());
    let refused = intent.approve(&approval(&intent, 1001, at(1)), at(1)).unwrap_err();
    assert_eq!(refused.code(), DenialCode::ApproverNotEligible);
    let on_call = approval(&intent, 1001, at(1)).in_groups(["on-call".parse().unwrap()]);
    assert_eq!(intent.approve(&on_call, at(1)).unwrap().0.state(), State::Approved);
    assert_eq!(activated(1, start()).state(), State::Approved);
}

#[test]
fn every_step_is_told_in_the_break_glass_stream_too() {
    let intent = pending(1, start());
    let (_, opened) = Intent::open(intent.grant().clone(), None, ask(), start());
    let (active, approved) = intent.approve(&approval(&intent, 1000, at(1)), at(1)).unwrap();
    let (_, ended) = active.revoke("operator", reason(), at(2)).unwrap();
    let told: Vec<EventKind> = opened
        .iter()
        .chain(&approved)
        .chain([&ended])
        .filter_map(break_glass_event)
        .map(|event| event.kind)
        .collect();
    let all = [
        EventKind::BreakGlassRequested,
        EventKind::BreakGlassActivated,
        EventKind::BreakGlassEnded,
    ];
    assert_eq!(told, all);
    let (_, usual) = Intent::open(grant_with(1, 1), None, ask(), start());
    assert!(usual.iter().all(|event| break_glass_event(event).is_none()));
}

#[test]
fn a_review_is_by_somebody_else_after_the_end_and_once() {
    let code = |intent: &Intent, uid: u32| {
        let change = IntentChange::Review { by: operator(uid).into(), finding: reason() };
        intent.apply(&change, at(10)).map(|(next, events)| (next, events.len()))
    };
    let running = activated(1, start());
    assert_eq!(code(&running, 1001).unwrap_err().code(), DenialCode::InvalidRequest);
    let over = ended(1, start());
    assert_eq!(code(&over, 1000).unwrap_err().code(), DenialCode::SelfApprovalForbidden);
    let (reviewed, events) = code(&over, 1001).unwrap();
    assert_eq!((reviewed.state(), events), (State::Revoked, 1));
    assert_eq!(reviewed.review().unwrap().by, operator(1001));
    assert_eq!(code(&reviewed, 1001).unwrap().1, 0);
    assert_eq!(code(&reviewed, 1002).unwrap_err().code(), DenialCode::InvalidRequest);
    let usual = crate::fixtures::approved(1);
    assert_eq!(code(&usual, 1001).unwrap_err().code(), DenialCode::InvalidRequest);
    assert_eq!(code(&pending(1, start()), 1001).unwrap_err().code(), DenialCode::InvalidRequest);
}

#[test]
fn m_52_an_emergency_that_goes_on_is_refused() {
    let code = |next: &Intent, earlier: &[Intent], now: Timestamp| {
        next.too_soon_after(earlier.iter(), now).map(|denial| denial.code())
    };
    let next = |now| pending(9, now);
    assert_eq!(code(&next(at(1)), &[], at(1)), None);
    assert_eq!(
        code(&next(at(1)), &[activated(1, start())], at(1)),
        Some(DenialCode::ConcurrentGrantLimit)
    );
    assert_eq!(
        code(&next(at(1)), &[pending(1, start())], at(1)),
        Some(DenialCode::ConcurrentGrantLimit)
    );
    let one = ended(1, start());
    assert_eq!(
        code(&next(at(1799)), std::slice::from_ref(&one), at(1799)),
        Some(DenialCode::RateLimited)
    );
    assert_eq!(code(&next(at(1800)), std::slice::from_ref(&one), at(1800)), None);
    let two = ended(2, at(1800));
    let later = at(1800 + 1800);
    assert_eq!(
        code(&next(later), &[one.clone(), two.clone()], later),
        Some(DenialCode::RateLimited)
    );
    let tomorrow = at(86_400);
    assert_eq!(code(&next(tomorrow), &[one, two], tomorrow), None);
    // What nobody approved was no activation.
    let denied = pending(1, start()).deny(&operator(1000).into(), reason(), start()).unwrap().0;
    assert_eq!(code(&next(at(1)), &[denied], at(1)), None);
}

#[test]
fn a_responder_is_a_person_and_reads_back() {
    for text in ["group:on-call", "operator:alice", "person:https://idp.example.org#1"] {
        let responder: Responder = text.parse().unwrap();
        assert_eq!(responder.to_string(), text);
    }
    for text in [
        "on-call",
        "group:",
        "group:On Call",
        "operator:a b",
        "person:https://idp.example.org",
        "person:https://idp.example.org#spiffe://prod.example.org/agent/a",
        "agent:a",
    ] {
        assert!(text.parse::<Responder>().is_err(), "{text}");
    }
    for (text, fits) in [("log", true), ("webhook:pager", true), ("webhook:", false), ("", false)] {
        assert_eq!(text.parse::<AlertSink>().is_ok(), fits, "{text}");
    }
}
