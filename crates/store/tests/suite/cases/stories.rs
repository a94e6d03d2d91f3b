//! The life of intents against a model, in a real store: several actors at once, crashes in between, and in the end the
//! rows, the model and the log say the same.
//!
//! Stories are drawn from a seeded generator; a failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use marque_audit::EventKind;
use marque_exchange::{RedeemError, TokenStore};
use marque_intent::{
    ChangeError, DenialCode, EndReason, Intent, IntentChange, IntentId, IntentStore, Outcome, State,
};
use marque_store::Store;

use crate::engine::Engine;
use crate::fixture::*;

const INTENTS: usize = 6;
const ROUNDS: usize = 12;
const ACTORS: usize = 8;

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

/// Draws by SplitMix64: small, and the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn act(dice: &mut Dice) -> Act {
    match dice.below(20) {
        0..10 => Act::Redeem,
        10..14 => Act::Approve,
        14 => Act::Cancel,
        15 => Act::Complete,
        16 => Act::Revoke,
        17 => Act::Lose,
        _ => Act::Expire,
    }
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
    fn hear(&mut self, told: Told, seed: u64) {
        match told {
            Told::Token(id, token) => {
                assert!(self.tokens.entry(id).or_default().insert(token), "seed {seed}: twice");
            }
            Told::State(id, state) if state.is_terminal() => {
                let before = self.ended.insert(id, state);
                assert!(
                    before.is_none_or(|before| before == state),
                    "seed {seed}: an end was left"
                );
            }
            Told::State(..) | Told::Nothing => {}
        }
    }

    /// The rows and the log say what anybody was told, and nothing that could not be.
    async fn compare(&self, store: &Store, intents: &[Intent], seed: u64) {
        let leaves = leaves(store).await;
        for intent in intents {
            let id = intent.id();
            let row = store.find(id).await.unwrap().unwrap();
            let none = BTreeSet::new();
            let tokens = self.tokens.get(id).unwrap_or(&none);
            let kept: BTreeSet<String> =
                row.uses().iter().map(|used| used.token_id.clone()).collect();
            assert_eq!(&kept, tokens, "seed {seed}: uses of {id}");
            let left = row.grant().uses - u32::try_from(kept.len()).unwrap();
            assert_eq!(row.uses_left(), left, "seed {seed}: a use was lost or doubled");
            if let Some(ended) = self.ended.get(id) {
                assert_eq!(row.state(), *ended, "seed {seed}: an end was left");
            }
            let of_intent = || {
                leaves
                    .iter()
                    .map(marque_audit::Leaf::event)
                    .filter(|event| event.intent.as_deref() == Some(id.as_str()))
            };
            let issued: BTreeSet<String> = of_intent()
                .filter(|event| event.kind == EventKind::TokenIssued)
                .filter_map(|event| event.token_id.clone())
                .collect();
            assert_eq!(issued, kept, "seed {seed}: the log of {id}");
            let told = of_intent().filter_map(|event| state_of(event.kind)).next_back();
            let says = match (told, row.uses_left()) {
                (Some(State::Active), 0) => Some(State::Consumed),
                (told, _) => told,
            };
            assert_eq!(says, Some(row.state()), "seed {seed}: the log of {id} and its row");
        }
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

async fn story(engine: &impl Engine, seed: u64) {
    let mut dice = Dice(seed);
    let mut store = engine.open().await;
    let mut intents = Vec::new();
    for number in 0..INTENTS {
        let opened = if dice.below(2) == 0 {
            pending(agent("a"))
        } else {
            approved(agent("a"), 1 + u32::try_from(number % 3).unwrap())
        };
        intents.push(submit(&store, opened).await);
    }
    let (mut model, mut seconds) = (Model::default(), 0);
    for _ in 0..ROUNDS {
        seconds += dice.below(120);
        let actors: Vec<_> = (0..ACTORS)
            .map(|_| {
                let intent = intents[usize::try_from(dice.below(INTENTS as u64)).unwrap()].clone();
                tokio::spawn(play(store.clone(), intent, act(&mut dice), seconds))
            })
            .collect();
        for told in join_all(actors).await {
            model.hear(told.unwrap(), seed);
        }
        if dice.below(5) == 0 {
            // Nothing of what was answered may be lost with the process.
            drop(store);
            store = engine.open().await;
        }
        model.compare(&store, &intents, seed).await;
    }
}

pub(crate) async fn no_story_takes_an_illegal_edge_or_loses_a_use_whoever_acts_at_once(
    engine: impl Engine,
) {
    for seed in 0..6 {
        story(&engine, seed).await;
    }
}
