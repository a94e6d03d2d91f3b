//! Nothing is answered before it is durable, and nothing is half done.

use futures::future::join_all;
use marque_audit::{EventKind, LogStore};
use marque_exchange::TokenStore;
use marque_intent::{IntentStore, IntentStoreError, KillScope};
use marque_registry::EntryStore;
use marque_store::StoreError;

use crate::engine::Engine;
use crate::fixture::*;

pub(crate) async fn what_is_answered_is_durable_by_the_engines_own_word(engine: impl Engine) {
    let store = engine.open().await;
    for (setting, value) in engine.durable_settings() {
        assert_eq!(store.durability().setting(setting), Some(value), "{setting}");
    }
}

pub(crate) async fn the_commit_comes_before_the_answer(engine: impl Engine) {
    let store = engine.open().await;
    for round in 1..=20 {
        let intent = submit(&store, approved(agent("a"), 1)).await;
        assert_eq!(engine.number("SELECT count(*) FROM intents").await, round);
        assert_eq!(engine.number("SELECT size FROM head").await, 3 * round - 1);
        store.redeem(redemption(&intent, START)).await.unwrap();
        assert_eq!(engine.number("SELECT count(*) FROM tokens").await, round);
        assert_eq!(engine.number("SELECT count(*) FROM leaves").await, 3 * round);
    }
}

pub(crate) async fn a_commit_that_fails_answers_nobody_and_leaves_no_gap(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 5)).await;
    engine.break_commits().await;
    let redeemed = join_all((0..8).map(|_| store.redeem(redemption(&intent, START)))).await;
    assert!(
        redeemed.iter().all(|answer| matches!(answer, Err(marque_exchange::RedeemError::Store(_))))
    );
    let (other, events) = approved(agent("b"), 1);
    let submitted = store.submit(other.clone(), events, None).await;
    assert!(matches!(submitted, Err(IntentStoreError::Unavailable(_))), "{submitted:?}");
    assert!(store.record_refusal(refusal()).await.is_err());
    engine.mend_commits().await;
    assert_eq!(engine.number("SELECT count(*) FROM tokens").await, 0);
    assert_eq!(store.find(other.id()).await.unwrap(), None);
    assert_eq!(store.find(intent.id()).await.unwrap().unwrap().uses_left(), 5);
    // The log goes on where it was: two leaves of the first intent, then this one.
    assert_eq!(store.append(refusal()).await.unwrap(), 2);
    store.redeem(redemption(&intent, START)).await.unwrap();
    assert_eq!(leaves(&store).await.len(), 4);
}

pub(crate) async fn one_refused_transaction_takes_nobody_else_down(engine: impl Engine) {
    let store = engine.open().await;
    let event =
        |n| if n % 3 == 0 { refusal().with_detail("pad", "x".repeat(70_000)) } else { refusal() };
    let answers = join_all((0..60).map(|n| store.append(event(n)))).await;
    let (refused, mut numbers): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_err);
    assert_eq!(refused.len(), 20);
    let mut numbers: Vec<_> = numbers.drain(..).map(Result::unwrap).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    assert_eq!(leaves(&store).await.len(), 40);
}

pub(crate) async fn everything_is_there_after_opening_again(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 2)).await;
    let redemption = redemption(&intent, START);
    let token = redemption.token.id.clone();
    let redeemed = store.redeem(redemption).await.unwrap().intent;
    store.create(entry("one", "/agent/one")).await.unwrap();
    store.kill(kill(KillScope::Agent(agent("b"))), START).await.unwrap();
    let before = leaves(&store).await;
    drop(store);
    let store = engine.open().await;
    assert_eq!(leaves(&store).await, before);
    assert_eq!(*store.changed().borrow(), before.len() as u64);
    assert_eq!(store.find(intent.id()).await.unwrap(), Some(redeemed.clone()));
    let (record, of) = store.token(&token).await.unwrap().unwrap();
    assert_eq!((record.id, of), (token, redeemed));
    assert_eq!(store.entries().await.unwrap(), [entry("one", "/agent/one")]);
    assert_eq!(TokenStore::kill_state(&*store).epoch, 1);
    assert_eq!(count(&store, EventKind::Kill).await, 1);
}

pub(crate) async fn the_store_of_another_trust_domain_is_refused(engine: impl Engine) {
    let store = engine.open().await;
    drop(store);
    engine.execute("UPDATE store SET value = 'dev.example.org' WHERE name = 'trust_domain'").await;
    let refused = engine.open_for(engine.trust_domain()).await;
    assert!(
        matches!(&refused, Err(StoreError::OtherTrustDomain { found }) if found == "dev.example.org"),
        "{refused:?}"
    );
}
