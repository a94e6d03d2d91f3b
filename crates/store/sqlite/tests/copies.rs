//! Copies of a store that is being written, and looks at it from outside.

use std::future::{pending, ready};
use std::sync::Arc;

use marque_audit::{Event, EventKind, LogStore as _};
use marque_testkit::{FixedClock, START};

use super::super::SqliteStore;
use crate::StoreError;

fn event() -> Event {
    Event::new(EventKind::EntryCreated, START)
}

#[tokio::test]
async fn a_copy_is_one_moment_of_a_store_that_is_open_and_a_survey_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let domain = "prod.example.org".parse().unwrap();
    let path = dir.path().join("marque.sqlite");
    let store = SqliteStore::open(&path, &domain, Arc::new(FixedClock::default())).await.unwrap();
    for _leaf in 0..5 {
        store.append(event()).await.unwrap();
    }
    let copy = dir.path().join("copy.sqlite");
    SqliteStore::copy(&path, &copy, pending()).await.unwrap();
    let again = SqliteStore::copy(&path, &copy, pending()).await;
    assert!(again.is_err(), "a copy replaces nothing");
    store.append(event()).await.unwrap();
    let copied = SqliteStore::survey(&copy, &domain).await.unwrap();
    let live = SqliteStore::survey(&path, &domain).await.unwrap();
    assert_eq!((copied.log_size, live.log_size), (5, 6));
    assert_eq!(copied.root_at(5).await.unwrap(), live.root_at(5).await.unwrap());
    assert_ne!(live.root_at(5).await.unwrap(), live.root_at(6).await.unwrap());
    assert!(copied.root_at(6).await.is_err(), "it has no sixth leaf");
    let other = SqliteStore::survey(&copy, &"dev.example.org".parse().unwrap()).await;
    assert!(matches!(other, Err(StoreError::OtherTrustDomain { .. })));
    let mode = std::os::unix::fs::PermissionsExt::mode(&copy.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn whether_a_store_is_in_use_is_known_also_while_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let domain = "prod.example.org".parse().unwrap();
    let path = dir.path().join("marque.sqlite");
    let store = SqliteStore::open(&path, &domain, Arc::new(FixedClock::default())).await.unwrap();
    store.append(event()).await.unwrap();
    assert!(SqliteStore::is_in_use(&path).unwrap());
    let copy = dir.path().join("copy.sqlite");
    SqliteStore::copy(&path, &copy, pending()).await.unwrap();
    assert!(!SqliteStore::is_in_use(&copy).unwrap());
    assert!(SqliteStore::is_in_use(&dir.path().join("none")).is_err());
}

#[tokio::test]
async fn a_copy_that_is_given_up_ends_before_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marque.sqlite");
    let store = rusqlite::Connection::open(&path).unwrap();
    // So much that copying takes a while: enough to be interrupted.
    let fill = "CREATE TABLE much (bytes BLOB);
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                INSERT INTO much SELECT randomblob(4000) FROM n";
    store.execute_batch(fill).unwrap();
    let copy = dir.path().join("copy.sqlite");
    let copied = SqliteStore::copy(&path, &copy, ready(())).await;
    assert!(matches!(copied, Err(StoreError::File { .. })), "{copied:?}");
}

#[tokio::test]
async fn what_only_a_journal_has_is_found_and_put_into_another() {
    use marque_intent::{KillMode, KillOrder, KillScope, KillState, NewKill, Reason};

    let dir = tempfile::tempdir().unwrap();
    let domain = "prod.example.org".parse().unwrap();
    let kill = |reason: &str| {
        KillOrder::Kill(NewKill {
            scope: KillScope::TrustDomain,
            mode: KillMode::Stop,
            reason: Reason::new(reason).unwrap(),
            actor: "operator:alice(1000)".to_owned(),
            expires_at: None,
            origin: None,
            hits: Default::default(),
        })
    };
    let here = SqliteStore::journal(&dir.path().join("here"));
    let mut known = KillState::default();
    assert_eq!(here.unknown_to(&known, &domain).unwrap(), []);
    let orders = ["one", "two", "two"].map(|reason| {
        let order = crate::journal::Order { what: kill(reason), at: START };
        crate::survey::JournaledOrder(order)
    });
    here.append(&orders, &domain).unwrap();
    known.take(kill("one"), START);
    let unknown = here.unknown_to(&known, &domain).unwrap();
    assert_eq!(unknown, orders[1..2]);
    assert_eq!(unknown[0].at(), START);
    let there = SqliteStore::journal(&dir.path().join("there"));
    there.append(&unknown, &domain).unwrap();
    assert_eq!(there.unknown_to(&KillState::default(), &domain).unwrap(), unknown);
    let other = here.unknown_to(&known, &"dev.example.org".parse().unwrap());
    assert!(other.is_err(), "{other:?}");
}
