//! Kills under load: a process of its own redeems uses with several hands at once and gets SIGKILL in the middle of it, again
//! and again over the same store. Nothing that it was told is lost, and nothing is there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use marque_exchange::{RedeemError, Redemption, TokenId, TokenStore};
use marque_intent::{DenialCode, Intent, IntentId, IntentStore};
use marque_store::Store;
use marque_testkit::SeededRandom;

use crate::cases::stories::agree;
use crate::engine::{Engine, Postgres, Sqlite, reached, variable};
use crate::fixture::*;

/// The words by which a process that redeems reaches the store, and the seed of its ids: JSON.
const ORDER: &str = "MARQUE_STORE_CRASH_ORDER";
const THIS_TEST: &str = "crash::a_process_redeems_until_it_is_killed";
/// How often the process is killed; `MARQUE_CRASH_ROUNDS` says otherwise.
const DEFAULT_ROUNDS: u64 = 2;
const HANDS: usize = 8;
const INTENTS: usize = 16;
const USES: u32 = 3;

fn rounds() -> u64 {
    variable("MARQUE_CRASH_ROUNDS").map_or(DEFAULT_ROUNDS, |text| text.parse().unwrap())
}

/// One line: what somebody was told.
fn say(words: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{words}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// An intent with an id that no other process makes.
fn opened(random: &SeededRandom) -> Opened {
    let mut terms = approved(agent("a"), USES).0.grant().terms().clone();
    terms.intent_id = IntentId::generate(random, START).unwrap();
    of_terms(terms)
}

fn wanted(intent: &Intent, random: &SeededRandom) -> Redemption {
    let mut wanted = redemption(intent, START);
    wanted.token.id = TokenId::generate(random, START).unwrap();
    wanted
}

/// Redeems uses of these intents until there are none, and says what it was given.
async fn redeem_all(store: Arc<Store>, intents: Vec<Intent>, random: Arc<SeededRandom>) {
    for intent in intents {
        loop {
            match store.redeem(wanted(&intent, &random)).await {
                Ok(redeemed) => say(&format!("token {} {}", intent.id(), redeemed.token.id)),
                Err(RedeemError::Refused(denial)) => {
                    assert_eq!(denial.code(), DenialCode::GrantConsumed);
                    break;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "not a test: others run a copy of this program to be killed"]
async fn a_process_redeems_until_it_is_killed() {
    let Some(order) = variable(ORDER) else { return };
    let (seed, way): (u64, Vec<String>) = serde_json::from_str(&order).unwrap();
    let random = Arc::new(SeededRandom::new(seed));
    let store = reached(&way).await;
    loop {
        let mut intents = Vec::new();
        for _ in 0..INTENTS {
            let intent = submit(&store, opened(&random)).await;
            say(&format!("intent {}", intent.id()));
            intents.push(intent);
        }
        let hands = (0..HANDS).map(|first| {
            // Each begins elsewhere, and all come to all.
            let mut own = intents.clone();
            own.rotate_left(first);
            tokio::spawn(redeem_all(store.clone(), own, random.clone()))
        });
        for hand in hands.collect::<Vec<_>>() {
            hand.await.unwrap();
        }
    }
}

/// Ends the process when the test does.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a process was told before it was killed: the tokens by intent.
fn told_until_killed(engine: &impl Engine, seed: u64) -> BTreeMap<IntentId, BTreeSet<String>> {
    let order = serde_json::to_string(&(seed, engine.way())).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([THIS_TEST, "--exact", "--ignored", "--nocapture"])
        .env(ORDER, order)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    // Another moment in each round, and early ones too.
    let enough = 3 + usize::try_from(seed).unwrap() * 17 % 90;
    let (mut told, mut tokens) = (BTreeMap::<IntentId, BTreeSet<String>>::new(), 0);
    for line in lines {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["intent", id] => {
                told.entry(id.parse().unwrap()).or_default();
            }
            ["token", id, token] => {
                let own = told.get_mut(&id.parse().unwrap()).unwrap();
                assert!(own.insert((*token).to_owned()), "a token id was given twice");
                tokens += 1;
                if tokens == enough {
                    child.0.kill().unwrap();
                }
            }
            // The test harness says a few words of its own.
            _ => {}
        }
    }
    assert!(tokens >= enough, "it ended by itself after {tokens} tokens");
    told
}

async fn a_killed_process_loses_no_use_and_doubles_none(engine: impl Engine) {
    let mut after_all = BTreeMap::new();
    for round in 1..=rounds() {
        let told = tokio::task::block_in_place(|| told_until_killed(&engine, 1000 + round));
        let store = engine.open().await;
        let leaves_then = leaves(&store).await;
        let random = SeededRandom::new(2000 + round);
        for (id, tokens) in &told {
            let row = store.find(id).await.unwrap().unwrap();
            agree(&row, &leaves_then);
            let kept: BTreeSet<String> =
                row.uses().iter().map(|used| used.token_id.clone()).collect();
            assert!(tokens.is_subset(&kept), "round {round}: a use that was answered is gone");
            // What was not answered may have been redeemed; the rest is there, and not once more.
            for _ in 0..row.uses_left() {
                store.redeem(wanted(&row, &random)).await.unwrap();
            }
            match store.redeem(wanted(&row, &random)).await {
                Err(RedeemError::Refused(denial)) => {
                    assert_eq!(denial.code(), DenialCode::GrantConsumed);
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        after_all.extend(told);
    }
    let store = engine.open().await;
    let leaves = leaves(&store).await;
    for id in after_all.keys() {
        agree(&store.find(id).await.unwrap().unwrap(), &leaves);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_on_sqlite_loses_no_use_and_doubles_none() {
    a_killed_process_loses_no_use_and_doubles_none(Sqlite::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_on_postgres_loses_no_use_and_doubles_none() {
    if let Some(engine) = Postgres::new().await {
        a_killed_process_loses_no_use_and_doubles_none(engine).await;
    }
}
