//! What templates make: within their bound, whoever asks at once, and with a leaf for each coming and going.

use futures::future::join_all;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_registry::{Entry, EntryId, EntrySource, EntryStore as _, NewEntry};
use marque_store::Admitted;

use crate::engine::Engine;
use crate::fixture::*;

const TEMPLATE: &str = "team";

/// What the template makes of one name; the id is that of a template's entry.
fn made(name: u64, end: i64) -> Entry {
    let content: NewEntry = serde_json::from_value(serde_json::json!({
        "spiffe_id": format!("spiffe://prod.example.org/team/{name}"),
        "selectors": [format!("unix:uid:{name}")],
        "role": "agent",
        "owner": "group:platform",
        "expires_at": jiff::Timestamp::from_second(end).unwrap(),
    }))
    .unwrap();
    let template = TEMPLATE.parse().unwrap();
    let id: EntryId = format!("t.{TEMPLATE}.{name:032x}").parse().unwrap();
    content.into_entry(id, EntrySource::Template { template }).unwrap()
}

fn event(kind: EventKind) -> Event {
    Event::new(kind, START)
}

pub(crate) async fn a_template_gives_no_more_than_its_bound_to_all_who_ask_at_once(
    engine: impl Engine,
) {
    let store = engine.open().await;
    store.create(entry("plain", "/team/plain")).await.unwrap();
    let template: EntryId = TEMPLATE.parse().unwrap();
    let before = store.size().await.unwrap();
    let admit = |entry: Entry| {
        store.admit_instance(entry, template.clone(), 3, event(EventKind::EntryCreated))
    };
    let answers = join_all((0..8).map(|name| admit(made(name, 1_900_000_000)))).await;
    let count =
        |wanted: Admitted| answers.iter().filter(move |one| *one.as_ref().unwrap() == wanted);
    assert_eq!((count(Admitted::Made).count(), count(Admitted::Full).count()), (3, 5));
    assert_eq!(store.size().await.unwrap(), before + 3, "a leaf for each that came");
    let first =
        store.entries().await.unwrap().into_iter().find(|one| one.id().is_of_template(&template));
    let first = first.unwrap();
    let name = u64::from_str_radix(first.id().as_str().rsplit('.').next().unwrap(), 16).unwrap();

    // Renewed in its place, without a leaf and though there is no room for another.
    assert_eq!(admit(made(name, 1_950_000_000)).await.unwrap(), Admitted::Renewed);
    let kept = store.entries().await.unwrap();
    let renewed = kept.iter().find(|one| one.id() == first.id()).unwrap();
    assert_eq!(renewed.expires_at().unwrap().as_second(), 1_950_000_000);
    assert_eq!((kept.len(), store.size().await.unwrap()), (4, before + 3));

    let dropped = || store.drop_instance(first.id().clone(), event(EventKind::EntryDeleted));
    assert!(dropped().await.unwrap());
    assert!(!dropped().await.unwrap(), "who is second changes nothing");
    assert_eq!(store.size().await.unwrap(), before + 4);
    assert_eq!(admit(made(99, 1_900_000_000)).await.unwrap(), Admitted::Made);
    // A SPIFFE ID that another entry has is given to nobody else.
    assert!(store.delete(made(99, 0).id()).await.unwrap());
    store.create(entry("other", "/team/99")).await.unwrap();
    assert_eq!(admit(made(99, 1_900_000_000)).await.unwrap(), Admitted::Taken);
}

pub(crate) async fn what_others_made_does_not_count_against_a_template(engine: impl Engine) {
    let store = engine.open().await;
    let template: EntryId = TEMPLATE.parse().unwrap();
    let digest = "0".repeat(32);
    // Of a template whose name begins alike, and what only looks like something made.
    let others = [
        format!("t.{TEMPLATE}.x.{digest}"),
        format!("t.{TEMPLATE}-{digest}"),
        format!("t.{TEMPLATE}.{}", "z".repeat(32)),
        format!("t.{TEMPLATE}.{digest}0"),
        format!("t.{TEMPLATE}"),
    ];
    for (number, id) in others.iter().enumerate() {
        store.create(entry(id, &format!("/other/{number}"))).await.unwrap();
    }
    let admit = |name: u64| {
        let made = made(name, 1_900_000_000);
        store.admit_instance(made, template.clone(), 1, event(EventKind::EntryCreated))
    };
    assert_eq!(admit(0).await.unwrap(), Admitted::Made);
    assert_eq!(admit(1).await.unwrap(), Admitted::Full);
}

pub(crate) async fn every_change_of_the_entries_is_counted_and_nothing_else(engine: impl Engine) {
    let store = engine.open().await;
    let changes = async || store.entry_changes().await.unwrap();
    assert_eq!(changes().await, 0);
    store.create(entry("one", "/agent/one")).await.unwrap();
    assert_eq!(changes().await, 1);
    store.create(entry("one", "/agent/two")).await.unwrap_err();
    store.create(entry("two", "/agent/one")).await.unwrap_err();
    assert!(!store.delete(&"two".parse().unwrap()).await.unwrap());
    assert_eq!(changes().await, 1, "what is refused changes nothing");
    let template: EntryId = TEMPLATE.parse().unwrap();
    for (end, answer) in [(1_900_000_000, Admitted::Made), (1_950_000_000, Admitted::Renewed)] {
        let made = made(0, end);
        let event = event(EventKind::EntryCreated);
        assert_eq!(store.admit_instance(made, template.clone(), 1, event).await.unwrap(), answer);
    }
    assert_eq!(changes().await, 3);
    let instance = made(0, 1_900_000_000).id().clone();
    for there in [true, false] {
        let dropped = store.drop_instance(instance.clone(), event(EventKind::EntryDeleted)).await;
        assert_eq!(dropped.unwrap(), there);
    }
    assert!(store.delete(&"one".parse().unwrap()).await.unwrap());
    assert_eq!(changes().await, 5);
}
