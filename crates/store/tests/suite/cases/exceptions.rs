//! Runs of exceptions, and what is open for an agent and for persons.

use futures::future::join_all;
use marque_exchange::{Principal, TokenStore as _};
use marque_intent::pace::Asked;
use marque_intent::{IntentChange, IntentStore, IntentStoreError, OpenBy, OpenIntents, State};
use marque_store::Store;

use crate::engine::Engine;
use crate::fixture::*;

/// An approved intent under an exception that gives two runs.
pub(crate) fn excepted(name: &str) -> Opened {
    opened(name, 1, |terms| {
        let exception = serde_json::json!({
            "id": "checkout-by-one",
            "digest": marque_intent::Digest::of(b"exception"),
            "owner": "group:platform-sre",
            "reason": "the second approver is away",
            "expires_at": after(86_400),
            "runs": 2,
            "relaxes": { "approvals": 1 },
        });
        terms.conditions.provisions.exception = Some(serde_json::from_value(exception).unwrap());
    })
}

/// Of so many at once, at these stores in turn, as many are kept as there are runs.
pub(crate) async fn two_of_many_are_kept(stores: &[std::sync::Arc<Store>]) {
    let asks = stores.iter().cycle().take(32).map(|store| {
        let (store, (intent, events)) = (store.clone(), excepted("a"));
        tokio::spawn(async move { store.submit(intent, events, None).await })
    });
    let answers: Vec<_> = join_all(asks).await.into_iter().map(Result::unwrap).collect();
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(IntentStoreError::NoRunLeft));
    assert_eq!(answers.iter().filter(refused).count(), 30);
    let mut kept = answers.into_iter().filter_map(Result::ok).map(|one| one.into_intent());
    let (first, second) = (kept.next().unwrap(), kept.next().unwrap());
    // One that nobody used was no run; one that was used stays one, however it ends.
    let store = &stores[0];
    let cancel =
        |intent: &marque_intent::Intent| IntentChange::Cancel { by: intent.agent().clone() };
    store.change(first.id().clone(), cancel(&first), START).await.unwrap();
    store.redeem(redemption(&second, START)).await.unwrap();
    submit(store, excepted("a")).await;
    let (next, events) = excepted("a");
    let refused = store.submit(next, events, None).await;
    assert!(matches!(refused, Err(IntentStoreError::NoRunLeft)), "{refused:?}");
    // Without the exception there is nothing to count.
    submit(store, approved(agent("a"), 1)).await;
}

pub(crate) async fn m_43_of_32_at_once_as_many_have_an_exception_as_it_has_runs(
    engine: impl Engine,
) {
    two_of_many_are_kept(&[engine.open().await]).await;
}

pub(crate) async fn what_is_open_now_is_counted_however_old_it_is(engine: impl Engine) {
    let store = engine.open().await;
    let open = submit(&store, approved(agent("a"), 2)).await;
    submit(&store, pending(agent("a"))).await;
    let over = submit(&store, approved(agent("a"), 1)).await;
    store.redeem(redemption(&over, START)).await.unwrap();
    let cancelled = submit(&store, approved(agent("a"), 1)).await;
    let cancel = IntentChange::Cancel { by: cancelled.agent().clone() };
    store.change(cancelled.id().clone(), cancel, START).await.unwrap();
    let counted =
        async |now| store.pace(Asked::by(&agent("a"), None), now).await.unwrap().counts.open_grants;
    assert_eq!(counted(START).await, 2, "one that may be used, and one of which a token lives");
    assert_eq!(counted(after(61)).await, 1);
    // Asked for before the history begins, and open all the same.
    let old = "UPDATE intents SET created_at = created_at - 4000000000000";
    engine.execute(old).await;
    assert_eq!(counted(START).await, 2);

    let for_alice = async |without, now| {
        let names = vec!["corp:alice".to_owned(), "corp:bob".to_owned()];
        store.open_for(OpenBy::Delegator, names, without, now).await.unwrap()
    };
    assert_eq!(for_alice(None, START).await, 0);
    let mut by_alice = redemption(&open, START);
    by_alice.token.root = Some(Principal::Person("corp:alice".to_owned()));
    let used = store.redeem(by_alice).await.unwrap().intent;
    assert_eq!(used.state(), State::Active);
    assert_eq!(for_alice(None, START).await, 1);
    assert_eq!(for_alice(Some(open.id().clone()), START).await, 0, "without its own");
    assert_eq!(store.open_for(OpenBy::Delegator, Vec::new(), None, START).await.unwrap(), 0);
}
