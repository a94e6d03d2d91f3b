use std::time::Duration;

use marque_intent::{Grant, GrantTerms, KillScope, Outcome, Reason, Ruling, TokenFacts, Use};
use marque_jose::Thumbprint;
use marque_spiffe::SpiffeId;
use marque_testkit::START;

use super::*;
use crate::TokenKind;
use crate::fixture::{anybody, approved, open, order, terms};

const ID: &str = "tok_00000000000000000000000000000001";

fn agent() -> SpiffeId {
    "spiffe://prod.example.org/agent/rotator".parse().unwrap()
}

fn named(name: &str) -> SpiffeId {
    format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
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
        facts: TokenFacts::default(),
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
        ancestors: Vec::new(),
        keys_above: Vec::new(),
        root: None,
        root_groups: Default::default(),
        confirmation: None,
        single_use: false,
        used_at: None,
        status_index: None,
    };
    (record, intent)
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
    assert_eq!(intent.state(), marque_intent::State::Consumed);
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
    assert_eq!(intent.state(), marque_intent::State::Active);
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
fn a_token_whose_only_use_was_made_is_dead() {
    let (mut record, intent) = used(|_| {});
    record.single_use = true;
    assert_eq!(live(&record, &intent, START), Ok(()));
    record.used_at = Some(START);
    assert_eq!(live(&record, &intent, START), Err(DenialCode::GrantConsumed));
}

#[test]
fn a_derived_token_belongs_to_the_agent_that_its_chain_began_with() {
    let (record, intent) = used(|_| {});
    let derived = TokenRecord {
        client: named("c"),
        through: vec![named("b"), agent()],
        parent: Some(ID.parse().unwrap()),
        ..record
    };
    assert_eq!(live(&derived, &intent, START), Ok(()));
    let foreign = TokenRecord { through: vec![agent(), named("b")], ..derived };
    assert_eq!(live(&foreign, &intent, START), Err(DenialCode::GrantNotBoundToSession));
}

#[test]
fn a_kill_of_a_key_ends_what_its_holder_derived_for_another_key() {
    let (mut parent, intent) = used(|_| {});
    let [old, new] = [1, 2].map(|byte| Confirmation::Jkt(Thumbprint::new([byte; 32])));
    parent.confirmation = Some(old);
    let derived =
        TokenRecord { keys_above: parent.keys(), confirmation: Some(new), ..parent.clone() };
    assert_eq!(derived.keys(), [new, old]);
    for (byte, ended) in [(1, [true, true]), (2, [false, true]), (3, [false, false])] {
        let key = Thumbprint::new([byte; 32]).to_string();
        let scope = KillScope::parse("key", Some(&key)).unwrap();
        let kills = KillState::default().after(order(scope), START);
        let is_over = |record| is_live(record, &intent, &kills, at(1)).is_err();
        assert_eq!([&parent, &derived].map(is_over), ended, "{byte}");
    }
}

#[test]
fn a_kill_of_anybody_in_the_chain_ends_a_derived_token() {
    let (record, intent) = used(|_| {});
    let derived = TokenRecord { client: named("c"), through: vec![named("b"), agent()], ..record };
    for stopped in [named("c"), named("b"), agent()] {
        let kills = KillState::default().after(order(KillScope::Agent(stopped)), START);
        let denial = is_live(&derived, &intent, &kills, START).unwrap_err();
        assert_eq!(denial.code(), DenialCode::KillSwitchAgent);
    }
    let kills = KillState::default().after(order(KillScope::Agent(named("d"))), START);
    assert!(is_live(&derived, &intent, &kills, START).is_ok());
}
