//! Proofs that count once: remembered durably, for as long as they would be accepted and no longer, and bounded.

use futures::future::join_all;
use marque_audit::EventKind;
use marque_exchange::{
    Freshness, ProofKind, RedeemError, ReplayKey, ReplayStore, SingleUse, Thumbprint, TokenStore,
};
use marque_intent::IntentStore;
use marque_store::Store;
use std::time::Duration;

use crate::engine::Engine;
use crate::fixture::*;

/// As many as a store remembers at once.
const MAX_REPLAYS: i64 = 1 << 21;

async fn show(store: &Store, proof: SingleUse) -> Freshness {
    store.remember(vec![proof]).await.unwrap()
}

pub(crate) async fn oauth_21_replay_racing_of_64_who_show_one_proof_one_is_fresh(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let tasks = (0..64).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { show(&store, proof(1, after(70))).await })
    });
    let fresh = join_all(tasks).await.into_iter().map(Result::unwrap);
    assert_eq!(fresh.filter(|fresh| *fresh == Freshness::Fresh).count(), 1);
    assert_eq!(engine.number("SELECT count(*) FROM replays").await, 1);
    assert_eq!(engine.number("SELECT kept FROM replay_count").await, 1);
}

pub(crate) async fn oauth_21_replay_after_restart_of_a_proof_is_refused(engine: impl Engine) {
    let store = engine.open().await;
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Fresh);
    drop(store);
    let store = engine.open().await;
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Replayed);
    assert_eq!(show(&store, proof(2, after(70))).await, Freshness::Fresh);
}

pub(crate) async fn cve_2020_5300_the_jti_of_an_assertion_is_remembered_durably(
    engine: impl Engine,
) {
    let subject = Thumbprint::new([7; 32]);
    let named = |jti| SingleUse {
        key: ReplayKey::new(ProofKind::ClientAssertion, &subject, jti),
        until: after(70),
    };
    let store = engine.open().await;
    assert_eq!(show(&store, named("one")).await, Freshness::Fresh);
    drop(store);
    let store = engine.open().await;
    assert_eq!(show(&store, named("one")).await, Freshness::Replayed);
    assert_eq!(show(&store, named("two")).await, Freshness::Fresh);
}

pub(crate) async fn oauth_7_5_a_proof_is_remembered_to_the_last_instant_and_not_past_it(
    engine: impl Engine,
) {
    let store = engine.open().await;
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Fresh);
    engine.clock().advance(Duration::from_secs(70));
    // The last instant at which it would be accepted: others are written, and it is still known.
    assert_eq!(show(&store, proof(2, after(140))).await, Freshness::Fresh);
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Replayed);
    engine.clock().advance(Duration::from_micros(1));
    // Past it, nobody accepts it any more; another proof of its name is another proof.
    assert_eq!(show(&store, proof(3, after(70))).await, Freshness::Replayed);
    assert_eq!(show(&store, proof(1, after(141))).await, Freshness::Fresh);
    assert_eq!(engine.number("SELECT count(*) FROM replays").await, 2);
    assert_eq!(engine.number("SELECT kept FROM replay_count").await, 2);
}

pub(crate) async fn what_was_forgotten_stays_refused_when_the_clock_steps_back(
    engine: impl Engine,
) {
    let store = engine.open().await;
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Fresh);
    engine.clock().advance(Duration::from_secs(71));
    assert_eq!(show(&store, proof(2, after(200))).await, Freshness::Fresh);
    assert_eq!(engine.number("SELECT count(*) FROM replays").await, 1);
    engine.clock().set(START);
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Replayed);
}

pub(crate) async fn proofs_whose_time_is_over_do_not_pile_up(engine: impl Engine) {
    let store = engine.open().await;
    for round in 0_u32..20 {
        let shown = (0..100).map(|n| proof(round * 1000 + n, after(70 * u64::from(round + 1) - 1)));
        let all = store.remember(shown.collect()).await.unwrap();
        assert_eq!(all, Freshness::Fresh);
        engine.clock().advance(Duration::from_secs(70));
    }
    let kept = engine.number("SELECT kept FROM replay_count").await;
    assert_eq!(kept, engine.number("SELECT count(*) FROM replays").await);
    assert_eq!(kept, 100);
}

pub(crate) async fn oauth_7_6_one_proof_more_than_there_is_room_for_is_refused(
    engine: impl Engine,
) {
    let store = engine.open().await;
    engine.execute(&format!("UPDATE replay_count SET kept = {}", MAX_REPLAYS - 1)).await;
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Fresh);
    let intent = submit(&store, approved(agent("a"), 1)).await;
    assert!(store.remember(vec![proof(2, after(70))]).await.is_err());
    let mut wanted = redemption(&intent, START);
    wanted.proofs = vec![proof(3, after(70))];
    assert!(matches!(store.redeem(wanted).await, Err(RedeemError::Store(_))));
    assert_eq!(store.find(intent.id()).await.unwrap(), Some(intent));
    // One that is known takes no room, and is told so.
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Replayed);
}

pub(crate) async fn of_several_proofs_all_are_remembered_or_none(engine: impl Engine) {
    let store = engine.open().await;
    let (one, two, three) = (proof(1, after(70)), proof(2, after(70)), proof(3, after(70)));
    assert_eq!(store.remember(vec![one, two]).await.unwrap(), Freshness::Fresh);
    assert_eq!(store.remember(vec![three, two]).await.unwrap(), Freshness::Replayed);
    assert_eq!(store.remember(vec![three]).await.unwrap(), Freshness::Fresh);
    let twice = proof(4, after(70));
    assert_eq!(store.remember(vec![twice, twice]).await.unwrap(), Freshness::Replayed);
    assert_eq!(store.remember(Vec::new()).await.unwrap(), Freshness::Fresh);
}

pub(crate) async fn oauth_7_5_of_64_uses_with_one_proof_one_is_redeemed_in_one_commit(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 64)).await;
    let tasks = (0..64).map(|_| {
        let (store, mut wanted) = (store.clone(), redemption(&intent, START));
        wanted.proofs = vec![proof(1, after(70))];
        tokio::spawn(async move { store.redeem(wanted).await })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let replayed = |answer: &&Result<_, RedeemError>| matches!(answer, Err(RedeemError::Replayed));
    assert_eq!(answers.iter().filter(replayed).count(), 63);
    assert_eq!(count(&store, EventKind::TokenIssued).await, 1);
    assert_eq!(store.find(intent.id()).await.unwrap().unwrap().uses_left(), 63);
}

pub(crate) async fn a_proof_shown_for_a_use_that_is_refused_counts_no_more(engine: impl Engine) {
    let store = engine.open().await;
    let (unknown, _) = approved(agent("a"), 1);
    let mut wanted = redemption(&unknown, START);
    wanted.proofs = vec![proof(1, after(70))];
    assert!(matches!(store.redeem(wanted).await, Err(RedeemError::Refused(_))));
    assert_eq!(show(&store, proof(1, after(70))).await, Freshness::Replayed);
}

pub(crate) async fn oauth_7_6_a_proof_whose_commit_fails_is_answered_as_neither(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 2)).await;
    let wanted = || {
        let mut wanted = redemption(&intent, START);
        wanted.proofs = vec![proof(1, after(70))];
        wanted
    };
    engine.break_commits().await;
    assert!(matches!(store.redeem(wanted()).await, Err(RedeemError::Store(_))));
    engine.mend_commits().await;
    // Nothing was issued for it, and nothing of it was written.
    assert_eq!(engine.number("SELECT kept FROM replay_count").await, 0);
    assert!(store.redeem(wanted()).await.is_ok());
    assert_eq!(count(&store, EventKind::TokenIssued).await, 1);
}
