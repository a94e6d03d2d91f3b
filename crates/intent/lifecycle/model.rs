//! The life cycle against a model: random stories, of which no one takes an edge that is not drawn, loses or doubles a
//! use, or moves an intent that has ended.

use std::collections::BTreeSet;

use marque_spiffe::SpiffeId;
use proptest::prelude::*;

use super::*;
use crate::approval::Approval;
use crate::fixtures::{AGENT, approval, ask, at, operator, pending};
use crate::text::Reason;

#[derive(Debug, Clone)]
enum Act {
    Approve { uid: u32, right_digest: bool },
    Deny { uid: u32 },
    Cancel { own: bool },
    Complete { own: bool },
    Revoke,
    Expire,
    Redeem { token: u8, own: bool },
    End(EndReason),
    Heard { own: bool },
}

/// What ends an intent from outside.
const OUTSIDE: [EndReason; 4] =
    [EndReason::AgentLost, EndReason::ParentEnded, EndReason::PolicyDrift, EndReason::TicketClosed];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1000..1004_u32, prop::bool::weighted(0.9)).prop_map(|(uid, right_digest)| Act::Approve { uid, right_digest }),
        1 => (1000..1004_u32).prop_map(|uid| Act::Deny { uid }),
        1 => any::<bool>().prop_map(|own| Act::Cancel { own }),
        1 => any::<bool>().prop_map(|own| Act::Complete { own }),
        1 => Just(Act::Revoke),
        2 => Just(Act::Expire),
        1 => prop::sample::select(&OUTSIDE[..]).prop_map(Act::End),
        3 => prop::bool::weighted(0.9).prop_map(|own| Act::Heard { own }),
        8 => (0..6_u8, prop::bool::weighted(0.9)).prop_map(|(token, own)| Act::Redeem { token, own }),
    ]
}

/// The edges of specs/intents.md 2; an active or consumed intent of which something is heard stays what it is.
fn is_drawn(from: State, to: State) -> bool {
    use State::{
        Active, Approved, Cancelled, ClosedUnreported, Completed, Consumed, Denied, Expired,
        Pending, Revoked,
    };
    matches!(
        (from, to),
        (Pending, Pending | Approved | Denied | Cancelled | Expired)
            | (Approved, Active | Consumed | Revoked | Cancelled | Expired)
            | (Active, Active | Consumed | Completed | Revoked | Expired)
            | (Consumed, Consumed | Completed | Revoked | ClosedUnreported)
    )
}

/// The same intent under a playbook that ends what is silent for so many seconds.
fn with_idle_clock(intent: &Intent, idle: Option<u64>) -> Intent {
    let mut terms = intent.grant().terms().clone();
    terms.conditions.ends.idle_timeout = idle.map(Duration::from_secs);
    Intent::open(crate::Grant::seal(terms).unwrap(), None, ask(), intent.created_at()).0
}

/// What has to hold, kept apart from the code under test.
#[derive(Debug, Default)]
struct Model {
    approvers: BTreeSet<u32>,
    tokens: BTreeSet<u8>,
    issued: u32,
}

fn perform(intent: &Intent, act: &Act, now: Timestamp) -> Result<(Intent, Vec<Event>), Denial> {
    let by = |own: bool| -> SpiffeId {
        if own {
            AGENT.parse().unwrap()
        } else {
            "spiffe://prod.example.org/agent/x".parse().unwrap()
        }
    };
    let reason = || Reason::new("model").unwrap();
    match act {
        Act::Approve { uid, right_digest: true } => {
            intent.apply(&IntentChange::Approve { approval: approval(intent, *uid, now) }, now)
        }
        Act::Approve { uid, right_digest: false } => {
            let approval = Approval::new(operator(*uid), crate::Digest::of(b"another"), now);
            intent.apply(&IntentChange::Approve { approval }, now)
        }
        Act::Deny { uid } => intent
            .apply(&IntentChange::Deny { decider: operator(*uid).into(), reason: reason() }, now),
        Act::Cancel { own } => intent.apply(&IntentChange::Cancel { by: by(*own) }, now),
        Act::Complete { own } => intent.apply(
            &IntentChange::Complete { by: by(*own), outcome: Outcome::Success, report: None },
            now,
        ),
        Act::Revoke => {
            intent.apply(&IntentChange::Revoke { actor: "model".to_owned(), reason: reason() }, now)
        }
        Act::End(why) => {
            let (why, code) = (*why, DenialCode::TicketClosed);
            let by = "issuer".to_owned();
            intent.apply(&IntentChange::End { why, code, by, reason: None }, now)
        }
        Act::Heard { own } => intent.apply(&IntentChange::Heard { by: Some(by(*own)) }, now),
        Act::Expire => intent.apply(&IntentChange::Expire, now),
        Act::Redeem { token, own } => {
            let wanted = Use {
                agent: &by(*own),
                grant_digest: intent.grant().digest(),
                token_id: &token.to_string(),
                token_expires_at: intent.token_deadline(now),
                facts: TokenFacts::default(),
                epoch: 0,
            };
            intent.redeem(&wanted, now).map(|(next, event)| (next, vec![event]))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_story_stays_within_the_drawing(
        uses in 1..4_u32,
        approvals in 1..4_u32,
        idle in prop::option::of(60..600_u64),
        story in prop::collection::vec((act(), 0..400_i64), 1..40),
    ) {
        let mut intent = with_idle_clock(&pending(uses, approvals), idle);
        let mut model = Model::default();
        let mut clock = 0;
        for (act, pause) in story {
            clock += pause;
            let now = at(clock);
            let before = intent.clone();
            let due = before.expire_if_due(now).is_some();
            match perform(&before, &act, now) {
                Ok((next, events)) if events.is_empty() => prop_assert_eq!(&next, &before),
                Ok((next, _)) => {
                    prop_assert!(!before.state().is_terminal(), "an end was left: {:?}", act);
                    prop_assert!(is_drawn(before.state(), next.state()), "{} to {}", before.state(), next.state());
                    prop_assert!(!due || matches!(next.state(), State::Expired | State::ClosedUnreported), "a due clock was passed over by {:?}", act);
                    prop_assert_eq!(next.state_version(), before.state_version() + 1);
                    prop_assert!(next.changed_at() >= before.changed_at());
                    prop_assert_eq!(next.grant(), before.grant());
                    match act {
                        Act::Approve { uid, right_digest } => {
                            prop_assert!(right_digest && model.approvers.insert(uid));
                            let enough = model.approvers.len() >= approvals as usize;
                            prop_assert_eq!(next.state() == State::Approved, enough);
                        }
                        Act::Redeem { token, own } => {
                            prop_assert!(own && before.state().is_usable());
                            prop_assert!(model.tokens.insert(token), "a token id was redeemed twice");
                            model.issued += 1;
                            prop_assert_eq!(next.state() == State::Consumed, model.issued == uses);
                        }
                        Act::Cancel { own } | Act::Complete { own } | Act::Heard { own } => prop_assert!(own),
                        // Whoever refuses has not approved.
                        Act::Deny { uid } => { model.approvers.remove(&uid); }
                        Act::Revoke | Act::End(_) | Act::Expire => {}
                    }
                    intent = next;
                }
                // A store keeps a due expiry also when the change is refused.
                Err(_) => {
                    if let Some((expired, _)) = before.expire_if_due(now) {
                        intent = expired;
                    }
                }
            }
            let reasoned = matches!(intent.state(), State::Expired | State::Revoked | State::ClosedUnreported);
            prop_assert_eq!(intent.ended_for().is_some(), reasoned || (intent.state() == State::Denied && intent.ended_by() == Some("issuer")));
            let silent = intent.state().is_terminal() && intent.state() != State::Completed && model.issued > 0;
            prop_assert_eq!(intent.is_unreported(), silent);
            prop_assert_eq!(intent.uses_left() + model.issued, uses, "a use was lost or doubled");
            prop_assert_eq!(intent.uses().len(), model.issued as usize);
            prop_assert_eq!(intent.approvals().len(), model.approvers.len());
            if model.issued > 0 {
                prop_assert!(model.approvers.len() >= approvals as usize, "used without its approvals");
            }
        }
    }

    #[test]
    fn no_token_outlives_the_ceilings(uses in 1..5_u32, pauses in prop::collection::vec(0..300_i64, 1..6)) {
        let mut intent = crate::fixtures::approved(uses);
        let mut clock = 60;
        for (token, pause) in pauses.into_iter().enumerate() {
            clock += pause;
            let redeem = Act::Redeem { token: u8::try_from(token).unwrap(), own: true };
            let Ok((next, _)) = perform(&intent, &redeem, at(clock)) else { break };
            intent = next;
        }
        let first = intent.uses().first().map(|used| used.at);
        for used in intent.uses() {
            prop_assert!(used.token_expires_at <= plus(used.at, intent.grant().token_lifetime));
            prop_assert!(used.token_expires_at <= plus(first.unwrap(), intent.grant().max_duration));
            prop_assert!(used.token_expires_at <= intent.grant().not_after);
        }
    }
}
