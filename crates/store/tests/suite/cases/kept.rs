//! What the edges keep for a while.

use std::time::Duration;

use futures::future::join_all;
use marque_store::{FOR_GOOD, Kept, KeptChange};
use marque_testkit::START;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::fixture::after;

fn new(key: &str, document: &Value, seconds: u64) -> KeptChange {
    KeptChange::new("session", key, document, after(seconds)).unwrap()
}

pub(crate) async fn a_row_is_kept_replaced_listed_and_taken_away(engine: impl Engine) {
    let store = engine.open().await;
    let find = async |key: &str| store.kept("session", key, START).await.unwrap();
    assert_eq!(find("a").await, None);
    assert!(
        store.keep(vec![new("b", &json!(2), 60), new("a", &json!({"x": 1}), 60)]).await.unwrap()
    );
    let row = find("a").await.unwrap();
    let expected = Kept {
        kind: "session".to_owned(),
        key: "a".to_owned(),
        version: 1,
        until: after(60),
        document: json!({"x": 1}),
    };
    assert_eq!(row, expected);
    assert!(store.keep(vec![row.replaced_by(&json!(3), after(90)).unwrap()]).await.unwrap());
    let row = find("a").await.unwrap();
    assert_eq!((row.version, row.until, &row.document), (2, after(90), &json!(3)));
    assert_eq!(row.read::<u8>().unwrap(), 3);
    assert!(row.read::<String>().is_err());
    let keys: Vec<_> = store.all_kept("session", START).await.unwrap();
    assert_eq!(keys.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let first = store.first_kept("session", 1, START).await.unwrap();
    assert_eq!(first.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(store.all_kept("webhook", START).await.unwrap().is_empty());
    assert!(store.keep(vec![row.replaced_by(&json!(4), FOR_GOOD).unwrap()]).await.unwrap());
    let row = find("a").await.unwrap();
    assert_eq!(row.until, FOR_GOOD);
    assert!(store.keep(vec![row.taken_away()]).await.unwrap());
    assert_eq!(find("a").await, None);
}

pub(crate) async fn only_the_version_that_was_seen_is_replaced(engine: impl Engine) {
    let store = engine.open().await;
    assert!(store.keep(vec![new("a", &json!(1), 60)]).await.unwrap());
    assert!(!store.keep(vec![new("a", &json!(2), 60)]).await.unwrap());
    let seen = store.kept("session", "a", START).await.unwrap().unwrap();
    assert!(store.keep(vec![seen.replaced_by(&json!(2), after(60)).unwrap()]).await.unwrap());
    assert!(!store.keep(vec![seen.replaced_by(&json!(3), after(60)).unwrap()]).await.unwrap());
    assert!(!store.keep(vec![seen.taken_away()]).await.unwrap());
    assert_eq!(store.kept("session", "a", START).await.unwrap().unwrap().document, json!(2));
}

pub(crate) async fn of_32_who_write_one_row_one_writes(engine: impl Engine) {
    let store = engine.open().await;
    let tasks = (0..32).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.keep(vec![new("a", &json!(n), 60)]).await.unwrap() })
    });
    let wrote = join_all(tasks).await.into_iter().filter(|wrote| *wrote.as_ref().unwrap()).count();
    assert_eq!(wrote, 1);
}

pub(crate) async fn a_row_ends_and_is_forgotten(engine: impl Engine) {
    let store = engine.open().await;
    assert!(store.keep(vec![new("a", &json!(1), 60)]).await.unwrap());
    engine.clock().advance(Duration::from_secs(60));
    assert_eq!(store.kept("session", "a", after(60)).await.unwrap(), None);
    assert!(store.all_kept("session", after(60)).await.unwrap().is_empty());
    assert!(store.keep(vec![new("b", &json!(2), 120)]).await.unwrap());
    assert_eq!(engine.number("SELECT count(*) FROM kept").await, 1);
    assert!(store.keep(vec![new("a", &json!(3), 120)]).await.unwrap());
}

pub(crate) async fn all_rows_of_a_write_or_none(engine: impl Engine) {
    let store = engine.open().await;
    assert!(store.keep(vec![new("a", &json!(1), 60)]).await.unwrap());
    assert!(!store.keep(vec![new("b", &json!(1), 60), new("a", &json!(2), 60)]).await.unwrap());
    assert_eq!(store.kept("session", "b", START).await.unwrap(), None);
}

pub(crate) async fn what_is_kept_is_there_after_opening_again(engine: impl Engine) {
    let store = engine.open().await;
    assert!(store.keep(vec![new("a", &json!(1), 60)]).await.unwrap());
    drop(store);
    let store = engine.open().await;
    assert_eq!(store.kept("session", "a", START).await.unwrap().unwrap().version, 1);
}
