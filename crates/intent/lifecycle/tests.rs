mod checked;
mod ends;

use marque_audit::EventKind;
use marque_spiffe::SpiffeId;
use serde_json::json;

use super::*;
use crate::approval::{Approval, GroupName};
use crate::digest::Digest;
use crate::fixtures::{
    AGENT, approval, approved, ask, assert_golden, at, grant, grant_with, operator, pending, start,
};
use crate::grant::{Grant, GrantTerms};
use crate::text::Reason;
use crate::{Approver, Person};

fn reason() -> Reason {
    Reason::new("not today").unwrap()
}

fn agent() -> SpiffeId {
    AGENT.parse().unwrap()
}

fn stranger() -> SpiffeId {
    "spiffe://prod.example.org/agent/cert-rotator/two".parse().unwrap()
}

fn redeem(intent: &Intent, token_id: &str, now: Timestamp) -> Result<(Intent, Event), Denial> {
    let wanted = Use {
        agent: &agent(),
        grant_digest: intent.grant().digest(),
        token_id,
        token_expires_at: intent.token_deadline(now),
        facts: TokenFacts::default(),
        epoch: 3,
    };
    intent.redeem(&wanted, now)
}

fn code<T: std::fmt::Debug>(outcome: Result<T, Denial>) -> DenialCode {
    outcome.unwrap_err().code()
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

#[test]
fn a_ruling_gives_the_first_state() {
    let open = |ruling| Intent::open(grant(), None, ruling, start());
    let (intent, events) = open(Ruling::Approve { rules: vec!["auto".to_owned()] });
    assert_eq!((intent.state(), intent.approved_at()), (State::Approved, Some(start())));
    assert_eq!(kinds(&events), [EventKind::IntentRequested, EventKind::IntentApproved]);

    let (intent, events) = open(ask());
    assert_eq!((intent.state(), intent.approvals_missing()), (State::Pending, 1));
    assert_eq!(kinds(&events), [EventKind::IntentRequested, EventKind::IntentPending]);

    let (intent, events) =
        open(Ruling::Deny { code: DenialCode::RiskTooHigh, rules: vec!["hard".to_owned()] });
    assert_eq!(intent.state(), State::Denied);
    assert_eq!(intent.denial().unwrap().code(), DenialCode::RiskTooHigh);
    assert_eq!(intent.denial().unwrap().rules(), ["hard"]);
    assert_eq!(kinds(&events), [EventKind::IntentRequested, EventKind::IntentDenied]);
}

#[test]
fn an_intent_that_nobody_could_approve_is_denied_at_once() {
    let grant = Grant::seal(GrantTerms { approval: None, ..grant().terms().clone() }).unwrap();
    let (intent, _) = Intent::open(grant, None, ask(), start());
    assert_eq!(intent.state(), State::Denied);
    assert_eq!(intent.denial().unwrap().code(), DenialCode::QuorumUnreachable);
}

#[test]
fn the_log_is_told_what_was_asked_for_and_how_it_was_translated() {
    let (_, events) = Intent::open(grant(), None, ask(), start());
    assert_golden!(events);
}

#[test]
fn one_approval_of_the_digest_approves() {
    let intent = pending(1, 1);
    let (next, events) = intent.approve(&approval(&intent, 1000, at(5)), at(5)).unwrap();
    assert_eq!((next.state(), next.state_version()), (State::Approved, 2));
    assert_eq!(kinds(&events), [EventKind::ApprovalRecorded, EventKind::IntentApproved]);
    assert_eq!(events[0].actor.as_deref(), Some("operator:user1000(1000)"));
}

#[test]
fn the_approved_event_names_an_end_that_no_token_passes() {
    let intent = pending(1, 1);
    let (intent, events) = intent.approve(&approval(&intent, 1000, at(1799)), at(1799)).unwrap();
    let last = at(1799 + 899);
    let (_, issued) = redeem(&intent, "a", last).unwrap();
    assert!(issued.expires_at <= events[1].expires_at, "{issued:?}");
}

#[test]
fn an_approval_of_another_digest_is_refused() {
    let intent = pending(1, 1);
    let other = Approval::new(operator(1000), Digest::of(b"something else"), at(5));
    assert_eq!(code(intent.approve(&other, at(5))), DenialCode::ApprovalDigestMismatch);
}

#[test]
fn two_approvals_need_two_people() {
    let intent = pending(1, 2);
    let (once, _) = intent.approve(&approval(&intent, 1000, at(5)), at(5)).unwrap();
    assert_eq!((once.state(), once.approvals_missing()), (State::Pending, 1));
    let (again, events) = once.approve(&approval(&once, 1000, at(6)), at(6)).unwrap();
    assert_eq!((again.state_version(), events.len()), (once.state_version(), 0));
    let renamed = Approval::new(
        Approver::Operator { uid: 1000, user: "another-name".to_owned() },
        *once.grant().digest(),
        at(7),
    );
    assert_eq!(once.approve(&renamed, at(7)).unwrap().1.len(), 0);
    let (twice, _) = once.approve(&approval(&once, 1001, at(8)), at(8)).unwrap();
    assert_eq!(twice.state(), State::Approved);
}

#[test]
fn an_approver_outside_the_groups_does_not_count() {
    let intent = pending(1, 1);
    let person = Approver::Person(Person::new("https://idp.example.org", "7").unwrap());
    let word = Approval::new(person, *intent.grant().digest(), at(5));
    assert_eq!(code(intent.approve(&word, at(5))), DenialCode::ApproverNotEligible);
    let group: GroupName = "platform-sre".parse().unwrap();
    assert_eq!(intent.approve(&word.in_groups([group]), at(5)).unwrap().0.state(), State::Approved);
}

#[test]
fn an_approval_twice_changes_nothing_even_when_all_is_over() {
    let intent = approved(1);
    let (consumed, _) = redeem(&intent, "a", at(70)).unwrap();
    let (done, _) = consumed.complete(&agent(), Outcome::Success, at(80)).unwrap();
    for state in [&intent, &consumed, &done] {
        let (same, events) = state.approve(&approval(state, 1000, at(90)), at(90)).unwrap();
        assert_eq!((&same, events.len()), (state, 0));
    }
    assert_eq!(
        code(done.approve(&approval(&done, 1001, at(90)), at(90))),
        DenialCode::GrantCompleted
    );
}

#[test]
fn a_refusal_is_final() {
    let intent = pending(1, 2);
    let (denied, events) = intent.deny(&operator(1001).into(), reason(), at(5)).unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::ApprovalObjected, EventKind::IntentDenied]);
    let event = events.last().unwrap();
    assert_eq!((denied.state(), event.kind), (State::Denied, EventKind::IntentDenied));
    assert_eq!(event.code.as_deref(), Some("approval_denied"));
    assert_eq!(event.actor.as_deref(), Some("operator:user1001(1001)"));
    assert_eq!(
        code(denied.approve(&approval(&denied, 1000, at(6)), at(6))),
        DenialCode::ApprovalDenied
    );
    assert_eq!(code(redeem(&denied, "a", at(6))), DenialCode::ApprovalDenied);
}

#[test]
fn an_approved_intent_is_revoked_and_not_denied() {
    assert_eq!(
        code(approved(1).deny(&operator(1000).into(), reason(), at(70))),
        DenialCode::InvalidRequest
    );
    assert_eq!(
        code(pending(1, 1).revoke("operator", reason(), at(5))),
        DenialCode::ApprovalPending
    );
    let (revoked, event) = approved(1).revoke("operator:alice(1000)", reason(), at(70)).unwrap();
    assert_eq!((revoked.state(), event.kind), (State::Revoked, EventKind::IntentRevoked));
    assert_eq!(event.detail["ended_for"], "operator");
    assert_eq!(code(redeem(&revoked, "a", at(71))), DenialCode::GrantRevoked);
}

#[test]
fn every_use_is_spent_once() {
    let (one, event) = redeem(&approved(2), "a", at(70)).unwrap();
    assert_eq!((one.state(), one.uses_left()), (State::Active, 1));
    assert_eq!((event.kind, event.token_id.as_deref()), (EventKind::TokenIssued, Some("a")));
    assert_eq!((event.uses_left, event.epoch), (Some(1), Some(3)));
    assert_eq!(event.expires_at, Some(at(370)));
    let (two, _) = redeem(&one, "b", at(80)).unwrap();
    assert_eq!((two.state(), two.uses_left()), (State::Consumed, 0));
    assert_eq!(code(redeem(&two, "c", at(81))), DenialCode::GrantConsumed);
    let ids: Vec<&str> = two.uses().iter().map(|used| used.token_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn one_token_id_is_redeemed_once() {
    let (one, _) = redeem(&approved(2), "a", at(70)).unwrap();
    assert_eq!(code(redeem(&one, "a", at(71))), DenialCode::IdempotencyConflict);
}

#[test]
fn nothing_is_redeemed_before_approval_or_by_another_agent() {
    assert_eq!(code(redeem(&pending(1, 1), "a", at(5))), DenialCode::ApprovalPending);
    let intent = approved(1);
    let wanted = Use {
        agent: &stranger(),
        grant_digest: intent.grant().digest(),
        token_id: "a",
        token_expires_at: at(71),
        facts: TokenFacts::default(),
        epoch: 0,
    };
    assert_eq!(code(intent.redeem(&wanted, at(70))), DenialCode::AgentNotAllowed);
}

#[test]
fn a_grant_that_is_not_the_approved_one_is_not_redeemed() {
    let intent = approved(1);
    let digest = Digest::of(b"another grant");
    let wanted = Use {
        agent: &agent(),
        grant_digest: &digest,
        token_id: "a",
        token_expires_at: at(71),
        facts: TokenFacts::default(),
        epoch: 0,
    };
    assert_eq!(code(intent.redeem(&wanted, at(70))), DenialCode::ApprovalDigestMismatch);

    // Somebody edits the grant at rest after it was approved.
    let mut stored = serde_json::to_value(intent.grant()).unwrap();
    stored["scopes"] = json!(["secrets.delete"]);
    let grant = serde_json::from_value(stored).unwrap();
    let edited = Intent::of_parts(Arc::new(grant), intent.course().clone());
    assert_eq!(code(redeem(&edited, "a", at(70))), DenialCode::ApprovalDigestMismatch);
}

#[test]
fn a_token_never_outlives_its_work_or_its_grant() {
    let intent = approved(2);
    let ask_until = |intent: &Intent, end: Timestamp, now: Timestamp| {
        let wanted = Use {
            agent: &agent(),
            grant_digest: intent.grant().digest(),
            token_id: "a",
            token_expires_at: end,
            facts: TokenFacts::default(),
            epoch: 0,
        };
        intent.redeem(&wanted, now)
    };
    assert_eq!(intent.token_deadline(at(70)), at(370));
    assert!(ask_until(&intent, at(370), at(70)).is_ok());
    assert_eq!(code(ask_until(&intent, at(371), at(70))), DenialCode::ExceedsPlaybookCeiling);
    // Ten minutes after the first use everything ends, and a second token with it.
    let (used, _) = redeem(&intent, "first", at(70)).unwrap();
    assert_eq!(used.token_deadline(at(500)), at(670));
    assert_eq!(code(ask_until(&used, at(671), at(500))), DenialCode::ExceedsPlaybookCeiling);
}

#[test]
fn each_clock_ends_its_state() {
    // request_ttl: 30 minutes to be approved.
    let intent = pending(2, 1);
    assert!(intent.expire_if_due(at(1799)).is_none());
    let (expired, event) = intent.expire_if_due(at(1800)).unwrap();
    assert_eq!((expired.state(), event.kind), (State::Expired, EventKind::IntentExpired));
    assert_eq!(
        code(intent.approve(&approval(&intent, 1000, at(1800)), at(1800))),
        DenialCode::ApprovalExpired
    );
    assert_eq!(
        code(expired.approve(&approval(&expired, 1000, at(1801)), at(1801))),
        DenialCode::ApprovalExpired
    );

    assert_eq!(expired.ended_for(), Some(EndReason::RequestTtl));
    assert_eq!(event.detail["ended_for"], "request_ttl");
    assert_eq!(event.detail["approved"], false);

    // start_within: 15 minutes from approval to the first use.
    let intent = approved(2);
    assert!(redeem(&intent, "a", at(60 + 899)).is_ok());
    assert_eq!(code(redeem(&intent, "a", at(60 + 900))), DenialCode::GrantExpired);
    let (unused, _) = intent.expire_if_due(at(60 + 900)).unwrap();
    assert_eq!(
        (unused.state(), unused.ended_for()),
        (State::Expired, Some(EndReason::StartWithin))
    );
    assert_eq!((unused.outcome(), unused.is_unreported()), (None, false));

    // max_duration: 10 minutes from the first use.
    let (used, _) = redeem(&intent, "a", at(100)).unwrap();
    assert!(redeem(&used, "b", at(100 + 599)).is_ok());
    assert_eq!(code(redeem(&used, "b", at(100 + 600))), DenialCode::GrantExpired);

    let (ran_out, _) = used.expire_if_due(at(100 + 600)).unwrap();
    assert_eq!(
        (ran_out.state(), ran_out.ended_for()),
        (State::Expired, Some(EndReason::MaxDuration))
    );
    assert_eq!((ran_out.outcome(), ran_out.is_unreported()), (Some(Outcome::Unknown), true));

    // not_after: whatever the others say.
    let terms = GrantTerms { not_after: at(200), ..grant_with(1, 1).terms().clone() };
    let (short, _) = Intent::open(Grant::seal(terms).unwrap(), None, ask(), start());
    assert_eq!(short.expires_at(), Some(at(200)));
    let (over, _) = short.expire_if_due(at(200)).unwrap();
    assert_eq!(over.ended_for(), Some(EndReason::NotAfter));
}

#[test]
fn a_due_expiry_comes_before_every_transition() {
    let late = at(60 + 900);
    let intent = approved(2);
    assert_eq!(code(intent.cancel(&agent(), late)), DenialCode::GrantExpired);
    assert_eq!(code(intent.revoke("operator", reason(), late)), DenialCode::GrantExpired);
    let (used, _) = redeem(&intent, "a", at(100)).unwrap();
    assert_eq!(code(used.complete(&agent(), Outcome::Success, at(700))), DenialCode::GrantExpired);
    assert_eq!(
        code(pending(1, 1).deny(&operator(1000).into(), reason(), at(1800))),
        DenialCode::ApprovalExpired
    );
    let (expired, events) = intent.apply(&IntentChange::Expire, late).unwrap();
    assert_eq!((expired.state(), events.len()), (State::Expired, 1));
    let (same, events) = intent.apply(&IntentChange::Expire, at(61)).unwrap();
    assert_eq!((&same, events.len()), (&intent, 0));
}

#[test]
fn a_consumed_intent_waits_for_its_report_and_is_closed_without_one() {
    let (consumed, _) = redeem(&approved(1), "a", at(70)).unwrap();
    assert_eq!(consumed.expires_at(), None);
    // The last token ends at 370; an hour later nobody has said how it went.
    let late = at(370 + 3600);
    assert!(consumed.expire_if_due(at(370 + 3599)).is_none());
    assert!(consumed.complete(&agent(), Outcome::Success, at(370 + 3599)).is_ok());
    let (closed, event) = consumed.expire_if_due(late).unwrap();
    assert_eq!(
        (closed.state(), closed.ended_for()),
        (State::ClosedUnreported, Some(EndReason::ReportWithin))
    );
    assert_eq!((closed.outcome(), closed.is_unreported()), (Some(Outcome::Unknown), true));
    assert_eq!(event.kind, EventKind::IntentClosedUnreported);
    assert_eq!(
        (&event.detail["ended_for"], &event.detail["outcome"]),
        (&json!("report_within"), &json!("unknown"))
    );
    for too_late in [&consumed, &closed] {
        assert_eq!(
            code(too_late.complete(&agent(), Outcome::Success, late)),
            DenialCode::GrantExpired
        );
        assert_eq!(code(too_late.revoke("operator", reason(), late)), DenialCode::GrantExpired);
    }
    let (revoked, _) = consumed.revoke("operator", reason(), at(370 + 3599)).unwrap();
    assert_eq!((revoked.state(), revoked.ended_for()), (State::Revoked, Some(EndReason::Operator)));
    let (done, event) = consumed.complete(&agent(), Outcome::Partial, at(90)).unwrap();
    assert_eq!((done.state(), done.outcome()), (State::Completed, Some(Outcome::Partial)));
    assert_eq!(event.detail["outcome"], "partial");
}

#[test]
fn only_the_own_agent_cancels_and_completes() {
    assert_eq!(code(pending(1, 1).cancel(&stranger(), at(5))), DenialCode::AgentNotAllowed);
    let (consumed, _) = redeem(&approved(1), "a", at(70)).unwrap();
    assert_eq!(
        code(consumed.complete(&stranger(), Outcome::Success, at(80))),
        DenialCode::AgentNotAllowed
    );
    for intent in [pending(1, 1), approved(1)] {
        let (cancelled, event) = intent.cancel(&agent(), at(70)).unwrap();
        assert_eq!((cancelled.state(), event.kind), (State::Cancelled, EventKind::IntentCancelled));
        assert_eq!(event.detail.contains_key("approved"), intent.approved_at().is_none());
        assert_eq!(code(redeem(&cancelled, "a", at(71))), DenialCode::GrantCompleted);
    }
}

#[test]
fn what_was_used_is_completed_and_what_was_not_is_cancelled() {
    assert_eq!(
        code(approved(1).complete(&agent(), Outcome::Success, at(70))),
        DenialCode::GrantNotStarted
    );
    let (used, _) = redeem(&approved(2), "a", at(70)).unwrap();
    assert_eq!(code(used.cancel(&agent(), at(71))), DenialCode::InvalidRequest);
    assert_eq!(
        used.complete(&agent(), Outcome::Success, at(71)).unwrap().0.state(),
        State::Completed
    );
}

#[test]
fn an_end_that_its_agent_says_twice_is_the_same_end() {
    let (used, _) = redeem(&approved(2), "a", at(70)).unwrap();
    let complete = |outcome| IntentChange::Complete { by: agent(), outcome, report: None };
    let (completed, _) = used.apply(&complete(Outcome::Success), at(71)).unwrap();
    let again = completed.apply(&complete(Outcome::Success), at(5000)).unwrap();
    assert_eq!(again, (completed.clone(), Vec::new()));
    let other = completed.apply(&complete(Outcome::Failure), at(72));
    assert_eq!(code(other), DenialCode::GrantCompleted);
    let strange =
        IntentChange::Complete { by: stranger(), outcome: Outcome::Success, report: None };
    assert_eq!(code(completed.apply(&strange, at(72))), DenialCode::AgentNotAllowed);

    let cancel = IntentChange::Cancel { by: agent() };
    let (cancelled, _) = approved(1).apply(&cancel, at(70)).unwrap();
    let again = cancelled.apply(&cancel, at(71)).unwrap();
    assert_eq!(again, (cancelled, Vec::new()));
}

#[test]
fn nothing_is_granted_on_a_clock_that_stepped_back() {
    let intent = approved(1);
    assert!(redeem(&intent, "a", at(50)).is_ok());
    assert_eq!(code(redeem(&intent, "a", at(49))), DenialCode::ClockUnsafe);
    let waiting = pending(1, 1);
    assert_eq!(
        code(waiting.approve(&approval(&waiting, 1000, at(-11)), at(-11))),
        DenialCode::ClockUnsafe
    );
    assert!(waiting.approve(&approval(&waiting, 1000, at(-10)), at(-10)).is_ok());
}

#[test]
fn an_intent_reads_back_in_every_state() {
    let (consumed, _) = redeem(&approved(1), "a", at(70)).unwrap();
    let (done, _) = consumed.complete(&agent(), Outcome::Unknown, at(80)).unwrap();
    let (denied, _) = pending(1, 1).deny(&operator(1000).into(), reason(), at(5)).unwrap();
    let justified =
        Intent::open(grant(), Some(Justification::new("because").unwrap()), ask(), start()).0;
    let (closed, _) = consumed.expire_if_due(at(10_000)).unwrap();
    let (active, _) = redeem(&approved(2), "a", at(70)).unwrap();
    for intent in [pending(1, 1), approved(2), active, consumed, done, closed, denied, justified] {
        let grant = serde_json::to_string(intent.grant()).unwrap();
        let course = serde_json::to_string(intent.course()).unwrap();
        let grant = Arc::new(serde_json::from_str(&grant).unwrap());
        assert_eq!(Intent::of_parts(grant, serde_json::from_str(&course).unwrap()), intent);
    }
}

#[test]
fn a_state_reads_back_its_own_name() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse::<State>().unwrap(), state);
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    assert!("requested".parse::<State>().is_err());
}
