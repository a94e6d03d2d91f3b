//! Deferrals: kept by digest, bounded, spent with their use.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use marque_audit::EventKind;
use marque_exchange::{
    Asked, Cancellation, DEFERRAL_RETENTION, Deferral, DeferralKind, DeferralState, DeferralStore,
    MAX_KEPT_DEFERRALS_PER_AGENT, MAX_OPEN_DEFERRALS_PER_AGENT, OpenedDeferral, POLL_INTERVAL,
    Pace, RedeemError, TokenStore,
};
use marque_intent::{Digest, Intent, IntentStore, State};

use crate::engine::Engine;
use crate::fixture::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A deferral of the intent's agent for ten minutes, unlike every other one.
fn deferral(intent: &Intent, now: Timestamp) -> Deferral {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Deferral {
        code: Digest::of(&number.to_be_bytes()),
        kind: DeferralKind::DeferredTokenResponse,
        client: intent.agent().clone(),
        binding: None,
        intent: intent.id().clone(),
        asked: Asked {
            audiences: [format!("https://{number}.example.org")].into(),
            ..Asked::default()
        },
        state: DeferralState::Open,
        opened_at: now,
        expires_at: now.checked_add(Duration::from_secs(600)).unwrap(),
        interval_s: POLL_INTERVAL.as_secs(),
        polled_at: None,
    }
}

async fn opened(store: &marque_store::Store, deferral: Deferral) -> Deferral {
    let answer = store.open_deferral(deferral.clone()).await.unwrap();
    assert_eq!(answer, OpenedDeferral::Kept);
    deferral
}

pub(crate) async fn a_deferral_is_there_after_opening_again(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let deferral = opened(&store, deferral(&intent, START)).await;
    let polled = store.poll_deferral(&deferral.code, START).await.unwrap().unwrap();
    assert_eq!((polled.pace, &polled.intent), (Pace::Kept, &intent));
    drop(store);
    let store = engine.open().await;
    assert_eq!(store.deferral(&deferral.code).await.unwrap(), Some(polled.deferral.clone()));
    // The pace is kept across it, too.
    let early = store.poll_deferral(&deferral.code, after(4)).await.unwrap().unwrap();
    assert_eq!((early.pace, early.deferral.interval_s), (Pace::TooFast, 10));
    assert_eq!(store.deferral(&Digest::of(b"another")).await.unwrap(), None);
    assert_eq!(store.poll_deferral(&Digest::of(b"another"), START).await.unwrap(), None);
}

pub(crate) async fn one_open_deferral_past_the_limit_is_refused(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let wanted = (0..2 * MAX_OPEN_DEFERRALS_PER_AGENT).map(|_| deferral(&intent, START));
    let answers = join_all(wanted.map(|deferral| store.open_deferral(deferral))).await;
    let kept = answers.iter().filter(|one| matches!(one, Ok(OpenedDeferral::Kept))).count();
    assert_eq!(kept, MAX_OPEN_DEFERRALS_PER_AGENT, "{answers:?}");
    assert_eq!(store.open_deferrals(&agent("a"), START).await.unwrap(), kept);
    // Another agent has its own.
    let other = submit(&store, pending(agent("b"))).await;
    opened(&store, deferral(&other, START)).await;
    // And what has ended makes room.
    assert_eq!(store.open_deferrals(&agent("a"), after(600)).await.unwrap(), 0);
    opened(&store, deferral(&intent, after(600))).await;
}

pub(crate) async fn the_same_request_takes_the_place_of_the_one_before(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let first = opened(&store, deferral(&intent, START)).await;
    let again = Deferral { code: Digest::of(b"again"), ..first.clone() };
    opened(&store, again.clone()).await;
    assert_eq!(store.deferral(&first.code).await.unwrap(), None);
    assert_eq!(store.deferral(&again.code).await.unwrap(), Some(again.clone()));
    // Bound to another key it is another one's.
    let bound = Deferral { code: Digest::of(b"bound"), kind: DeferralKind::Ciba, ..again.clone() };
    opened(&store, bound).await;
    assert!(store.deferral(&again.code).await.unwrap().is_some());
}

pub(crate) async fn what_ended_long_ago_is_forgotten(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let old = opened(&store, deferral(&intent, START)).await;
    let retained = 600 + DEFERRAL_RETENTION.as_secs();
    engine.clock().advance(Duration::from_secs(retained - 1));
    opened(&store, deferral(&intent, after(retained - 1))).await;
    assert!(store.deferral(&old.code).await.unwrap().is_some());
    engine.clock().advance(Duration::from_secs(1));
    opened(&store, deferral(&intent, after(retained))).await;
    assert_eq!(store.deferral(&old.code).await.unwrap(), None);
}

pub(crate) async fn an_agent_cannot_fill_the_table(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let mut codes = Vec::new();
    for second in 0..u64::try_from(MAX_KEPT_DEFERRALS_PER_AGENT + 3).unwrap() {
        let short = Deferral { expires_at: after(second + 1), ..deferral(&intent, after(second)) };
        codes.push(opened(&store, short).await.code);
    }
    let kept = engine.number("SELECT count(*) FROM deferrals").await;
    assert_eq!(usize::try_from(kept), Ok(MAX_KEPT_DEFERRALS_PER_AGENT));
    assert_eq!(store.deferral(&codes[2]).await.unwrap(), None, "the oldest went");
    assert!(store.deferral(&codes[3]).await.unwrap().is_some());
}

pub(crate) async fn a_code_is_spent_with_its_use_and_once(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 5)).await;
    let deferral = opened(&store, deferral(&intent, START)).await;
    let collect = || {
        let mut wanted = redemption(&intent, START);
        wanted.deferral = Some(deferral.code);
        store.redeem(wanted)
    };
    let answers = join_all((0..16).map(|_| collect())).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|answer| matches!(answer, Err(RedeemError::Spent))), "{lost:?}");
    assert_eq!(store.find(intent.id()).await.unwrap().unwrap().uses_left(), 4);
    assert_eq!(count(&store, EventKind::TokenIssued).await, 1);
    let spent = store.deferral(&deferral.code).await.unwrap().unwrap();
    assert_eq!(spent.state, DeferralState::Redeemed);
}

pub(crate) async fn a_use_that_is_refused_leaves_the_code_unspent(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let deferral = opened(&store, deferral(&intent, START)).await;
    let mut wanted = redemption(&intent, START);
    wanted.deferral = Some(deferral.code);
    let refused = store.redeem(wanted).await;
    assert!(matches!(refused, Err(RedeemError::Refused(_))), "{refused:?}");
    assert_eq!(store.deferral(&deferral.code).await.unwrap(), Some(deferral));
}

pub(crate) async fn a_code_of_another_intent_agent_or_time_is_spent_for_nothing(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 5)).await;
    let same_agent = submit(&store, approved(agent("a"), 5)).await;
    let other = submit(&store, approved(agent("b"), 5)).await;
    let deferral = opened(&store, deferral(&intent, START)).await;
    let spend = |of: &Intent, code, now| {
        let mut wanted = redemption(of, now);
        wanted.deferral = Some(code);
        store.redeem(wanted)
    };
    for (name, answer) in [
        ("another_intent", spend(&same_agent, deferral.code, START).await),
        ("another_agent", spend(&other, deferral.code, START).await),
        ("unknown", spend(&intent, Digest::of(b"unknown"), START).await),
        ("ended", spend(&intent, deferral.code, after(600)).await),
    ] {
        assert!(matches!(answer, Err(RedeemError::Spent)), "{name}: {answer:?}");
    }
    assert_eq!(count(&store, EventKind::TokenIssued).await, 0);
    spend(&intent, deferral.code, START).await.unwrap();
}

pub(crate) async fn a_cancelled_deferral_withdraws_its_intent_with_it(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let one = opened(&store, deferral(&intent, START)).await;
    let cancel = |code: Digest, by: &'static str| {
        let (store, by) = (store.clone(), agent(by));
        async move { store.cancel_deferral(&code, &by, START).await.unwrap() }
    };
    assert_eq!(cancel(one.code, "b").await, Cancellation::Nothing);
    assert_eq!(store.find(intent.id()).await.unwrap(), Some(intent.clone()));
    assert_eq!(cancel(one.code, "a").await, Cancellation::Cancelled);
    assert_eq!(store.find(intent.id()).await.unwrap().unwrap().state(), State::Cancelled);
    assert_eq!(count(&store, EventKind::IntentCancelled).await, 1);
    assert_eq!(cancel(one.code, "a").await, Cancellation::Nothing);
    assert_eq!(count(&store, EventKind::IntentCancelled).await, 1);
    // What was used stays what it is.
    let used = submit(&store, approved(agent("a"), 2)).await;
    let open = opened(&store, deferral(&used, START)).await;
    store.redeem(redemption(&used, START)).await.unwrap();
    assert_eq!(cancel(open.code, "a").await, Cancellation::Cancelled);
    assert_eq!(store.find(used.id()).await.unwrap().unwrap().state(), State::Active);
}

pub(crate) async fn of_a_cancellation_and_a_collection_one_wins(engine: impl Engine) {
    let store = engine.open().await;
    for _ in 0..20 {
        let intent = submit(&store, approved(agent("a"), 1)).await;
        let deferral = opened(&store, deferral(&intent, START)).await;
        let mut wanted = redemption(&intent, START);
        wanted.deferral = Some(deferral.code);
        let (by, code) = (agent("a"), deferral.code);
        let (redeemed, cancelled) =
            futures::join!(store.redeem(wanted), store.cancel_deferral(&code, &by, START));
        let cancelled = cancelled.unwrap() == Cancellation::Cancelled;
        assert_ne!(redeemed.is_ok(), cancelled);
        let state = store.find(intent.id()).await.unwrap().unwrap().state();
        assert_eq!(state, if cancelled { State::Cancelled } else { State::Consumed });
    }
}

pub(crate) async fn a_poll_keeps_an_expiry_that_is_due(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    let deferral = opened(&store, deferral(&intent, START)).await;
    let polled = store.poll_deferral(&deferral.code, after(1800)).await.unwrap().unwrap();
    assert_eq!(polled.intent.state(), State::Expired);
    assert_eq!(count(&store, EventKind::IntentExpired).await, 1);
}

pub(crate) async fn a_damaged_deferral_is_a_clear_error_and_its_neighbours_live(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    for damage in
        ["document = '{}'", "state = 'redeemed'", "client = 'spiffe://prod.example.org/agent/b'"]
    {
        let (damaged, good) = (deferral(&intent, START), deferral(&intent, START));
        let (damaged, good) = (opened(&store, damaged).await, opened(&store, good).await);
        engine
            .execute(&format!("UPDATE deferrals SET {damage} WHERE code = '{}'", damaged.code))
            .await;
        assert!(store.deferral(&damaged.code).await.is_err(), "{damage}");
        let (lost, won) = futures::join!(
            store.poll_deferral(&damaged.code, START),
            store.poll_deferral(&good.code, START),
        );
        assert!(lost.is_err(), "{damage}");
        assert!(won.unwrap().is_some(), "{damage}");
        engine.execute("DELETE FROM deferrals").await;
    }
}
