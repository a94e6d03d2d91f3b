//! Ends that come from outside, silence, and rows of before there were reasons.

use std::time::Duration;

use marque_audit::EventKind;

use super::super::*;
use super::{agent, code, redeem, stranger};
use crate::fixtures::{approval, approved, ask, at, grant_with, pending, start};
use crate::grant::Grant;

/// Approved at 60 and used at 70, with an idle clock of 90 seconds.
fn idle(uses: u32) -> Intent {
    let mut terms = grant_with(uses, 1).terms().clone();
    terms.conditions.ends.idle_timeout = Some(Duration::from_secs(90));
    let (intent, _) = Intent::open(Grant::seal(terms).unwrap(), None, ask(), start());
    let (intent, _) = intent.approve(&approval(&intent, 1000, at(60)), at(60)).unwrap();
    redeem(&intent, "a", at(70)).unwrap().0
}

fn end(intent: &Intent, why: EndReason, now: Timestamp) -> (Intent, Vec<Event>) {
    let change = IntentChange::End {
        why,
        code: DenialCode::TicketClosed,
        by: "issuer".to_owned(),
        reason: None,
    };
    intent.apply(&change, now).unwrap()
}

#[test]
fn silence_ends_an_active_intent_and_a_word_puts_it_off() {
    let used = idle(2);
    assert_eq!(used.due(), Some((at(160), EndReason::Idle)));
    let (over, _) = used.expire_if_due(at(160)).unwrap();
    assert_eq!((over.state(), over.ended_for()), (State::Expired, Some(EndReason::Idle)));
    assert_eq!(code(redeem(&used, "b", at(160))), DenialCode::GrantExpired);
    assert!(!used.lets_tokens_live(at(160)));

    let (heard, events) = used.heard(Some(&agent()), at(159)).unwrap();
    assert_eq!(
        (heard.due(), events[0].kind),
        (Some((at(249), EndReason::Idle)), EventKind::IntentHeard)
    );
    assert_eq!(events[0].actor.as_deref(), Some(agent().as_str()));
    assert_eq!(code(heard.heard(Some(&stranger()), at(200))), DenialCode::AgentNotAllowed);
    assert_eq!(code(used.heard(None, at(160))), DenialCode::GrantExpired);
    // A use is a word too.
    assert_eq!(redeem(&heard, "b", at(200)).unwrap().0.heard_at(), Some(at(200)));
}

#[test]
fn a_word_is_written_down_only_when_a_good_part_of_the_clock_has_run() {
    let used = idle(2);
    assert_eq!(used.heard(None, at(92)).unwrap(), (used.clone(), Vec::new()));
    assert_eq!(used.heard(None, at(93)).unwrap().1.len(), 1);
    let endless = redeem(&approved(2), "a", at(70)).unwrap().0;
    assert_eq!(endless.heard(None, at(500)).unwrap(), (endless, Vec::new()));
    let unused = approved(2);
    assert_eq!(unused.heard(None, at(500)).unwrap(), (unused, Vec::new()));
}

#[test]
fn a_consumed_intent_falls_idle_while_its_token_lives_and_not_after_it() {
    let consumed = idle(1);
    assert_eq!(consumed.due(), Some((at(160), EndReason::Idle)));
    assert!(consumed.lets_tokens_live(at(159)) && !consumed.lets_tokens_live(at(160)));
    let (closed, _) = consumed.expire_if_due(at(160)).unwrap();
    assert_eq!(
        (closed.state(), closed.ended_for()),
        (State::ClosedUnreported, Some(EndReason::Idle))
    );
    // Its token ends at 370: from then on only the report is waited for.
    let (heard, _) = consumed.heard(None, at(150)).unwrap();
    let (heard, _) = heard.heard(None, at(230)).unwrap();
    let (heard, _) = heard.heard(None, at(300)).unwrap();
    assert_eq!(heard.due(), Some((at(370 + 3600), EndReason::ReportWithin)));
    assert_eq!(heard.holds_until(), Some(at(370)));
}

#[test]
fn what_an_intent_hung_on_ends_it_in_every_open_state() {
    let active = redeem(&approved(2), "a", at(70)).unwrap().0;
    let consumed = redeem(&approved(1), "a", at(70)).unwrap().0;
    for why in [EndReason::AgentLost, EndReason::ParentEnded] {
        for open in [&pending(1, 1), &approved(1), &active] {
            let (ended, events) = end(open, why, at(80));
            assert_eq!((ended.state(), ended.ended_for()), (State::Expired, Some(why)));
            assert_eq!((events.len(), events[0].kind), (1, EventKind::IntentExpired));
            assert_eq!(events[0].detail["ended_for"], why.as_str());
        }
        assert_eq!(end(&consumed, why, at(80)).0.state(), State::ClosedUnreported);
    }
    for why in
        [EndReason::PolicyDrift, EndReason::TicketClosed, EndReason::Kill, EndReason::Quarantine]
    {
        for open in [&approved(1), &active, &consumed] {
            let (ended, events) = end(open, why, at(80));
            assert_eq!((ended.state(), ended.ended_for()), (State::Revoked, Some(why)));
            assert_eq!(events[0].actor.as_deref(), Some("issuer"));
        }
        // Nobody had given it yet: it is refused, by the code that came with the reason.
        let (denied, events) = end(&pending(1, 1), why, at(80));
        assert_eq!((denied.state(), events[0].kind), (State::Denied, EventKind::IntentDenied));
        assert_eq!(denied.ended_code(at(81)), Some(DenialCode::TicketClosed));
    }
}

#[test]
fn no_reason_moves_an_intent_that_has_ended() {
    let active = redeem(&approved(2), "a", at(70)).unwrap().0;
    let (done, _) = active.complete(&agent(), Outcome::Success, at(75)).unwrap();
    let (over, _) = pending(1, 1).expire_if_due(at(1800)).unwrap();
    for ended in [done, over] {
        for why in EndReason::ALL {
            assert_eq!(end(&ended, why, at(1900)), (ended.clone(), Vec::new()));
        }
    }
    // A clock that is due comes first.
    let (late, _) = end(&active, EndReason::PolicyDrift, at(670));
    assert_eq!((late.state(), late.ended_for()), (State::Expired, Some(EndReason::MaxDuration)));
}

#[test]
fn a_report_may_say_more_and_decides_nothing() {
    let active = redeem(&approved(2), "a", at(70)).unwrap().0;
    let said = || Some(Justification::new("three of four\u{202e}").unwrap());
    let change = IntentChange::Complete { by: agent(), outcome: Outcome::Partial, report: said() };
    let (done, events) = active.apply(&change, at(80)).unwrap();
    assert_eq!(done.report().map(Justification::as_str), Some("three of four"));
    assert_eq!(events[0].detail["report_digest"], crate::Digest::of(b"three of four").to_string());
    assert_eq!(done.apply(&change, at(81)).unwrap().1.len(), 0);
}

#[test]
fn a_row_of_before_there_were_active_intents_and_reasons_still_reads() {
    let active = redeem(&approved(3), "a", at(70)).unwrap().0;
    let mut old = serde_json::to_value(active.course()).unwrap();
    old["state"] = "approved".into();
    let of = |course| Intent::of_parts(active.shared_grant().clone(), course);
    let read = of(serde_json::from_value(old).unwrap());
    assert_eq!(read.due(), active.due());
    assert_eq!(redeem(&read, "b", at(80)).unwrap().0.state(), State::Active);
    assert_eq!(code(read.cancel(&agent(), at(80))), DenialCode::InvalidRequest);

    let mut old = serde_json::to_value(read.expire_if_due(at(670)).unwrap().0.course()).unwrap();
    old.as_object_mut().unwrap().remove("ended_for");
    let read = of(serde_json::from_value(old).unwrap());
    assert_eq!((read.state(), read.ended_for()), (State::Expired, None));
}

#[test]
fn a_reason_reads_back_its_own_name() {
    for why in EndReason::ALL {
        assert_eq!(why.as_str().parse::<EndReason>().unwrap(), why);
        assert_eq!(serde_json::to_value(why).unwrap(), why.as_str());
    }
    assert!("because".parse::<EndReason>().is_err());
}
