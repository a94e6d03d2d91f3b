//! Grants that are open at once: caps under concurrency, ends that reach below, budgets that are shared, and upkeep.

use futures::future::join_all;
use marque_audit::EventKind;
use marque_exchange::{RedeemError, TokenStore};
use marque_intent::{
    ApprovalRule, Caps, CapsInForce, DenialCode, EndReason, Grant, Holding, Intent, IntentChange,
    IntentStore, IntentStoreError, KillScope, OpenBy, OpenIntents, Ruling, State,
};
use marque_store::Store;

use crate::engine::Engine;
use crate::fixture::*;

const TARGET: &str = "k8s://eu-west-1/ns/ingress/secret/web-tls";

fn capped((intent, events): Opened, caps: Caps) -> Opened {
    (intent.with_caps(CapsInForce { trust_domain: caps, playbook: Caps::default() }), events)
}

async fn refusal_of(store: &Store, (intent, events): Opened) -> DenialCode {
    match store.submit(intent, events, None).await {
        Err(IntentStoreError::Refused(denial)) => denial.code(),
        other => panic!("{other:?}"),
    }
}

async fn state(store: &Store, intent: &Intent) -> (State, Option<EndReason>) {
    let found = store.find(intent.id()).await.unwrap().unwrap();
    (found.state(), found.ended_for())
}

fn revoke() -> IntentChange {
    IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason: reason() }
}

pub(crate) async fn m_75_of_many_who_ask_at_once_as_many_get_a_grant_as_may_be_open(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let caps = Caps { per_agent: Some(5), ..Caps::default() };
    let tasks = (0..32).map(|_| {
        let (store, (intent, events)) = (store.clone(), capped(approved(agent("a"), 1), caps));
        tokio::spawn(async move { store.submit(intent, events, None).await })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let (open, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((open.len(), refused.len()), (5, 27));
    assert_eq!(count(&store, EventKind::IntentApproved).await, 5);
    // Another agent has room of its own, and an end makes room.
    submit(&store, capped(approved(agent("b"), 1), caps)).await;
    let first = open.into_iter().next().unwrap().unwrap().into_intent();
    store.change(first.id().clone(), revoke(), START).await.unwrap();
    submit(&store, capped(approved(agent("a"), 1), caps)).await;
    let next = capped(approved(agent("a"), 1), caps);
    assert_eq!(refusal_of(&store, next).await, DenialCode::ConcurrentGrantLimit);
}

pub(crate) async fn m_75_a_cap_counts_targets_and_the_grants_of_one_playbook(engine: impl Engine) {
    let store = engine.open().await;
    let touching = |name: &str| {
        let caps = Caps { per_target: Some(2), ..Caps::default() };
        capped(opened(name, 1, |terms| terms.resources = vec![TARGET.to_owned()]), caps)
    };
    submit(&store, touching("a")).await;
    submit(&store, touching("b")).await;
    assert_eq!(refusal_of(&store, touching("c")).await, DenialCode::ConcurrentGrantLimit);

    let of_playbook = |id: &str| {
        let playbook = Caps { per_agent: Some(1), ..Caps::default() };
        let (intent, events) = opened("d", 1, |terms| terms.playbook.id = id.parse().unwrap());
        (intent.with_caps(CapsInForce { trust_domain: Caps::default(), playbook }), events)
    };
    submit(&store, of_playbook("one")).await;
    submit(&store, of_playbook("two")).await;
    assert_eq!(refusal_of(&store, of_playbook("one")).await, DenialCode::ConcurrentGrantLimit);
    let counts = store.open_counts(OpenBy::Target, START).await.unwrap();
    assert_eq!((counts[0].name.as_str(), counts[0].grants), (TARGET, 2));
}

pub(crate) async fn m_75_a_cap_counts_what_was_used_on_behalf_of_one_person(engine: impl Engine) {
    let store = engine.open().await;
    let caps = Caps { per_delegator: Some(1), ..Caps::default() };
    let of = |intent: &Intent, person: &str| {
        let mut redemption = redemption(intent, START);
        let person = marque_exchange::Principal::Person(format!("corp:{person}"));
        redemption.token.root = Some(person);
        redemption
    };
    let [one, two] = [
        submit(&store, capped(approved(agent("a"), 2), caps)).await,
        submit(&store, capped(approved(agent("b"), 2), caps)).await,
    ];
    store.redeem(of(&one, "alice")).await.unwrap();
    // Again on behalf of the same person is the same grant; another grant for that person is one too many.
    store.redeem(of(&one, "alice")).await.unwrap();
    match store.redeem(of(&two, "alice")).await {
        Err(RedeemError::Refused(denial)) => {
            assert_eq!(denial.code(), DenialCode::ConcurrentGrantLimit);
        }
        other => panic!("{other:?}"),
    }
    store.redeem(of(&two, "bob")).await.unwrap();
    let counts = store.open_counts(OpenBy::Delegator, START).await.unwrap();
    assert_eq!(counts.len(), 2, "{counts:?}");
    let holding = Holding { by: OpenBy::Delegator, name: counts[0].name.clone() };
    assert_eq!(store.held(holding).await.unwrap().len(), 1);
    // A minute later its token is over: nothing can be used any more, reported or not.
    assert_eq!(store.open_counts(OpenBy::Delegator, after(61)).await.unwrap().len(), 1);
}

pub(crate) async fn what_was_asked_for_under_an_intent_ends_in_the_transaction_of_its_end(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let parent = submit(&store, approved(agent("a"), 9)).await;
    let child = submit(&store, below(&parent, "b", 2, true)).await;
    let grandchild = submit(&store, below(&child, "c", 1, true)).await;
    let free = submit(&store, below(&parent, "d", 1, false)).await;
    let cancel = IntentChange::Cancel { by: parent.agent().clone() };
    store.change(parent.id().clone(), cancel, START).await.unwrap();
    let ended = (State::Expired, Some(EndReason::ParentEnded));
    assert_eq!(state(&store, &child).await, ended);
    assert_eq!(state(&store, &grandchild).await, ended);
    assert_eq!(state(&store, &free).await.0, State::Approved);
    assert_eq!(count(&store, EventKind::IntentExpired).await, 2);

    // What is taken away takes everything below along, whatever the playbooks say.
    let parent = submit(&store, approved(agent("a"), 9)).await;
    let free = submit(&store, below(&parent, "d", 1, false)).await;
    store.change(parent.id().clone(), revoke(), START).await.unwrap();
    assert_eq!(state(&store, &free).await, ended);
    assert!(
        store.orphans(10).await.unwrap().iter().all(|(child, parent)| !child.ends_with(parent))
    );
}

pub(crate) async fn an_end_by_a_clock_reaches_below_too(engine: impl Engine) {
    let store = engine.open().await;
    let parent = submit(&store, approved(agent("a"), 9)).await;
    let (child, events) = below(&parent, "b", 2, true);
    let child = submit(&store, (child, events)).await;
    let late = after(900);
    // The child's own clock runs as long; a use keeps it.
    store.redeem(redemption(&child, after(800))).await.unwrap();
    let due = store.due(late, 10).await.unwrap();
    assert_eq!(due.iter().map(Intent::id).collect::<Vec<_>>(), [parent.id()]);
    // A use that comes too late notes the end.
    drop(store.redeem(redemption(&parent, late)).await);
    assert_eq!(state(&store, &parent).await, (State::Expired, Some(EndReason::StartWithin)));
    assert_eq!(state(&store, &child).await, (State::Expired, Some(EndReason::ParentEnded)));
    assert!(store.due(late, 10).await.unwrap().is_empty());
}

pub(crate) async fn nothing_is_asked_for_below_an_intent_that_ended(engine: impl Engine) {
    let store = engine.open().await;
    let parent = submit(&store, approved(agent("a"), 9)).await;
    store.change(parent.id().clone(), revoke(), START).await.unwrap();
    // It was under way when its parent ended.
    let child = below(&parent, "b", 1, true);
    assert_eq!(refusal_of(&store, child).await, DenialCode::ChainInvalid);
    assert!(store.orphans(10).await.unwrap().is_empty());
}

pub(crate) async fn uses_below_an_intent_are_taken_from_its_own(engine: impl Engine) {
    let store = engine.open().await;
    let parent = submit(&store, approved(agent("a"), 3)).await;
    let asks = (0..8).map(|_| {
        let (store, (intent, events)) = (store.clone(), below(&parent, "b", 1, false));
        tokio::spawn(async move { store.submit(intent, events, None).await })
    });
    let answers: Vec<_> = join_all(asks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let mut children = answers.into_iter().filter_map(Result::ok);
    // Nothing is left for the parent itself until one below ends unused.
    match store.redeem(redemption(&parent, START)).await {
        Err(RedeemError::Refused(denial)) => assert_eq!(denial.code(), DenialCode::GrantConsumed),
        other => panic!("{other:?}"),
    }
    let child = children.next().unwrap().into_intent();
    store.change(child.id().clone(), revoke(), START).await.unwrap();
    store.redeem(redemption(&parent, START)).await.unwrap();
    // One that was used has spent it, ended or not.
    let child = children.next().unwrap().into_intent();
    store.redeem(redemption(&child, START)).await.unwrap();
    store.change(child.id().clone(), revoke(), START).await.unwrap();
    let more = below(&parent, "c", 1, false);
    assert_eq!(refusal_of(&store, more).await, DenialCode::ExceedsParentScope);
}

pub(crate) async fn an_orphan_names_no_parent_that_is_not_there(engine: impl Engine) {
    let store = engine.open().await;
    let (unknown, _) = approved(agent("a"), 3);
    let child = below(&unknown, "b", 1, false);
    assert_eq!(refusal_of(&store, child).await, DenialCode::ChainInvalid);
}

pub(crate) async fn a_pending_intent_begins_anew_with_another_grant(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, pending_with("a", 2, 3)).await;
    let old = approval(&intent);
    // One of two approvers took something away before.
    let less = approval_of_one_use(&intent);
    let narrowed = store.change(intent.id().clone(), less, START).await.unwrap();
    assert_eq!((narrowed.state(), narrowed.grant().uses), (State::Pending, 1));
    let one = std::num::NonZeroU32::MIN;
    let mut terms = intent.grant().terms().clone();
    terms.uses = 2;
    terms.approval = Some(ApprovalRule::of(one, std::iter::empty().collect()).into());
    let grant = Grant::seal(terms).unwrap();
    let ruling = Ruling::AskApproval { rules: Vec::new() };
    let change = IntentChange::Repin { grant: Box::new(grant.clone()), ruling };
    store.change(intent.id().clone(), change, START).await.unwrap();
    // Opened again, so that nothing comes from memory.
    drop(store);
    let store = engine.open().await;
    let anew = store.find(intent.id()).await.unwrap().unwrap();
    assert_eq!((anew.grant(), anew.state(), anew.uses_left()), (&grant, State::Pending, 2));
    let refused = store.change(intent.id().clone(), old, START).await;
    assert!(refused.is_err(), "an approval of the old digest counted: {refused:?}");
    store.change(intent.id().clone(), approval(&anew), START).await.unwrap();
    store.redeem(redemption(&anew, START)).await.unwrap();
}

pub(crate) async fn nothing_is_granted_on_a_clock_that_is_behind_the_log(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved_at(agent("a"), 2, before(60))).await;
    let waiting = submit(&store, pending(agent("a"))).await;
    // The log says START; ten seconds are allowed.
    let late = redemption(&intent, before(11));
    match store.redeem(late).await {
        Err(RedeemError::Refused(denial)) => assert_eq!(denial.code(), DenialCode::ClockUnsafe),
        other => panic!("{other:?}"),
    }
    let approve = store.change(waiting.id().clone(), approval(&waiting), before(11)).await;
    assert!(format!("{approve:?}").contains("ClockUnsafe"), "{approve:?}");
    let asked = approved_at(agent("b"), 1, before(11));
    assert_eq!(refusal_of(&store, asked).await, DenialCode::ClockUnsafe);
    store.redeem(redemption(&intent, before(10))).await.unwrap();
}

pub(crate) async fn no_use_before_the_kills_were_read_after_a_crash(engine: impl Engine) {
    let store = engine.open().await;
    let intent = submit(&store, approved(agent("a"), 1)).await;
    engine.break_commits().await;
    store.kill(kill(KillScope::Agent(agent("a"))), START).await.unwrap();
    drop(store);
    engine.mend_commits().await;
    // The database never heard of the kill; the journal did, and no use is redeemed before it was read.
    let store = engine.open().await;
    match store.redeem(redemption(&intent, START)).await {
        Err(RedeemError::Refused(denial)) => {
            assert_eq!(denial.code(), DenialCode::KillSwitchAgent);
        }
        other => panic!("{other:?}"),
    }
}
