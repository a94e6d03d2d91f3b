use std::time::Duration;

use marque_intent::{ApprovalRule, Grant, GrantTerms, KillScope, Outcome, Reason, Ruling, Use};
use marque_testkit::{START, SeededRandom};

use super::*;
use crate::fixture::{approved, open, order, terms};

const ID: &str = "tok_00000000000000000000000000000001";

fn agent() -> SpiffeId {
    "spiffe://prod.example.org/agent/rotator".parse().unwrap()
}

fn used(shape: impl FnOnce(&mut GrantTerms)) -> (TokenRecord, Intent) {
    let agent = agent();
    let mut terms = terms(&agent, 0);
    shape(&mut terms);
    let intent = open(Grant::seal(terms).unwrap(), approved());
    let expires_at = intent.token_deadline(START);
    let grant_digest = *intent.grant().digest();
    let wanted = Use {
        agent: &agent,
        grant_digest: &grant_digest,
        token_id: ID,
        token_expires_at: expires_at,
        epoch: 0,
    };
    let (intent, _) = intent.redeem(&wanted, START).unwrap();
    let record = TokenRecord {
        id: ID.parse().unwrap(),
        intent: intent.id().clone(),
        client: agent.clone(),
        audiences: intent.grant().audiences.clone(),
        issued_at: START,
        expires_at,
        epoch: 0,
        revoked_at: None,
        kind: TokenKind::AccessToken,
        through: Vec::new(),
        parent: None,
        confirmation: None,
        single_use: false,
        used_at: None,
    };
    (record, intent)
}

fn anybody() -> ApprovalRule {
    ApprovalRule { approve: std::num::NonZeroU32::MIN, groups: std::collections::BTreeSet::new() }
}

fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn live(record: &TokenRecord, intent: &Intent, now: Timestamp) -> Result<(), DenialCode> {
    is_live(record, intent, &KillState::default(), now).map_err(|denial| denial.code())
}

#[test]
fn a_token_of_the_last_use_lives_until_its_own_end() {
    let (record, intent) = used(|_| {});
    assert_eq!(intent.state(), State::Consumed);
    assert_eq!(live(&record, &intent, START), Ok(()));
    assert_eq!(live(&record, &intent, at(239)), Ok(()));
    assert_eq!(live(&record, &intent, at(240)), Err(DenialCode::GrantExpired));
}

#[test]
fn a_token_ends_with_its_grant_whatever_it_says_itself() {
    let (mut record, intent) = used(|terms| terms.not_after = at(100));
    record.expires_at = at(1000);
    assert_eq!(live(&record, &intent, at(99)), Ok(()));
    assert_eq!(live(&record, &intent, at(100)), Err(DenialCode::GrantExpired));
}

#[test]
fn a_token_ends_with_the_clock_of_its_intent_though_nobody_stored_it() {
    let (mut record, intent) = used(|terms| terms.uses = 2);
    assert_eq!(intent.state(), State::Approved);
    record.expires_at = at(3000);
    assert_eq!(live(&record, &intent, at(599)), Ok(()));
    assert_eq!(live(&record, &intent, at(600)), Err(DenialCode::GrantExpired));
}

#[test]
fn every_end_of_the_intent_ends_its_tokens() {
    let (record, intent) = used(|terms| terms.uses = 2);
    let reason = Reason::new("drill").unwrap();
    let (completed, _) = intent.complete(&agent(), Outcome::Failure, START).unwrap();
    let (revoked, _) = intent.revoke("operator:alice(1000)", reason, START).unwrap();
    let (expired, _) = intent.expire_if_due(at(600)).unwrap();
    assert_eq!(live(&record, &completed, START), Err(DenialCode::GrantCompleted));
    assert_eq!(live(&record, &revoked, START), Err(DenialCode::GrantRevoked));
    assert_eq!(live(&record, &expired, START), Err(DenialCode::GrantExpired));
    for ended in [completed, revoked, expired] {
        assert_eq!(live(&record, &ended, START).err(), ended.ended_code(START));
    }
}

#[test]
fn a_withdrawn_intent_is_told_as_its_own_agents_end_everywhere() {
    let (record, _) = used(|_| {});
    let unused = open(Grant::seal(terms(&agent(), 0)).unwrap(), approved());
    let (cancelled, _) = unused.cancel(&agent(), START).unwrap();
    assert_eq!(cancelled.ended_code(START), Some(DenialCode::GrantCompleted));
    assert_eq!(live(&record, &cancelled, START), Err(DenialCode::GrantCompleted));
}

#[test]
fn no_token_comes_back_to_life_with_a_clock_that_steps_back() {
    let (record, intent) = used(|_| {});
    let back = |seconds| START - Duration::from_secs(seconds);
    assert_eq!(live(&record, &intent, back(10)), Ok(()));
    assert_eq!(live(&record, &intent, back(11)), Err(DenialCode::ClockUnsafe));
}

#[test]
fn an_intent_that_never_was_approved_has_no_live_token() {
    let (record, _) = used(|_| {});
    let grant = Grant::seal(terms(&agent(), 0)).unwrap();
    let denied = open(grant, Ruling::Deny { code: DenialCode::RiskTooHigh, rules: vec![] });
    assert_eq!(live(&record, &denied, START), Err(DenialCode::RiskTooHigh));
    let waiting = GrantTerms { approval: Some(anybody()), ..terms(&agent(), 0) };
    let pending = open(Grant::seal(waiting).unwrap(), Ruling::AskApproval { rules: vec![] });
    assert_eq!(live(&record, &pending, START), Err(DenialCode::ApprovalPending));
}

#[test]
fn a_revoked_token_is_dead() {
    let (mut record, intent) = used(|_| {});
    record.revoked_at = Some(START);
    assert_eq!(live(&record, &intent, START), Err(DenialCode::GrantRevoked));
}

#[test]
fn a_record_that_is_not_the_intents_is_dead() {
    let (record, intent) = used(|_| {});
    let stranger = TokenRecord {
        client: "spiffe://prod.example.org/agent/x".parse().unwrap(),
        ..record.clone()
    };
    let elsewhere =
        TokenRecord { intent: "int_00000000000000000000000042".parse().unwrap(), ..record };
    for record in [stranger, elsewhere] {
        assert_eq!(live(&record, &intent, START), Err(DenialCode::GrantNotBoundToSession));
    }
}

#[test]
fn a_kill_ends_tokens_that_are_out() {
    let (record, intent) = used(|_| {});
    let kills = KillState::default().after(order(KillScope::Agent(agent())), START);
    let denial = is_live(&record, &intent, &kills, START).unwrap_err();
    assert_eq!(denial.code(), DenialCode::KillSwitchAgent);
}

#[test]
fn a_token_id_reads_back_and_other_spellings_do_not() {
    let random = SeededRandom::new(1);
    let (one, two) = (TokenId::generate(&random).unwrap(), TokenId::generate(&random).unwrap());
    assert_ne!(one, two);
    assert_eq!(one.as_str().parse(), Ok(one.clone()));
    for bad in [
        "",
        "tok_",
        ID.strip_suffix('1').unwrap(),
        &format!("{ID}0"),
        &ID.replace('1', "A"),
        &ID.replace("tok", "TOK"),
        ID.trim_start_matches("tok_"),
    ] {
        assert!(bad.parse::<TokenId>().is_err(), "{bad}");
    }
}

#[test]
fn a_record_reads_back_from_json() {
    let (record, _) = used(|_| {});
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<TokenRecord>(&json).unwrap(), record);
}
