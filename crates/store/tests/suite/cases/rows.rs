//! Rows: damaged ones, and those that other rooms keep whole.

use std::time::Duration;

use futures::future::join_all;
use marque_audit::{EventKind, LogStore};
use marque_authority::{
    AuthorityOrder, AuthorityRecord, AuthorityState, AuthorityStep, AuthorityStore, AuthorityTimes,
    FollowedBundle, FollowedRoot, OrderRefusal,
};
use marque_exchange::{RedeemError, TokenStore};
use marque_intent::{
    ChangeError, EndReason, Holding, Intent, IntentChange, IntentFilter, IntentStore,
    IntentStoreError, ListOrder, OpenBy, OpenIntents, State,
};
use marque_keys::{KeyPurpose, SlotId};
use marque_registry::{EntryStore, EntryStoreError};

use crate::engine::Engine;
use crate::fixture::*;

/// An error with everything that it says of its causes.
fn text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    std::iter::once(error.to_string())
        .chain(causes.map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(": ")
}

pub(crate) async fn a_damaged_intent_is_a_clear_error_and_its_neighbours_live(engine: impl Engine) {
    for damage in [
        "document = '{}'",
        "document = '[1, 2]'",
        "state = 'consumed'",
        "state_version = 77",
        "state_version = -1",
    ] {
        let store = engine.open().await;
        let damaged = submit(&store, approved(agent("a"), 1)).await;
        let good = submit(&store, approved(agent("a"), 1)).await;
        engine.execute(&format!("UPDATE intents SET {damage} WHERE id = '{}'", damaged.id())).await;
        // Whoever wrote an intent need not read it again; everybody else does.
        let store = engine.open().await;
        let found = store.find(damaged.id()).await;
        let Err(IntentStoreError::Unavailable(error)) = found else {
            panic!("{damage}: {found:?}")
        };
        assert!(text(error.as_ref()).contains(damaged.id().as_str()), "{}", text(error.as_ref()));
        let listed = store.list(IntentFilter::default()).await.unwrap();
        assert!(listed.iter().all(|one| one.id() != damaged.id()), "{damage}");
        assert!(listed.contains(&good), "{damage}");
        let (lost, won) = futures::join!(
            store.redeem(redemption(&damaged, START)),
            store.redeem(redemption(&good, START)),
        );
        assert!(matches!(lost, Err(RedeemError::Store(_))), "{damage}: {lost:?}");
        assert_eq!(won.unwrap().intent.uses_left(), 0, "{damage}");
        engine.execute(&format!("DELETE FROM intents WHERE id = '{}'", damaged.id())).await;
    }
}

pub(crate) async fn a_damaged_grant_keeps_nobody_from_seeing_what_waits(engine: impl Engine) {
    let store = engine.open().await;
    let good = submit(&store, pending(agent("a"))).await;
    for damage in [
        r#"{"risk": "high"}"#,
        r#"{"risk": 1.5}"#,
        r#"{"risk": 1e99}"#,
        r#"{"risk": {}, "said": "\u0000"}"#,
        r#"{"risk": 7, "said": "\\\u0000\ud800"}"#,
        "[1, 2]",
        "7",
    ] {
        let damaged = submit(&store, pending(agent("b"))).await;
        let spoil = format!("UPDATE grants SET document = '{damage}'");
        engine.execute(&format!("{spoil} WHERE intent = '{}'", damaged.id())).await;
        for order in [ListOrder::Queue, ListOrder::NewestFirst] {
            let filter =
                IntentFilter { state: Some(State::Pending), order, ..IntentFilter::default() };
            let listed = store.list(filter).await;
            assert_eq!(listed.unwrap(), std::slice::from_ref(&good), "{damage}");
        }
    }
}

pub(crate) async fn a_damaged_intent_holds_up_nobody_elses_end(engine: impl Engine) {
    for damage in ["document = '{}'", "state = 'consumed'"] {
        let store = engine.open().await;
        let parent = submit(&store, approved(agent("a"), 9)).await;
        let damaged = submit(&store, below(&parent, "a", 2, true)).await;
        let child = submit(&store, below(&parent, "a", 2, true)).await;
        engine.execute(&format!("UPDATE intents SET {damage} WHERE id = '{}'", damaged.id())).await;
        let store = engine.open().await;
        let ids = |found: Vec<Intent>| {
            found.iter().map(|one| one.id().clone()).collect::<std::collections::BTreeSet<_>>()
        };
        let both = [parent.id().clone(), child.id().clone()].into();
        // The sweep, a look at everything that is open, and whoever ends all that an agent holds.
        let late = after(3600);
        for _ in 0..2 {
            assert_eq!(ids(store.due(late, 2).await.unwrap()), both, "{damage}");
        }
        assert_eq!(ids(store.unended(None, 9).await.unwrap().intents), both, "{damage}");
        let holding = Holding { by: OpenBy::Agent, name: parent.agent().to_string() };
        assert_eq!(ids(store.held(holding).await.unwrap()), both, "{damage}");
        assert_eq!(store.unreadable_rows(), 1, "{damage}");
        // The end of what is above takes the others along, and gives the damaged one no token.
        let revoke =
            IntentChange::Revoke { actor: "operator:alice(1000)".into(), reason: reason() };
        store.change(parent.id().clone(), revoke, START).await.unwrap();
        let ended = store.find(child.id()).await.unwrap().unwrap();
        assert_eq!(ended.ended_for(), Some(EndReason::ParentEnded), "{damage}");
        assert!(store.orphans(9).await.unwrap().is_empty(), "{damage}");
        let lost = store.redeem(redemption(&damaged, START)).await;
        assert!(matches!(lost, Err(RedeemError::Store(_))), "{damage}: {lost:?}");
        let approve = store.change(damaged.id().clone(), approval(&damaged), START).await;
        assert!(matches!(approve, Err(ChangeError::Store(_))), "{damage}: {approve:?}");
        // Whoever shares its agent asks and ends as ever.
        let next = submit(&store, approved(agent("a"), 1)).await;
        let cancel = IntentChange::Cancel { by: next.agent().clone() };
        store.change(next.id().clone(), cancel, START).await.unwrap();
        engine.execute(&format!("DELETE FROM intents WHERE id = '{}'", damaged.id())).await;
        assert_eq!(store.find(damaged.id()).await.unwrap(), None);
        assert_eq!(store.unreadable_rows(), 0, "{damage}");
    }
}

pub(crate) async fn pages_of_what_has_not_ended_skip_nobody(engine: impl Engine) {
    let store = engine.open().await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(submit(&store, approved(agent("a"), 1)).await);
    }
    all.sort_by(|one, other| one.id().cmp(other.id()));
    // The rows of the first page still say that they are open, and do not read, or have ended when they are read.
    let spoiled = format!("'{}', '{}'", all[0].id(), all[1].id());
    engine.execute(&format!("UPDATE intents SET document = '{{}}' WHERE id IN ({spoiled})")).await;
    let store = engine.open().await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.unended(after, 2).await.unwrap();
        seen.extend(page.intents);
        match page.last {
            None => break,
            last => after = last,
        }
    }
    assert_eq!(seen, all[2..]);
}

/// What is said of a purpose, in the order in which its keys were made.
async fn authorities_of(store: &dyn AuthorityStore, purpose: KeyPurpose) -> Vec<AuthorityRecord> {
    let mut kept = store.load().await.unwrap();
    kept.retain(|record| record.slot.purpose() == purpose);
    kept.sort_by_key(|record| record.slot.place());
    kept
}

fn authority(slot: SlotId, state: AuthorityState) -> AuthorityRecord {
    AuthorityRecord {
        slot,
        state,
        certificate_der: Some(vec![0x30, 0x00]),
        upstream: None,
        followed: None,
        public_key: vec![4; 65],
        created_at: START,
        bundle_sequence: 0,
        times: AuthorityTimes::default(),
    }
}

fn order(step: AuthorityStep) -> AuthorityOrder {
    let reason = Some("a drill".to_owned());
    AuthorityOrder { step, at: START, by: Some("local:7".to_owned()), reason }
}

pub(crate) async fn a_step_of_an_authority_is_taken_once_with_its_leaf(engine: impl Engine) {
    let store = engine.open().await;
    let purpose = KeyPurpose::X509Authority;
    let first = SlotId::first(purpose);
    let second = first.successor().unwrap();
    let record = |slot: &SlotId, state| {
        order(AuthorityStep::Record(Box::new(authority(slot.clone(), state))))
    };
    // The first of those who make a key has it, in one batch and after it: somebody may sign with it already.
    let mut other = record(&first, AuthorityState::Active);
    if let AuthorityStep::Record(record) = &mut other.step {
        record.public_key = vec![5; 65];
    }
    let both = [record(&first, AuthorityState::Active), other];
    let ruled = join_all(both.map(|order| AuthorityStore::order(&*store, order))).await;
    let ruled: Vec<_> = ruled.into_iter().map(Result::unwrap).collect();
    assert!(matches!(&ruled[..], [Ok(()), Err(OrderRefusal::NotTheNext { .. })]), "{ruled:?}");

    let activate = AuthorityStep::Activate { slot: second.clone(), published_for: Duration::ZERO };
    let taken = [
        record(&second, AuthorityState::Prepared),
        order(activate.clone()),
        order(activate.clone()),
        order(AuthorityStep::Taint { slot: first.clone() }),
        order(AuthorityStep::Revoke { slot: first.clone() }),
    ];
    let ruled = join_all(taken.map(|order| AuthorityStore::order(&*store, order))).await;
    let ruled: Vec<_> = ruled.into_iter().map(Result::unwrap).collect();
    assert!(
        matches!(
            &ruled[..],
            [Ok(()), Ok(()), Err(OrderRefusal::NotPrepared { .. }), Ok(()), Ok(())]
        ),
        "{ruled:?}"
    );
    let store = engine.open().await;
    let kept = authorities_of(&*store, purpose).await;
    let states: Vec<_> = kept.iter().map(|record| record.state).collect();
    assert_eq!(states, [AuthorityState::Revoked, AuthorityState::Active]);
    assert_eq!(kept[0].public_key, [4; 65]);
    assert!(kept[0].bundle_sequence > kept[1].bundle_sequence);

    let prune = order(AuthorityStep::Prune { slot: first.clone() });
    AuthorityStore::order(&*store, prune).await.unwrap().unwrap();
    let left = authorities_of(&*store, purpose).await;
    assert_eq!(left.iter().map(|record| &record.slot).collect::<Vec<_>>(), [&second]);
    assert_eq!(left[0].bundle_sequence, kept[0].bundle_sequence, "the sequence stays");

    let leaves = store.leaves(0, 100).await.unwrap();
    let told: Vec<_> = leaves
        .iter()
        .map(|leaf| (leaf.event().kind, leaf.event().detail["slot"].as_str().unwrap().to_owned()))
        .collect();
    let (first, second) = (first.to_string(), second.to_string());
    assert_eq!(
        told,
        [
            (EventKind::AuthorityCreated, first.clone()),
            (EventKind::AuthorityPrepared, second.clone()),
            (EventKind::AuthorityActivated, second),
            (EventKind::AuthorityTainted, first.clone()),
            (EventKind::AuthorityRevoked, first.clone()),
            (EventKind::AuthorityPruned, first),
        ]
    );
    assert_eq!(leaves[4].event().actor.as_deref(), Some("local:7"));
    assert_eq!(leaves[4].event().detail["reason"], "a drill");
}

pub(crate) async fn what_is_followed_of_an_upstream_is_on_record_with_its_leaf(
    engine: impl Engine,
) {
    let store = engine.open().await;
    let purpose = KeyPurpose::X509Authority;
    let first = authority(SlotId::first(purpose), AuthorityState::Active);
    let recorded = AuthorityStore::order(&*store, order(AuthorityStep::Record(Box::new(first))));
    recorded.await.unwrap().unwrap();
    let heard = |sequence| FollowedBundle {
        source: "issuer.example.org:8081".to_owned(),
        sequence,
        roots: vec![FollowedRoot {
            certificate_der: vec![0x30, 0x00],
            since: START,
            tainted: true,
            tainted_since: Some(START),
        }],
        keys: Vec::new(),
        alarms: 0,
    };
    // Of two replicas that hear the same one writes it.
    let follow = |sequence| order(AuthorityStep::Follow(Box::new(heard(sequence))));
    let both = [follow(7), follow(7), follow(6)];
    let ruled = join_all(both.map(|order| AuthorityStore::order(&*store, order))).await;
    let ruled: Vec<_> = ruled.into_iter().map(Result::unwrap).collect();
    let [Ok(()), Err(OrderRefusal::NothingNew), Err(OrderRefusal::UpstreamWentBack { .. })] =
        &ruled[..]
    else {
        panic!("{ruled:?}")
    };
    let store = engine.open().await;
    let kept = authorities_of(&*store, purpose).await;
    assert_eq!(kept[0].followed.as_deref(), Some(&heard(7)));
    let leaves = store.leaves(0, 100).await.unwrap();
    let told: Vec<_> = leaves.iter().map(|leaf| leaf.event().kind).collect();
    assert_eq!(told, [EventKind::AuthorityCreated, EventKind::AuthorityFollowed]);
}

pub(crate) async fn entries_are_unique_by_id_and_by_spiffe_id(engine: impl Engine) {
    let store = engine.open().await;
    store.create(entry("one", "/agent/one")).await.unwrap();
    for taken in [entry("one", "/agent/two"), entry("two", "/agent/one")] {
        let refused = store.create(taken).await;
        assert!(matches!(refused, Err(EntryStoreError::Duplicate(_))), "{refused:?}");
    }
    store.create(entry("two", "/agent/two")).await.unwrap();
    assert_eq!(store.entries().await.unwrap().len(), 2);
    let one = "one".parse().unwrap();
    assert!(store.delete(&one).await.unwrap());
    assert!(!store.delete(&one).await.unwrap());
    assert_eq!(store.entries().await.unwrap(), [entry("two", "/agent/two")]);
    engine.execute("UPDATE entries SET document = '{}'").await;
    let damaged = store.entries().await;
    assert!(
        matches!(&damaged, Err(EntryStoreError::Unreadable { id, .. }) if id == "two"),
        "{damaged:?}"
    );
}

pub(crate) async fn an_entry_may_come_and_go_in_one_batch(engine: impl Engine) {
    let store = engine.open().await;
    let id = "one".parse().unwrap();
    // Both orders occur; whoever is later finds what the earlier one left.
    for _ in 0..20 {
        let (created, deleted, again) = futures::join!(
            store.create(entry("one", "/agent/one")),
            store.delete(&id),
            store.create(entry("one", "/agent/one")),
        );
        assert!(created.is_ok());
        assert!(deleted.unwrap());
        assert!(again.is_ok());
        assert_eq!(store.entries().await.unwrap().len(), 1);
        assert!(store.delete(&id).await.unwrap());
        assert_eq!(store.entries().await.unwrap(), []);
    }
}
