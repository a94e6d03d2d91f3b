use std::path::PathBuf;
use std::sync::Arc;

use marque_spiffe::{Selector, SelectorSet};
use serde_json::json;

use super::Registry;
use crate::{
    Entry, EntryId, EntrySource, NewEntry, RegistryError, RegistryView, TrustDomainDocument,
};

const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

fn document() -> Arc<TrustDomainDocument> {
    Arc::new(TrustDomainDocument::parse("trust-domain.toml".as_ref(), DOCUMENT).unwrap())
}

fn new_entry(path: &str, selectors: &[&str]) -> NewEntry {
    serde_json::from_value(json!({
        "spiffe_id": format!("spiffe://example.org/{path}"),
        "selectors": selectors,
        "role": "agent",
        "owner": "tests",
        "expires_at": "2031-01-01T00:00:00Z",
    }))
    .unwrap()
}

fn entry(id: &str, path: &str) -> Entry {
    let selector = format!("unix:path:/{path}");
    let new = new_entry(path, &["unix:uid:1000", &selector]);
    new.into_entry(id.parse().unwrap(), EntrySource::Admin).unwrap()
}

fn from_file(id: &str, path: &str, line: usize) -> Entry {
    let source = EntrySource::File { path: PathBuf::from("entries/a.toml"), line };
    new_entry(path, &["unix:uid:1000"]).into_entry(id.parse().unwrap(), source).unwrap()
}

fn id(id: &str) -> EntryId {
    id.parse().unwrap()
}

fn selectors(texts: &[&str]) -> SelectorSet {
    texts.iter().map(|text| text.parse::<Selector>().unwrap()).collect()
}

#[test]
fn a_caller_earns_the_entries_whose_selectors_it_has_all() {
    let registry = Registry::new(document(), vec![entry("a", "x"), entry("b", "y")]).unwrap();
    let found = |texts: &[&str]| -> Vec<String> {
        let entries = registry.snapshot().entries_for(&selectors(texts));
        entries.iter().map(|entry| entry.id().to_string()).collect()
    };
    assert_eq!(found(&["unix:uid:1000", "unix:path:/x", "unix:gid:5"]), ["a"]);
    assert_eq!(found(&["unix:uid:1000", "unix:path:/x", "unix:path:/y"]), ["a", "b"]);
    assert_eq!(found(&["unix:path:/x"]), [""; 0]);
    assert_eq!(found(&["unix:uid:1000"]), [""; 0]);
    assert_eq!(found(&[]), [""; 0]);
}

#[test]
fn the_default_identity_comes_from_the_files_in_their_order() {
    let entries = vec![entry("a", "x"), from_file("z", "first", 9), from_file("b", "second", 10)];
    let registry = Registry::new(document(), entries).unwrap();
    let caller = selectors(&["unix:uid:1000", "unix:path:/x"]);
    let found = registry.snapshot().entries_for(&caller);
    let ids: Vec<_> = found.iter().map(|entry| entry.id().as_str()).collect();
    assert_eq!(ids, ["z", "b", "a"]);
}

#[test]
fn an_entry_is_found_by_its_id_and_by_its_spiffe_id() {
    let registry = Registry::new(document(), vec![entry("a", "x")]).unwrap();
    let snapshot = registry.snapshot();
    let found = snapshot.entry(&id("a")).unwrap();
    assert_eq!(snapshot.entry_by_spiffe_id(found.spiffe_id()).unwrap(), found);
    assert_eq!(snapshot.entry(&id("b")), None);
}

#[test]
fn two_entries_never_share_an_identity() {
    let registry = Registry::new(document(), vec![entry("a", "x")]).unwrap();
    for (refused, expected) in [
        (entry("b", "x"), "SPIFFE ID `spiffe://example.org/x` belongs to entry `a` already"),
        (entry("a", "y"), "entry `a` exists already"),
    ] {
        assert_eq!(registry.check(&refused).unwrap_err().to_string(), expected);
        assert_eq!(registry.add(refused.clone()).unwrap_err().to_string(), expected);
        let both = vec![entry("a", "x"), refused];
        assert_eq!(registry.replace_all(both.clone()).unwrap_err().to_string(), expected);
        assert_eq!(Registry::new(document(), both).unwrap_err().to_string(), expected);
    }
    assert_eq!(registry.snapshot().entries().len(), 1);
    registry.check(&entry("b", "y")).unwrap();
}

#[test]
fn an_entry_of_another_trust_domain_is_refused() {
    let registry = Registry::new(document(), vec![]).unwrap();
    let mut foreign = new_entry("x", &["unix:uid:1"]);
    foreign.spiffe_id = "spiffe://other.org/x".parse().unwrap();
    let foreign = foreign.into_entry(id("a"), EntrySource::Admin).unwrap();
    let error = registry.add(foreign).unwrap_err();
    assert!(matches!(error, RegistryError::ForeignTrustDomain { .. }), "{error}");
}

#[test]
fn an_entry_at_the_ceiling_is_taken_and_one_past_it_is_not() {
    let registry = Registry::new(document(), vec![]).unwrap();
    for (x509, jwt, taken) in [("1h", "5m", true), ("3601s", "5m", false), ("1h", "301s", false)] {
        let mut new = new_entry("x", &["unix:uid:1"]);
        new.x509_lifetime = Some(x509.parse().unwrap());
        new.jwt_lifetime = Some(jwt.parse().unwrap());
        let entry = new.into_entry(id("a"), EntrySource::Admin).unwrap();
        assert_eq!(registry.check(&entry).is_ok(), taken, "{x509} {jwt}");
    }
}

#[test]
fn every_change_reaches_the_feed_with_a_revision_of_its_own() {
    let registry = Registry::new(document(), vec![entry("a", "x")]).unwrap();
    let mut feed = registry.subscribe();
    let mut revisions = vec![feed.borrow_and_update().revision()];
    let mut see = |what: &str| {
        assert!(feed.has_changed().unwrap(), "{what}");
        let snapshot = Arc::clone(&feed.borrow_and_update());
        assert!(Arc::ptr_eq(&snapshot, &registry.snapshot()), "{what}");
        revisions.push(snapshot.revision());
    };
    registry.add(entry("b", "y")).unwrap();
    see("add");
    assert_eq!(registry.remove(&id("b")).unwrap().unwrap().id(), &id("b"));
    see("remove");
    registry.add(entry("b", "y")).unwrap();
    see("add again");
    registry.replace_all(vec![entry("c", "z")]).unwrap();
    see("replace");
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

#[test]
fn what_changes_nothing_reaches_nobody() {
    let registry = Registry::new(document(), vec![entry("a", "x"), entry("b", "y")]).unwrap();
    let feed = registry.subscribe();
    let before = registry.snapshot();
    registry.replace_all(vec![entry("b", "y"), entry("a", "x")]).unwrap();
    assert_eq!(registry.remove(&id("c")).unwrap(), None);
    registry.add(entry("a", "z")).unwrap_err();
    assert!(!feed.has_changed().unwrap());
    assert!(Arc::ptr_eq(&before, &registry.snapshot()));
}

#[test]
fn an_entry_from_a_file_is_removed_in_its_file() {
    let registry = Registry::new(document(), vec![from_file("a", "x", 3)]).unwrap();
    let error = registry.remove(&id("a")).unwrap_err();
    assert_eq!(error.to_string(), "entry `a` comes from `entries/a.toml` line 3: remove it there");
    assert_eq!(registry.snapshot().entries().len(), 1);
}

#[test]
fn changes_from_many_threads_are_all_kept() {
    let registry = Registry::new(document(), vec![]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..25 {
                    let name = format!("{thread}-{n}");
                    registry.add(entry(&name, &name)).unwrap();
                }
            });
        }
    });
    assert_eq!(registry.snapshot().entries().len(), 100);
    assert_eq!(registry.snapshot().revision(), 101);
}

fn shared(id: &str, path: &str, line: usize, selectors: &[&str]) -> Entry {
    let source = EntrySource::File { path: PathBuf::from("entries/a.toml"), line };
    let entry = new_entry(path, selectors).into_entry(id.parse().unwrap(), source).unwrap();
    entry.shared_because("two units of one agent".parse().unwrap())
}

#[test]
fn an_identity_is_shared_by_entries_that_all_say_so() {
    let (blue, green) = (&["unix:uid:1000", "unix:gid:1"], &["unix:uid:1000", "unix:gid:2"]);
    let entries = vec![shared("blue", "x", 1, blue), shared("green", "x", 2, green)];
    let registry = Registry::new(document(), entries).unwrap();
    let snapshot = registry.snapshot();
    let identity = snapshot.entry(&id("blue")).unwrap().spiffe_id().clone();
    assert_eq!(snapshot.entry_by_spiffe_id(&identity).unwrap().id(), &id("blue"));
    assert_eq!(snapshot.entries_by_spiffe_id(&identity).len(), 2);
    let found = |texts: &[&str]| -> Vec<String> {
        let entries = registry.snapshot().entries_for(&selectors(texts));
        entries.iter().map(|entry| entry.id().to_string()).collect()
    };
    assert_eq!(found(&["unix:uid:1000", "unix:gid:2"]), ["green"]);
    // Whoever is both has the identity once.
    assert_eq!(found(&["unix:uid:1000", "unix:gid:1", "unix:gid:2"]), ["blue"]);
    let error = registry.add(entry("other", "x")).unwrap_err();
    assert!(matches!(error, RegistryError::DuplicateSpiffeId { .. }), "{error}");
    registry.replace_all(vec![shared("green", "x", 2, green)]).unwrap();
    assert_eq!(registry.snapshot().entry_by_spiffe_id(&identity).unwrap().id(), &id("green"));
    registry.replace_all(Vec::<Entry>::new()).unwrap();
    assert!(registry.snapshot().entry_by_spiffe_id(&identity).is_none());
}

#[test]
fn a_shared_entry_is_kept_as_such() {
    let entry = shared("blue", "x", 1, &["unix:uid:1"]);
    let kept = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<Entry>(&kept).unwrap(), entry);
}

#[test]
fn a_folder_is_replaced_in_one_step_and_old_views_keep_what_they_saw() {
    let registry = Arc::new(Registry::new(document(), vec![entry("a", "x")]).unwrap());
    let old = RegistryView::of_present(Arc::clone(&registry));
    let next = RegistryView::of_next(Arc::clone(&registry));
    // While it is in force, a view shows what comes by command.
    registry.add(entry("b", "y")).unwrap();
    let ids = |snapshot: Arc<crate::Snapshot>| -> Vec<String> {
        snapshot.entries().iter().map(|entry| entry.id().to_string()).collect()
    };
    assert_eq!(ids(old.snapshot()), ["a", "b"]);
    let before = registry.snapshot();
    let told = registry.subscribe();
    old.close();
    let other = DOCUMENT.replace("x509_svid = \"1h\"", "x509_svid = \"50m\"");
    let other = TrustDomainDocument::parse("trust-domain.toml".as_ref(), &other).unwrap();
    let kept = before.entry(&id("b")).unwrap().as_ref().clone();
    registry
        .replace_folder(Arc::new(other.clone()), (vec![kept, entry("c", "z")], Vec::new()))
        .unwrap();
    assert_eq!(*registry.document(), other);
    assert!(told.has_changed().unwrap());
    assert_eq!(
        (ids(next.snapshot()), ids(old.snapshot())),
        (vec!["b".to_owned(), "c".to_owned()], vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!((*old.document() == other, *next.document() == other), (false, true));
    // What stays the same is the same one: nobody is woken for it.
    let after = registry.snapshot();
    assert!(Arc::ptr_eq(before.entry(&id("b")).unwrap(), after.entry(&id("b")).unwrap()));
    let changed = after.changed_since(&before);
    assert_eq!(changed.iter().map(|entry| entry.id().to_string()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn entries_that_stay_are_held_against_the_new_document_and_a_refusal_changes_nothing() {
    let long =
        NewEntry { x509_lifetime: Some("1h".parse().unwrap()), ..new_entry("x", &["unix:uid:1"]) };
    let long = long.into_entry(id("a"), EntrySource::Admin).unwrap();
    let registry = Registry::new(document(), vec![long.clone()]).unwrap();
    let (before, was) = (registry.snapshot(), registry.document());
    let shorter = DOCUMENT.replace("x509_svid = \"1h\"", "x509_svid = \"50m\"");
    let shorter = TrustDomainDocument::parse("trust-domain.toml".as_ref(), &shorter).unwrap();
    registry.replace_folder(Arc::new(shorter), (vec![long], Vec::new())).unwrap_err();
    let twice = vec![entry("b", "y"), entry("b", "z")];
    registry.replace_folder(document(), (twice, Vec::new())).unwrap_err();
    assert!(Arc::ptr_eq(&registry.document(), &was));
    assert_eq!(registry.snapshot().revision(), before.revision());
    assert_eq!(registry.snapshot().generation(), before.generation());
}

#[test]
fn a_new_entry_names_federated_trust_domains_and_one_that_is_there_outlives_the_relationship() {
    let registry = Registry::new(document(), Vec::new()).unwrap();
    let partner: marque_spiffe::TrustDomain = "partner.example.org".parse().unwrap();
    let mut new = new_entry("x", &["unix:uid:1000"]);
    new.federates_with = [partner.clone()].into();
    let by_command = new.clone().into_entry(id("a"), EntrySource::Admin).unwrap();
    let unknown =
        |refused| matches!(refused, Err(RegistryError::NotFederated(name)) if name == partner);
    assert!(unknown(registry.check(&by_command)));
    registry.also_federate_with([partner.clone()].into());
    registry.check(&by_command).unwrap();
    registry.add(by_command.clone()).unwrap();
    registry.also_federate_with(Default::default());
    registry.replace_all(vec![by_command, entry("b", "y")]).expect("it stays");
    // What was added by command may go by command: no file hangs on it.
    registry.also_federate_with([partner.clone()].into());
    let source = EntrySource::File { path: PathBuf::from("entries/a.toml"), line: 1 };
    let of_a_file = new.into_entry(id("c"), source).unwrap();
    assert!(unknown(registry.check(&of_a_file)));
}

#[test]
fn of_several_entries_those_that_fit_are_added_in_one_step() {
    let registry = Registry::new(document(), vec![entry("a", "x")]).unwrap();
    let before = registry.snapshot();
    let several = [entry("d", "w"), entry("b", "x"), entry("a", "y"), entry("c", "z")];
    let others = registry.add_fitting(several.into_iter().map(Arc::new).collect());
    let refused: Vec<String> =
        others.iter().map(|(entry, error)| format!("{}: {error}", entry.id())).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("b: ") && refused[1].starts_with("a: "), "{refused:?}");
    let after = registry.snapshot();
    let ids: Vec<&str> = after.entries().iter().map(|entry| entry.id().as_str()).collect();
    assert_eq!(ids, ["a", "c", "d"]);
    assert_eq!(after.revision(), before.revision() + 1);
    let caller = ["unix:uid:1000", "unix:path:/w", "unix:path:/x", "unix:path:/z"];
    assert_eq!(after.entries_for(&selectors(&caller)).len(), 3);
    // Where none fits, nobody is told of a change.
    let twice = registry.add_fitting(vec![Arc::new(entry("a", "y"))]);
    assert_eq!((twice.len(), registry.snapshot().revision()), (1, after.revision()));
}
