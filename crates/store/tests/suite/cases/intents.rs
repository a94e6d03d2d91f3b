//! Intents: kept once, changed by their own rules, found again.

use std::time::Duration;

use futures::future::join_all;
use marque_audit::EventKind;
use marque_intent::{
    ChangeError, DenialCode, Grant, GrantTerms, IdempotencyKey, Intent, IntentChange, IntentFilter,
    IntentStore, IntentStoreError, ListOrder, MAX_LISTED, Outcome, Ruling, State, Submitted,
};

use crate::engine::Engine;
use crate::fixture::*;

fn key(name: &str, text: &str, body: &[u8]) -> Option<IdempotencyKey> {
    Some(IdempotencyKey::new(agent(name), text, body).unwrap())
}

pub(crate) async fn an_intent_is_found_listed_and_changed(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending(agent("a"))).await;
    assert_eq!(store.find(intent.id()).await.unwrap().as_ref(), Some(&intent));
    let approved = store.change(intent.id().clone(), approval(&intent), START).await.unwrap();
    assert_eq!(approved.state(), State::Approved);
    assert_eq!(store.find(intent.id()).await.unwrap(), Some(approved));
    let kinds: Vec<_> = leaves(&store).await.iter().map(|leaf| leaf.event().kind).collect();
    let expected = [
        EventKind::IntentRequested,
        EventKind::IntentPending,
        EventKind::ApprovalRecorded,
        EventKind::IntentApproved,
    ];
    assert_eq!(kinds, expected);
    // The same approval again is no change, and leaves no leaf.
    store.change(intent.id().clone(), approval(&intent), START).await.unwrap();
    assert_eq!(leaves(&store).await.len(), 4);
}

pub(crate) async fn approving_less_once_more_after_opening_again_changes_nothing(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, pending_with("a", 1, 2)).await;
    let less = approval_of_one_use(&intent);
    let approved = store.change(intent.id().clone(), less.clone(), START).await.unwrap();
    assert_eq!((approved.state(), approved.grant().uses), (State::Approved, 1));
    let told = leaves(&store).await.len();
    // Opened again, so that nothing comes from memory.
    drop(store);
    let store = engine.open().await;
    assert_eq!(store.find(intent.id()).await.unwrap().as_ref(), Some(&approved));
    let again = store.change(intent.id().clone(), less, START).await.unwrap();
    assert_eq!(again, approved);
    assert_eq!(leaves(&store).await.len(), told);
}

pub(crate) async fn a_listing_is_filtered_bounded_and_newest_first(engine: impl Engine) {
    let store = engine.open().await;
    for second in 0..4 {
        submit(&store, approved_at(agent("a"), 1, after(second))).await;
    }
    submit(&store, pending(agent("b"))).await;
    let list = |filter| async { store.list(filter).await.unwrap() };
    let all = list(IntentFilter::default()).await;
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by(|newer, older| newer.created_at() >= older.created_at()));
    let of_b = list(IntentFilter { agent: Some(agent("b")), ..IntentFilter::default() }).await;
    assert_eq!(of_b.len(), 1);
    let waiting =
        list(IntentFilter { state: Some(State::Pending), ..IntentFilter::default() }).await;
    assert_eq!(waiting, of_b);
    let two = list(IntentFilter { limit: Some(2), ..IntentFilter::default() }).await;
    assert_eq!(two, all[..2]);
    let many = list(IntentFilter { limit: Some(MAX_LISTED + 1), ..IntentFilter::default() }).await;
    assert_eq!(many.len(), 5);
}

pub(crate) async fn a_queue_is_ordered_by_risk_and_end_before_it_is_cut(engine: impl Engine) {
    let store = engine.open().await;
    let mut ids = Vec::new();
    // By risk, request_ttl and creation: the last that came is not the first that is wanted.
    for (risk, ttl, second) in [(10, 60, 0), (90, 600, 1), (40, 600, 2), (40, 60, 3), (40, 597, 5)]
    {
        let (intent, _) = pending(agent("a"));
        let request_ttl = Duration::from_secs(ttl);
        let terms = GrantTerms { risk, request_ttl, ..intent.grant().terms().clone() };
        let ruling = Ruling::AskApproval { rules: Vec::new() };
        let opened = Intent::open(Grant::seal(terms).unwrap(), None, ruling, after(second));
        ids.push(submit(&store, opened).await.id().clone());
    }
    let queue = async |limit: Option<usize>| {
        let filter = IntentFilter {
            state: Some(State::Pending),
            limit,
            order: ListOrder::Queue,
            ..IntentFilter::default()
        };
        store.list(filter).await.unwrap().iter().map(|one| one.id().clone()).collect::<Vec<_>>()
    };
    let ordered = [1, 3, 2, 4, 0].map(|at: usize| ids[at].clone());
    assert_eq!(queue(None).await, ordered);
    assert_eq!(queue(Some(2)).await, ordered[..2]);
}

pub(crate) async fn a_change_that_is_refused_changes_nothing(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let by_another = IntentChange::Cancel { by: agent("b") };
    let refused = store.change(intent.id().clone(), by_another, START).await;
    let Err(ChangeError::Refused(denial)) = refused else { panic!("{refused:?}") };
    assert_eq!(denial.code(), DenialCode::AgentNotAllowed);
    assert_eq!(store.find(intent.id()).await.unwrap(), Some(intent));
    // It is on record all the same.
    let logged = leaves(&store).await;
    assert_eq!(logged.len(), 3);
    let event = logged.last().unwrap().event();
    assert_eq!(
        (event.kind, event.code.as_deref()),
        (EventKind::ChangeRefused, Some("agent_not_allowed"))
    );
    let (unknown, _) = approved(agent("a"), 1);
    let missing = store.change(unknown.id().clone(), IntentChange::Expire, START).await;
    assert!(matches!(missing, Err(ChangeError::NotFound)), "{missing:?}");
}

pub(crate) async fn an_expiry_that_is_due_is_kept_although_the_change_is_refused(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    let late = after(901);
    let change = IntentChange::Complete { by: agent("a"), outcome: Outcome::Success, report: None };
    let refused = store.change(intent.id().clone(), change, late).await;
    assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
    assert_eq!(store.find(intent.id()).await.unwrap().unwrap().state(), State::Expired);
    assert_eq!(count(&store, EventKind::IntentExpired).await, 1);
}

pub(crate) async fn an_intent_id_is_given_once(engine: impl Engine) {
    let store = engine.open().await;
    let (intent, events) = approved(agent("a"), 1);
    store.submit(intent.clone(), events.clone(), None).await.unwrap();
    let again = store.submit(intent, events, None).await;
    assert!(matches!(again, Err(IntentStoreError::Unavailable(_))), "{again:?}");
    assert_eq!(leaves(&store).await.len(), 2);
}

pub(crate) async fn the_same_request_is_answered_with_the_same_intent(engine: impl Engine) {
    let store = engine.open().await;
    let (first, events) = pending(agent("a"));
    let created = store.submit(first.clone(), events, key("a", "k", b"body")).await.unwrap();
    assert_eq!(created, Submitted::Created(first.clone()));
    let approved = store.change(first.id().clone(), approval(&first), START).await.unwrap();
    let (second, events) = pending(agent("a"));
    let replayed = store.submit(second.clone(), events, key("a", "k", b"body")).await.unwrap();
    assert_eq!(replayed, Submitted::Replayed(approved));
    assert_eq!(store.find(second.id()).await.unwrap(), None);
    assert_eq!(count(&store, EventKind::IntentRequested).await, 1);
}

pub(crate) async fn an_idempotency_key_with_another_body_conflicts(engine: impl Engine) {
    let store = engine.open().await;
    let (first, events) = pending(agent("a"));
    store.submit(first, events, key("a", "k", b"body")).await.unwrap();
    let (second, events) = pending(agent("a"));
    let conflict = store.submit(second.clone(), events, key("a", "k", b"another")).await;
    assert!(matches!(conflict, Err(IntentStoreError::IdempotencyConflict)), "{conflict:?}");
    assert_eq!(store.find(second.id()).await.unwrap(), None);
    assert_eq!(count(&store, EventKind::IntentRequested).await, 1);
}

pub(crate) async fn an_idempotency_key_belongs_to_one_agent(engine: impl Engine) {
    let store = engine.open().await;
    for name in ["a", "b"] {
        let (intent, events) = pending(agent(name));
        let submitted =
            store.submit(intent, events, key(name, "k", name.as_bytes())).await.unwrap();
        assert!(matches!(submitted, Submitted::Created(_)));
    }
}

pub(crate) async fn an_idempotency_key_ends_after_a_day(engine: impl Engine) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let store = engine.open().await;
    let again = || async {
        let (intent, events) = pending(agent("a"));
        store.submit(intent, events, key("a", "k", b"body")).await.unwrap()
    };
    assert!(matches!(again().await, Submitted::Created(_)));
    engine.clock().advance(DAY - Duration::from_micros(1));
    assert!(matches!(again().await, Submitted::Replayed(_)));
    engine.clock().advance(Duration::from_micros(1));
    assert!(matches!(again().await, Submitted::Created(_)));
    assert_eq!(engine.number("SELECT count(*) FROM idempotency").await, 1);
}

pub(crate) async fn many_at_once_with_one_key_make_one_intent(engine: impl Engine) {
    let store = engine.open().await;
    let submitted = join_all((0..32).map(|_| async {
        let (intent, events) = pending(agent("a"));
        store.submit(intent, events, key("a", "k", b"body")).await.unwrap()
    }))
    .await;
    let created = submitted.iter().filter(|answer| matches!(answer, Submitted::Created(_))).count();
    assert_eq!(created, 1);
    let mut ids: Vec<_> =
        submitted.into_iter().map(|answer| answer.into_intent().id().clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(count(&store, EventKind::IntentRequested).await, 1);
}
