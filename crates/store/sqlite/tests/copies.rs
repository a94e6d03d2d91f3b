//! Copies of a store that is being written, and looks at it from outside.

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
    SqliteStore::copy(&path, &copy).unwrap();
    assert!(SqliteStore::copy(&path, &copy).is_err(), "a copy replaces nothing");
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
    SqliteStore::copy(&path, &copy).unwrap();
    assert!(!SqliteStore::is_in_use(&copy).unwrap());
    assert!(SqliteStore::is_in_use(&dir.path().join("none")).is_err());
}
