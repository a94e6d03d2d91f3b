//! Rows: damaged ones, and those that other rooms keep whole.

use futures::future::join_all;
use marque_authority::{AuthorityRecord, AuthorityState, AuthorityStore};
use marque_exchange::{RedeemError, TokenStore};
use marque_intent::{IntentFilter, IntentStore, IntentStoreError};
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
        assert!(store.list(IntentFilter::default()).await.is_err(), "{damage}");
        let (lost, won) = futures::join!(
            store.redeem(redemption(&damaged, START)),
            store.redeem(redemption(&good, START)),
        );
        assert!(matches!(lost, Err(RedeemError::Store(_))), "{damage}: {lost:?}");
        assert_eq!(won.unwrap().intent.uses_left(), 0, "{damage}");
        engine.execute(&format!("DELETE FROM intents WHERE id = '{}'", damaged.id())).await;
    }
}

pub(crate) async fn authorities_are_kept_by_slot(engine: impl Engine) {
    let store = engine.open().await;
    let record = |purpose, state, sequence| AuthorityRecord {
        slot: SlotId::first(purpose),
        state,
        certificate_der: Some(vec![0x30, 0x00]),
        public_key: vec![4; 65],
        created_at: START,
        bundle_sequence: sequence,
    };
    let prepared = record(KeyPurpose::X509Authority, AuthorityState::Prepared, 1);
    let active = record(KeyPurpose::X509Authority, AuthorityState::Active, 2);
    let tokens = record(KeyPurpose::AccessToken, AuthorityState::Active, 1);
    // The first record of a slot stays, in one batch and after it: somebody may sign with its key already.
    for saved in
        join_all([&prepared, &tokens, &active].map(|record| store.save(record.clone()))).await
    {
        saved.unwrap();
    }
    store.save(active).await.unwrap();
    let mut kept = store.load().await.unwrap();
    kept.sort_by_key(|record| record.slot.to_string());
    assert_eq!(kept, [tokens, prepared]);
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
