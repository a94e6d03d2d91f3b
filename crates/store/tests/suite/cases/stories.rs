//! The life of intents against a model, in a real store: several actors at once, crashes in between, and in the end the
//! rows, the model and the log say the same.
//!
//! Stories are drawn by proptest; one that fails is cut down to the acts that it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use marque_audit::{EventKind, Leaf};
use marque_exchange::{RedeemError, TokenStore};
use marque_intent::{
    ChangeError, DenialCode, EndReason, Intent, IntentChange, IntentId, IntentStore, Outcome, State,
};
use marque_store::Store;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use tokio::runtime::Handle;

use crate::engine::Engine;
use crate::fixture::*;

const INTENTS: usize = 6;
const ACTORS: usize = 8;
/// Each goes to a real database some hundred times.
const STORIES: u32 = 10;

#[derive(Debug, Clone, Copy)]
enum Act {
    Redeem,
    Approve,
    Cancel,
    Complete,
    Revoke,
    Lose,
    Expire,
}

/// What goes on at once, after a pause: who does what with which intent. Sometimes the process ends after it.
#[derive(Debug, Clone)]
struct Round {
    pause: u64,
    acts: Vec<(usize, Act)>,
    crash: bool,
}

/// Intents that wait, or have so many uses, and what becomes of them.
#[derive(Debug, Clone)]
struct Story {
    intents: Vec<Option<u32>>,
    rounds: Vec<Round>,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => Just(Act::Redeem),
        4 => Just(Act::Approve),
        1 => Just(Act::Cancel),
        1 => Just(Act::Complete),
        1 => Just(Act::Revoke),
        1 => Just(Act::Lose),
        2 => Just(Act::Expire),
    ]
}

fn stories() -> impl Strategy<Value = Story> {
    let acts = prop::collection::vec((0..INTENTS, act()), 1..=ACTORS);
    let round = (0..120_u64, acts, prop::bool::weighted(0.2))
        .prop_map(|(pause, acts, crash)| Round { pause, acts, crash });
    let intents = prop::collection::vec(prop::option::of(1..4_u32), INTENTS);
    (intents, prop::collection::vec(round, 1..12))
        .prop_map(|(intents, rounds)| Story { intents, rounds })
}

/// What an actor was told.
#[derive(Debug)]
enum Told {
    Token(IntentId, String),
    State(IntentId, State),
    Nothing,
}

async fn play(store: Arc<Store>, intent: Intent, act: Act, seconds: u64) -> Told {
    let (id, now) = (intent.id().clone(), after(seconds));
    let change = match act {
        Act::Redeem => {
            let redemption = redemption(&intent, now);
            let token = redemption.token.id.to_string();
            return match store.redeem(redemption).await {
                Ok(_) => Told::Token(id, token),
                Err(RedeemError::Refused(_)) => Told::Nothing,
                Err(other) => panic!("{other:?}"),
            };
        }
        Act::Approve => approval(&intent),
        Act::Cancel => IntentChange::Cancel { by: intent.agent().clone() },
        Act::Complete => IntentChange::Complete {
            by: intent.agent().clone(),
            outcome: Outcome::Success,
            report: None,
        },
        Act::Revoke => {
            IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason: reason() }
        }
        Act::Lose => IntentChange::End {
            why: EndReason::AgentLost,
            code: DenialCode::GrantExpired,
            by: "node".to_owned(),
            reason: None,
        },
        Act::Expire => IntentChange::Expire,
    };
    match store.change(id.clone(), change, now).await {
        Ok(intent) => Told::State(id, intent.state()),
        Err(ChangeError::Refused(_)) => Told::Nothing,
        Err(other) => panic!("{other:?}"),
    }
}

/// What was told to anybody, which has to stay true.
#[derive(Debug, Default)]
struct Model {
    tokens: BTreeMap<IntentId, BTreeSet<String>>,
    ended: BTreeMap<IntentId, State>,
}

impl Model {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Token(id, token) => {
                assert!(self.tokens.entry(id).or_default().insert(token), "a token id came twice");
            }
            Told::State(id, state) if state.is_terminal() => {
                let before = self.ended.insert(id, state);
                assert!(before.is_none_or(|before| before == state), "an end was left");
            }
            Told::State(..) | Told::Nothing => {}
        }
    }

    /// The rows and the log say what anybody was told, and nothing that could not be.
    async fn compare(&self, store: &Store, intents: &[Intent]) {
        let leaves = leaves(store).await;
        for intent in intents {
            let id = intent.id();
            let row = store.find(id).await.unwrap().unwrap();
            agree(&row, &leaves);
            let none = BTreeSet::new();
            let kept: BTreeSet<String> =
                row.uses().iter().map(|used| used.token_id.clone()).collect();
            assert_eq!(&kept, self.tokens.get(id).unwrap_or(&none), "uses of {id}");
            if let Some(ended) = self.ended.get(id) {
                assert_eq!(row.state(), *ended, "an end was left");
            }
        }
    }
}

/// The row of an intent and its log say the same: as many uses as were granted, each for one token, and no step that is
/// not drawn.
pub(crate) fn agree(row: &Intent, leaves: &[Leaf]) {
    let id = row.id();
    let kept: BTreeSet<String> = row.uses().iter().map(|used| used.token_id.clone()).collect();
    assert_eq!(kept.len(), row.uses().len(), "a token id was redeemed twice for {id}");
    let spent = u32::try_from(kept.len()).unwrap();
    assert_eq!(row.uses_left() + spent, row.grant().uses, "a use of {id} was lost or doubled");
    let of_intent = || {
        let events = leaves.iter().map(Leaf::event);
        events.filter(|event| event.intent.as_deref() == Some(id.as_str()))
    };
    let issued: Vec<String> = of_intent()
        .filter(|event| event.kind == EventKind::TokenIssued)
        .filter_map(|event| event.token_id.clone())
        .collect();
    assert_eq!(issued.len(), kept.len(), "the log of {id} has a use twice, or not at all");
    assert_eq!(issued.into_iter().collect::<BTreeSet<_>>(), kept, "the log of {id}");
    let mut told = None;
    for state in of_intent().filter_map(|event| state_of(event.kind)) {
        assert!(is_drawn(told, state), "{told:?} to {state} in the log of {id}");
        told = Some(state);
    }
    let says = match (told, row.uses_left()) {
        (Some(State::Active), 0) => Some(State::Consumed),
        (told, _) => told,
    };
    assert_eq!(says, Some(row.state()), "the log of {id} and its row");
}

/// The edges of specs/intents.md 2, as the log tells them: it has no event for the last use.
fn is_drawn(from: Option<State>, to: State) -> bool {
    use State::{
        Active, Approved, Cancelled, ClosedUnreported, Completed, Denied, Expired, Pending, Revoked,
    };
    match from {
        None => matches!(to, Pending | Approved | Denied),
        Some(Pending) => matches!(to, Pending | Approved | Denied | Cancelled | Expired),
        Some(Approved) => matches!(to, Active | Revoked | Cancelled | Expired),
        Some(Active) => {
            matches!(to, Active | Completed | Revoked | Expired | ClosedUnreported)
        }
        Some(_) => false,
    }
}

/// The state that an event brings an intent to, if it brings it to one.
fn state_of(kind: EventKind) -> Option<State> {
    Some(match kind {
        EventKind::IntentPending => State::Pending,
        EventKind::IntentApproved => State::Approved,
        EventKind::TokenIssued => State::Active,
        EventKind::IntentDenied => State::Denied,
        EventKind::IntentCancelled => State::Cancelled,
        EventKind::IntentExpired => State::Expired,
        EventKind::IntentCompleted => State::Completed,
        EventKind::IntentClosedUnreported => State::ClosedUnreported,
        EventKind::IntentRevoked => State::Revoked,
        _ => return None,
    })
}

async fn play_out(engine: &impl Engine, story: Story) {
    let mut store = engine.open().await;
    let mut intents = Vec::new();
    for uses in story.intents {
        let opened = uses.map_or_else(|| pending(agent("a")), |uses| approved(agent("a"), uses));
        intents.push(submit(&store, opened).await);
    }
    let (mut model, mut seconds) = (Model::default(), 0);
    for Round { pause, acts, crash } in story.rounds {
        seconds += pause;
        let actors = acts.into_iter().map(|(which, act)| {
            tokio::spawn(play(store.clone(), intents[which].clone(), act, seconds))
        });
        for told in join_all(actors).await {
            model.hear(told.unwrap());
        }
        if crash {
            // Nothing of what was answered may be lost with the process.
            drop(store);
            store = engine.open().await;
        }
        model.compare(&store, &intents).await;
    }
}

pub(crate) async fn no_story_takes_an_illegal_edge_or_loses_a_use_whoever_acts_at_once(
    engine: impl Engine,
) {
    let config = ProptestConfig { cases: STORIES, max_shrink_iters: 200, ..Default::default() };
    let told = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&stories(), |story| {
            Handle::current().block_on(play_out(&engine, story));
            Ok::<(), TestCaseError>(())
        })
    });
    if let Err(failed) = told {
        panic!("{failed}");
    }
}
