use marque_testkit::START;

use super::*;
use crate::AuthorityTimes;

const PURPOSE: KeyPurpose = KeyPurpose::JwtSvid;

fn slot(number: usize) -> SlotId {
    let first = SlotId::first(PURPOSE);
    (0..number).fold(first, |slot, _| slot.successor().unwrap())
}

fn record(number: usize, state: AuthorityState) -> AuthorityRecord {
    AuthorityRecord {
        slot: slot(number),
        state,
        certificate_der: None,
        upstream: None,
        followed: None,
        public_key: vec![4; 65],
        created_at: START,
        bundle_sequence: 10 + u64::try_from(number).unwrap(),
        times: AuthorityTimes::default(),
    }
}

fn tainted(mut record: AuthorityRecord) -> AuthorityRecord {
    record.times.tainted_at = Some(START);
    record
}

fn decide(
    records: &[AuthorityRecord],
    step: AuthorityStep,
) -> Result<AuthorityDecision, OrderRefusal> {
    AuthorityOrder { step, at: START, by: None, reason: None }.decide(records)
}

const STATES: [AuthorityState; 5] = [
    AuthorityState::Prepared,
    AuthorityState::Active,
    AuthorityState::Old,
    AuthorityState::Revoked,
    AuthorityState::Retired,
];

/// What a step is called, the step, and the states from which it is taken and refused.
type Allowed = (
    &'static str,
    fn(SlotId) -> AuthorityStep,
    &'static [AuthorityState],
    &'static [AuthorityState],
);

#[test]
fn every_step_takes_a_key_from_certain_states_alone() {
    // The states that each step takes a key from, untainted and tainted.
    let allowed: [Allowed; 5] = [
        (
            "activate",
            |slot| AuthorityStep::Activate { slot, published_for: Duration::ZERO },
            &[AuthorityState::Prepared],
            &[AuthorityState::Prepared],
        ),
        (
            "taint",
            |slot| AuthorityStep::Taint { slot },
            &[AuthorityState::Prepared, AuthorityState::Active, AuthorityState::Old],
            &[],
        ),
        (
            "revoke",
            |slot| AuthorityStep::Revoke { slot },
            &[],
            &[AuthorityState::Prepared, AuthorityState::Old],
        ),
        (
            "retire",
            |slot| AuthorityStep::Retire { slot },
            &[AuthorityState::Prepared, AuthorityState::Old],
            &[AuthorityState::Prepared, AuthorityState::Old],
        ),
        (
            "prune",
            |slot| AuthorityStep::Prune { slot },
            &[AuthorityState::Revoked, AuthorityState::Retired],
            &[AuthorityState::Revoked, AuthorityState::Retired],
        ),
    ];
    for (name, step, untainted_from, tainted_from) in allowed {
        for state in STATES {
            let rest = [record(1, AuthorityState::Prepared)];
            let plain = [rest.as_slice(), &[record(0, state)]].concat();
            let ruled = decide(&plain, step(slot(0)));
            assert_eq!(ruled.is_ok(), untainted_from.contains(&state), "{name} {state}: {ruled:?}");
            let marked = [rest.as_slice(), &[tainted(record(0, state))]].concat();
            let ruled = decide(&marked, step(slot(0)));
            assert_eq!(ruled.is_ok(), tainted_from.contains(&state), "{name} {state}!: {ruled:?}");
        }
        let refused = decide(&[], step(slot(0))).unwrap_err();
        assert_eq!(refused.code(), "authority_not_found");
    }
}

#[test]
fn a_decision_leaves_one_active_key_and_moves_the_sequence_with_the_bundle_alone() {
    let records = vec![record(0, AuthorityState::Active), record(1, AuthorityState::Prepared)];
    for (step, moves) in [
        (AuthorityStep::Activate { slot: slot(1), published_for: Duration::ZERO }, false),
        (AuthorityStep::Taint { slot: slot(0) }, false),
        (AuthorityStep::Retire { slot: slot(1) }, true),
    ] {
        let mut after = records.clone();
        decide(&records, step.clone()).unwrap().apply(&mut after);
        let active = after.iter().filter(|record| record.state == AuthorityState::Active).count();
        assert_eq!(active, 1, "{step:?}");
        assert_eq!(sequence(&after) > sequence(&records), moves, "{step:?}");
    }
}

#[test]
fn only_the_key_that_comes_next_is_recorded_and_only_as_prepared() {
    let active = [record(0, AuthorityState::Active)];
    let put = |record| AuthorityStep::Record(Box::new(record));
    decide(&active, put(record(1, AuthorityState::Prepared))).unwrap();
    for (wrong, code) in [
        (record(0, AuthorityState::Prepared), "authority_overtaken"),
        (record(2, AuthorityState::Prepared), "authority_overtaken"),
        (record(1, AuthorityState::Active), "authority_overtaken"),
        (record(1, AuthorityState::Old), "authority_overtaken"),
    ] {
        assert_eq!(decide(&active, put(wrong)).unwrap_err().code(), code);
    }
    let refused = decide(&[], put(record(0, AuthorityState::Prepared))).unwrap_err();
    assert_eq!(refused.code(), "authority_nothing_active");
}

#[test]
fn a_name_is_never_given_again() {
    // The newest key was tainted before it signed, left and would be pruned.
    let records = [record(0, AuthorityState::Active), tainted(record(1, AuthorityState::Revoked))];
    let refused = decide(&records, AuthorityStep::Prune { slot: slot(1) }).unwrap_err();
    assert_eq!(refused.code(), "authority_still_needed");
    assert_eq!(next_to_prepare(&records, PURPOSE).unwrap(), slot(2));
}

#[test]
fn a_key_is_activated_at_the_first_second_at_which_it_was_published_long_enough() {
    let records = [record(0, AuthorityState::Active), record(1, AuthorityState::Prepared)];
    let published_for = Duration::from_secs(180);
    let at = |seconds| {
        let step = AuthorityStep::Activate { slot: slot(1), published_for };
        let at = START + Duration::from_secs(seconds);
        AuthorityOrder { step, at, by: None, reason: None }.decide(&records)
    };
    at(180).unwrap();
    let refused = at(179).unwrap_err();
    let until = START + published_for;
    assert_eq!(refused, OrderRefusal::TooEarly { slot: slot(1), until });
    assert!(refused.to_string().contains("--now"), "{refused}");
}
