//! The kill switch: in force at once, with or without a database.

use std::time::Duration;

use futures::future::join_all;
use marque_audit::EventKind;
use marque_exchange::{RedeemError, TokenStore};
use marque_intent::{
    ChangeError, DenialCode, IntentChange, IntentStore, IntentStoreError, KillScope, KillState,
    StopPoint,
};
use marque_store::Store;

use crate::engine::Engine;
use crate::fixture::*;

async fn is_refused(store: &Store, intent: &marque_intent::Intent, expected: DenialCode) {
    match store.redeem(redemption(intent, START)).await {
        Err(RedeemError::Refused(denial)) => assert_eq!(denial.code(), expected),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_kill_refuses_redeeming_and_asking_from_then_on(engine: impl Engine) {
    let store = engine.open().await;
    let stopped = submit(&store, approved(agent("a"), 1)).await;
    let neighbour = submit(&store, approved(agent("b"), 2)).await;
    let watch = IntentStore::kill_state(&*store);
    let state = store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    assert_eq!(state.epoch, 1);
    assert_eq!(**watch.borrow(), state);
    assert_eq!(*TokenStore::kill_state(&*store), state);
    is_refused(&store, &stopped, DenialCode::KillSwitchAgent).await;
    let (again, events) = approved(agent("a"), 1);
    let asked = store.submit(again, events, None).await;
    assert!(
        matches!(asked, Err(IntentStoreError::Killed(DenialCode::KillSwitchAgent))),
        "{asked:?}"
    );
    store.redeem(redemption(&neighbour, START)).await.unwrap();
    store.kill(kill(KillScope::All), START).await.unwrap();
    is_refused(&store, &neighbour, DenialCode::KillSwitchGlobal).await;
    let kills: Vec<_> = leaves(&store)
        .await
        .into_iter()
        .filter(|leaf| leaf.event().kind == EventKind::Kill)
        .collect();
    assert_eq!(kills.iter().map(|leaf| leaf.event().epoch).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(kills[0].event().agent, Some(agent("a")));
}

pub(crate) async fn after_the_leaf_of_a_kill_no_use_follows(engine: impl Engine) {
    let store = engine.open().await;
    let intents = join_all((0..200).map(|_| submit(&store, approved(agent("a"), 1)))).await;
    let uses = intents.iter().map(|intent| {
        let (store, redemption) = (store.clone(), redemption(intent, START));
        tokio::spawn(async move { store.redeem(redemption).await.is_ok() })
    });
    let uses: Vec<_> = uses.collect();
    store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    let redeemed = join_all(uses).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    let leaves = leaves(&store).await;
    let place = |kind| leaves.iter().rposition(|leaf| leaf.event().kind == kind);
    assert!(place(EventKind::TokenIssued) < place(EventKind::Kill));
    assert_eq!(count(&store, EventKind::TokenIssued).await, redeemed);
}

pub(crate) async fn a_kill_holds_while_the_database_takes_nothing_and_is_recorded_later(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let stopped = submit(&store, approved(agent("a"), 1)).await;
    let neighbour = submit(&store, approved(agent("b"), 1)).await;
    engine.break_commits().await;
    let state = store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    assert_eq!((state.epoch, state.kills.len()), (1, 1));
    assert_eq!(*TokenStore::kill_state(&*store), state);
    assert_eq!(engine.number("SELECT count(*) FROM kills").await, 0);
    engine.mend_commits().await;
    // Whatever is written next takes the kill along, in front of itself.
    store.redeem(redemption(&neighbour, START)).await.unwrap();
    is_refused(&store, &stopped, DenialCode::KillSwitchAgent).await;
    assert_eq!(engine.number("SELECT count(*) FROM kills").await, 1);
    assert_eq!(engine.number("SELECT kill_epoch FROM head").await, 1);
    let kinds: Vec<_> = leaves(&store).await.iter().skip(4).map(|leaf| leaf.event().kind).collect();
    assert_eq!(kinds, [EventKind::Kill, EventKind::TokenIssued]);
    assert_eq!(*TokenStore::kill_state(&*store), state);
}

pub(crate) async fn a_kill_that_only_the_journal_has_is_recorded_after_opening_again(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let stopped = submit(&store, approved(agent("a"), 1)).await;
    engine.break_commits().await;
    let state = store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    drop(store);
    engine.mend_commits().await;
    let store = engine.open().await;
    assert_eq!(*TokenStore::kill_state(&*store), state);
    is_refused(&store, &stopped, DenialCode::KillSwitchAgent).await;
    assert_eq!(count(&store, EventKind::Kill).await, 1);
    drop(store);
    // Merging the journal once more changes nothing.
    let store = engine.open().await;
    store.record_refusal(refusal()).await.unwrap();
    assert_eq!(count(&store, EventKind::Kill).await, 1);
    assert_eq!(*TokenStore::kill_state(&*store), state);
}

pub(crate) async fn two_kills_at_once_are_two_epochs(engine: impl Engine) {
    let store = engine.open().await;
    let kills = ["a", "b", "c", "d"].map(|name| {
        let (store, kill) = (store.clone(), kill(KillScope::Agent(agent(name))));
        tokio::spawn(async move { store.kill(kill, START).await.unwrap() })
    });
    join_all(kills).await;
    let state = TokenStore::kill_state(&*store);
    assert_eq!(state.epoch, 4);
    assert_eq!(state.kills.iter().map(|kill| kill.epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(
        ["a", "b", "c", "d"]
            .iter()
            .all(|name| state.stops_agent(&agent(name), StopPoint::Use).is_some())
    );
    assert_eq!(count(&store, EventKind::Kill).await, 4);
    drop(store);
    assert_eq!(TokenStore::kill_state(&*engine.open().await), state);
}

pub(crate) async fn what_a_kill_stops_is_not_approved_any_more(engine: impl Engine) {
    let store = engine.open().await;
    let stopped = submit(&store, pending(agent("a"))).await;
    let other = submit(&store, pending(agent("b"))).await;
    store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    let refused = store.change(stopped.id().clone(), approval(&stopped), START).await;
    let Err(ChangeError::Refused(denial)) = refused else { panic!("{refused:?}") };
    assert_eq!(denial.code(), DenialCode::KillSwitchAgent);
    assert_eq!(count(&store, EventKind::ApprovalRefused).await, 1);
    assert_eq!(store.find(stopped.id()).await.unwrap(), Some(stopped.clone()));
    // It may still be refused for good, and another agent's is approved as ever.
    let deny = IntentChange::Deny { decider: alice().into(), reason: reason() };
    store.change(stopped.id().clone(), deny, START).await.unwrap();
    store.change(other.id().clone(), approval(&other), START).await.unwrap();
    assert_eq!(count(&store, EventKind::IntentApproved).await, 1);
}

pub(crate) async fn what_is_lifted_goes_on_also_after_opening_again(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 2)).await;
    let killed = store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    is_refused(&store, &intent, DenialCode::KillSwitchAgent).await;
    let lifted = store.order(lift(&killed.kills[0]), START).await.unwrap();
    assert_eq!((lifted.epoch, lifted.kills.len()), (2, 0));
    store.redeem(redemption(&intent, START)).await.unwrap();
    assert_eq!(count(&store, EventKind::KillLifted).await, 1);
    drop(store);
    let store = engine.open().await;
    assert_eq!(*TokenStore::kill_state(&*store), lifted);
    // The journal has both too: merging it again changes nothing.
    store.record_refusal(refusal()).await.unwrap();
    assert_eq!(count(&store, EventKind::Kill).await, 1);
    assert_eq!(count(&store, EventKind::KillLifted).await, 1);
}

pub(crate) async fn of_one_origin_there_is_one_kill_also_after_its_lift_and_opening_again(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let stops = async |store: &Store, word: &str, second: u64| {
        let order = kill_of(word, KillScope::Agent(agent("a")));
        store.kill(order, START + Duration::from_secs(second)).await.unwrap()
    };
    let stands = |state: &KillState| (state.epoch, state.kills.len());
    // None of these is recorded when the next comes.
    engine.break_commits().await;
    for second in 0..3 {
        assert_eq!(stands(&stops(&store, "one", second).await), (1, 1));
    }
    engine.mend_commits().await;
    let state = stops(&store, "one", 3).await;
    assert_eq!(stands(&state), (1, 1));
    assert_eq!(engine.number("SELECT count(*) FROM kills").await, 1);
    assert_eq!(count(&store, EventKind::Kill).await, 1);
    let state = store.order(lift(&state.kills[0]), START + Duration::from_secs(4)).await.unwrap();
    assert_eq!(stands(&state), (2, 0));
    assert_eq!(stands(&stops(&store, "one", 5).await), (2, 0), "it was lifted");
    assert_eq!(stands(&stops(&store, "another", 6).await), (3, 1));
    drop(store);
    let store = engine.open().await;
    assert_eq!(stands(&TokenStore::kill_state(&*store)), (3, 1));
    assert_eq!(stands(&stops(&store, "one", 7).await), (3, 1));
    assert_eq!(engine.number("SELECT count(*) FROM kills").await, 3);
}
