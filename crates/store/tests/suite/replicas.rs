//! Two replicas over one database.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use marque_audit::{EventKind, LogStore};
use marque_exchange::{Freshness, RedeemError, ReplayStore, TokenLifeStore, TokenStore, is_live};
use marque_intent::{DenialCode, IntentChange, IntentStore, KillScope, KillState, StopPoint};
use marque_testkit::until;
use tokio::time::timeout;

use crate::engine::{Engine, Postgres};
use crate::fixture::*;
use crate::proxy::Way;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_who_redeem_a_single_use_at_two_replicas_one_wins() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let intent = submit(&here, approved(agent("a"), 1)).await;
    let tasks = (0..64).map(|n| {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        let redemption = redemption(&intent, START);
        tokio::spawn(async move { store.redeem(redemption).await.is_ok() })
    });
    let won = join_all(tasks).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    assert_eq!(count(&there, EventKind::TokenIssued).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_21_replay_across_replicas_of_64_who_show_one_proof_one_is_fresh() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let tasks = (0..64).map(|n| {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move { store.remember(vec![proof(1, after(70))]).await.unwrap() })
    });
    let fresh = join_all(tasks).await.into_iter().map(Result::unwrap);
    assert_eq!(fresh.filter(|fresh| *fresh == Freshness::Fresh).count(), 1);
    assert_eq!(there.remember(vec![proof(1, after(70))]).await.unwrap(), Freshness::Replayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_write_one_dense_log_and_both_learn_its_size() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let tasks = (0..200).map(|n| {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move { store.append(refusal()).await.unwrap() })
    });
    let mut numbers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    for store in [&here, &there] {
        store.changed().wait_for(|size| *size == 200).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_one_replica_reaches_the_other() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let intent = submit(&there, approved(agent("a"), 1)).await;
    let state = here.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    // In the transaction the kill counts at once, whether or not it was heard of by now.
    match there.redeem(redemption(&intent, START)).await {
        Err(RedeemError::Refused(denial)) => assert_eq!(denial.code(), DenialCode::KillSwitchAgent),
        other => panic!("{other:?}"),
    }
    let mut watch = IntentStore::kill_state(&*there);
    watch.wait_for(|heard| **heard == state).await.unwrap();
    assert_eq!(*TokenStore::kill_state(&*there), state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_both_replicas_get_one_order() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    join_all((0..10).map(|n| {
        let store = if n % 2 == 0 { &here } else { &there };
        store.kill(kill(KillScope::Agent(agent(&format!("a{n}")))), START)
    }))
    .await;
    for store in [&here, &there] {
        let mut watch = IntentStore::kill_state(&**store);
        watch.wait_for(|heard| heard.epoch == 10).await.unwrap();
    }
    assert_eq!(TokenStore::kill_state(&*here), TokenStore::kill_state(&*there));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_word_that_comes_to_both_replicas_at_once_is_one_kill() {
    const WORDS: u64 = 20;
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    for n in 1..=WORDS {
        // Each has a clock of its own.
        let order = || kill_of(&format!("word {n}"), KillScope::Agent(agent(&format!("a{n}"))));
        let later = START + Duration::from_millis(1);
        let (one, other) = tokio::join!(here.kill(order(), START), there.kill(order(), later));
        for state in [one.unwrap(), other.unwrap()] {
            assert!(state.stops_agent(&agent(&format!("a{n}")), StopPoint::Use).is_some());
        }
    }
    for store in [&here, &there] {
        let mut watch = IntentStore::kill_state(&**store);
        let heard = watch.wait_for(|heard| heard.epoch == WORDS).await.unwrap();
        assert_eq!(heard.kills.len(), usize::try_from(WORDS).unwrap());
    }
    assert_eq!(engine.number("SELECT count(*) FROM kills").await, 20);
    assert_eq!(count(&there, EventKind::Kill).await, 20);
    assert_eq!(TokenStore::kill_state(&*here), TokenStore::kill_state(&*there));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_with_the_number_of_one_that_was_lost_is_heard_and_both_stay_in_force() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let one = here.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    let mut watch = IntentStore::kill_state(&*there);
    watch.wait_for(|heard| **heard == one).await.unwrap();
    // A standby that never had it takes over.
    engine.execute("DELETE FROM kills").await;
    engine.execute("UPDATE head SET kill_epoch = 0").await;
    let two = there.kill(kill(KillScope::Agent(agent("b"))), START).await.unwrap();
    // Who had heard of it tells the database again, in front of its own.
    assert_eq!((one.epoch, engine.number("SELECT max(epoch) FROM kills").await), (1, 2));
    assert!(two.stops_agent(&agent("b"), StopPoint::Use).is_some());
    let mut heard_here = IntentStore::kill_state(&*here);
    let both = |state: &KillState| {
        ["a", "b"].map(|name| state.stops_agent(&agent(name), StopPoint::Use).is_some())
    };
    let hears = heard_here.wait_for(|heard| both(heard) == [true, true]);
    timeout(Duration::from_secs(30), hears).await.unwrap().unwrap();
    // With what is written next, everybody has both again.
    here.record_refusal(refusal()).await.unwrap();
    let hears = watch.wait_for(|heard| both(heard) == [true, true]);
    timeout(Duration::from_secs(30), hears).await.unwrap().unwrap();
    assert_eq!(engine.number("SELECT kill_epoch FROM head").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_connections_hears_and_writes_again() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    here.append(refusal()).await.unwrap();
    let schema = marque_store::SchemaName::of(engine.trust_domain());
    let of_both = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{schema}'"
    );
    assert!(engine.number(&of_both).await >= 4);
    // Whoever was under way is told that it was not done; soon somebody is told that it was.
    while there.kill(kill(KillScope::Agent(agent("a"))), START).await.is_err() {}
    while there.append(refusal()).await.is_err() {}
    let mut watch = IntentStore::kill_state(&*here);
    watch.wait_for(|heard| heard.stops_agent(&agent("a"), StopPoint::Use).is_some()).await.unwrap();
    let size = there.size().await.unwrap();
    here.changed().wait_for(|heard| *heard >= size).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cannot_listen_hears_of_a_kill_all_the_same() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, proxy, _journal) = engine.replica_by_proxy().await;
    // It has looked up once by its own connection.
    here.append(refusal()).await.unwrap();
    there.changed().wait_for(|size| *size == 1).await.unwrap();
    proxy.set(Way::NobodyNew);
    let schema = marque_store::SchemaName::of(engine.trust_domain());
    let listeners = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = '{schema}' AND query LIKE 'LISTEN%'"
    );
    assert_eq!(engine.number(&listeners).await, 2);
    let state = here.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    let mut watch = IntentStore::kill_state(&*there);
    watch.wait_for(|heard| **heard == state).await.unwrap();
    assert_eq!(*there.current_kills().unwrap(), state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hears_nothing_says_so_and_does_not_say_who_is_stopped() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, proxy, _journal) = engine.replica_by_proxy().await;
    assert!(there.current_kills().is_ok());
    proxy.set(Way::Closed);
    let state = here.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    until("a replica that hears nothing", async || there.current_kills().is_err()).await;
    assert!(here.current_kills().is_ok());
    proxy.set(Way::Open);
    until("a replica that hears again", async || there.current_kills().is_ok()).await;
    let heard = there.current_kills().unwrap();
    // Whoever hears again has heard what was missed.
    assert_eq!(*heard, state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_read_with_its_intent_as_another_replica_left_it() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let intent = submit(&here, approved(agent("a"), 2)).await;
    let token = here.redeem(redemption(&intent, START)).await.unwrap().token;
    for store in [&here, &there, &there] {
        let (record, intent) = store.token(&token.id).await.unwrap().unwrap();
        assert_eq!((&record, intent.uses_left()), (&token, 1));
    }
    let revoke =
        IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason: reason() };
    let revoked = there.change(intent.id().clone(), revoke, START).await.unwrap();
    for store in [&here, &there] {
        assert_eq!(store.token(&token.id).await.unwrap().unwrap().1, revoked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_15_4_two_replicas_give_no_place_twice() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let tasks = (0..64).map(|n| {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move {
            let intent = submit(&store, approved(agent("a"), 1)).await;
            store.redeem(redemption(&intent, START)).await.unwrap().token.status_index.unwrap()
        })
    });
    let places: BTreeSet<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(places.len(), 64);
    assert_eq!(engine.number("SELECT next_place FROM head").await, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oauth_12_5_a_revocation_at_one_replica_and_derivations_at_the_other_leave_no_live_token() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    for round in 0..8 {
        let intent = submit(&here, approved(agent("a"), 1)).await;
        let root = here.redeem(redemption(&intent, START)).await.unwrap().token;
        let child = here.derive(derivation(&intent, &root, "b")).await.unwrap().token;
        let deriving = (0..8).map(|number| {
            let (store, parent) = (there.clone(), if number % 2 == 0 { &root } else { &child });
            let wanted = derivation(&intent, parent, &format!("d{number}"));
            tokio::spawn(async move { store.derive(wanted).await.is_ok() })
        });
        let deriving: Vec<_> = deriving.collect();
        here.revoke_token(revocation(&root)).await.unwrap();
        join_all(deriving).await;
        let intent = there.find(intent.id()).await.unwrap().unwrap();
        let kills = TokenStore::kill_state(&*there);
        for token in there.tokens_of(intent.id()).await.unwrap() {
            assert!(is_live(&token, &intent, &kills, START).is_err(), "round {round}: {token:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m_43_of_32_at_two_replicas_as_many_have_an_exception_as_it_has_runs() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    crate::cases::exceptions::two_of_many_are_kept(&[here, there]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m_120_a_kill_holds_while_postgresql_is_read_only_and_is_recorded_when_it_takes_writes() {
    let Some(engine) = Postgres::new().await else { return };
    let (engine, apart) = engine.apart().await;
    let store = engine.open().await;
    let stopped = submit(&store, approved(agent("a"), 2)).await;
    apart.set_read_only(true).await;
    let state = store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    assert_eq!((state.epoch, state.kills.len()), (1, 1));
    assert!(store.keeps_kills_here_only(), "no other replica can hear of it");
    // It can be read, so that introspection and status lists go on, and they know of the kill.
    until("what is read", async || store.current_kills().is_ok()).await;
    let heard = store.current_kills().unwrap();
    assert!(heard.stops_agent(&agent("a"), StopPoint::Use).is_some());
    assert!(store.redeem(redemption(&stopped, START)).await.is_err());
    assert_eq!(engine.number("SELECT count(*) FROM kills").await, 0);
    apart.set_read_only(false).await;
    while store.record_refusal(refusal()).await.is_err() {}
    assert_eq!(engine.number("SELECT count(*) FROM kills").await, 1);
    assert!(!store.keeps_kills_here_only());
    drop(store);
    engine.done(apart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_at_one_replica_reaches_the_other_and_the_epoch_never_goes_back() {
    let Some(engine) = Postgres::new().await else { return };
    let here = engine.open().await;
    let (there, _journal) = engine.replica().await;
    let killed = here.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    let mut watch = IntentStore::kill_state(&*there);
    watch.wait_for(|heard| **heard == killed).await.unwrap();
    let lifted = there.order(lift(&killed.kills[0]), START).await.unwrap();
    assert_eq!((lifted.epoch, lifted.kills.len()), (2, 0));
    let mut heard_here = IntentStore::kill_state(&*here);
    heard_here.wait_for(|heard| **heard == lifted).await.unwrap();
    // A standby takes over that had heard of neither.
    engine.execute("DELETE FROM kills").await;
    engine.execute("UPDATE head SET kill_epoch = 0").await;
    let next = here.kill(kill(KillScope::Agent(agent("b"))), START).await.unwrap();
    assert!(next.epoch >= 3, "{next:?}");
    let known = |state: &KillState| {
        ["a", "b"].map(|name| state.stops_agent(&agent(name), StopPoint::Use).is_some())
    };
    assert_eq!(known(&next), [false, true], "what was lifted stays lifted");
    let hears = watch.wait_for(|heard| heard.epoch >= 3 && known(heard) == [false, true]);
    timeout(Duration::from_secs(30), hears).await.unwrap().unwrap();
}
