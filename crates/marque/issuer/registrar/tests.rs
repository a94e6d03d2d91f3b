//! What templates give while the folder is read anew.

use std::path::Path;

use marque_registry::TrustDomainFolder;
use marque_spiffe::SelectorSet;
use marque_store::SqliteStore;
use marque_testkit::{FixedClock, SeededRandom};

use super::*;

const DOCUMENT: &str = include_str!("../../../registry/folder/tests/trust-domain.toml");

/// A folder with this template, of this owner.
fn folder(template: Option<&str>) -> TrustDomainFolder {
    let folder = marque_testkit::temp_dir();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    write("trust-domain.toml", DOCUMENT);
    std::fs::create_dir(folder.path().join("entries")).unwrap();
    if let Some(owner) = template {
        let template = format!(
            "[[template]]\nid = \"team\"\nspiffe_id = \"spiffe://example.org/agent/{{unix:user}}\"\nrole = \"agent\"\n\
             owner = \"{owner}\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:path:/bin/agent\"]\nmax_identities = 5\n"
        );
        write("entries/team.toml", &template);
    }
    TrustDomainFolder::load(folder.path()).unwrap()
}

async fn registrar(at: &Path, folder: TrustDomainFolder) -> Arc<Registrar> {
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::default());
    let document = Arc::new(folder.document);
    let file = at.join("marque.sqlite");
    let store = SqliteStore::open(&file, document.name(), Arc::clone(&clock)).await.unwrap();
    let (store, random) = (Arc::new(store), Arc::new(SeededRandom::new(1)));
    let entries = (folder.entries, folder.templates);
    let registrar = Registrar::open(document, entries, store, clock, random).await;
    Arc::new(registrar.unwrap())
}

/// Has a caller settled while the folder becomes another; the owners of what it has then.
async fn settled_while_becoming(next: TrustDomainFolder) -> Vec<String> {
    let place = marque_testkit::temp_dir();
    let registrar = registrar(place.path(), folder(Some("group:before"))).await;
    let caller: SelectorSet = ["unix:user:alice", "unix:path:/bin/agent"]
        .iter()
        .map(|one| one.parse().unwrap())
        .collect();
    let entries = (next.entries, next.templates);
    let change = registrar.begin(Arc::new(next.document), entries).await.unwrap();
    let settling = tokio::spawn({
        let (registrar, caller) = (Arc::clone(&registrar), caller.clone());
        async move { registrar.settle(&caller).await }
    });
    // On this one thread it now runs up to where it waits for the change.
    tokio::task::yield_now().await;
    assert!(!settling.is_finished());
    change.make().unwrap();
    settling.await.unwrap().unwrap();
    let stored = registrar.store.entries().await.unwrap();
    let found = registrar.entries().entries_for(&caller);
    assert_eq!(stored.len(), found.len());
    found.iter().map(|entry| entry.owner().to_owned()).collect()
}

#[tokio::test]
async fn what_a_template_gives_during_a_reload_is_by_its_rules_of_behind_it() {
    assert_eq!(settled_while_becoming(folder(Some("group:after"))).await, ["group:after"]);
    assert!(settled_while_becoming(folder(None)).await.is_empty(), "nothing by one that is gone");
}
