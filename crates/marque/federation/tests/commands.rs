//! Relationships by command, over a store of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marque_audit::{EventKind, LogStore as _};
use marque_exchange::EnvironmentLookup;
use marque_registry::{EntrySource, MAX_FEDERATIONS, NewEntry, Registry};
use marque_spiffe::{Bundle, BundleSource as _, Clock, Environment, TrustDomain};
use marque_store::{FOR_GOOD, KeptChange, SqliteStore, Store};
use marque_testkit::{FixedClock, ScratchBundles, ScratchTrustDomain, TempDir};

use super::endpoint::{Answer, Endpoint, of};
use super::{PARTNER, document, document_of, partner, partner_name, server_id};
use crate::federation::{
    FederatedBundles, FederationError, Federations, FederationsParts, HandsOn, KeptBundles,
    NewEndpoint, NewFederation, NewProfile,
};

const ACTOR: &str = "operator:alice(1000)";
const LOCAL: &str = "[bundle_fetching]\nprivate_addresses = [\"127.0.0.0/8\", \"::1\"]\n";

/// Knows one trust domain of production.
#[derive(Debug)]
struct Known;

impl EnvironmentLookup for Known {
    fn environment(&self, trust_domain: &TrustDomain) -> Option<Environment> {
        (trust_domain.as_str() == "prod.example.org").then_some(Environment::Production)
    }
}

/// Hands nothing on.
#[derive(Debug)]
struct Nobody;

impl HandsOn for Nobody {
    fn hand_on(&self) {}
}

/// What outlives a run: a folder and a clock.
struct Scene {
    folder: TempDir,
    clock: FixedClock,
}

/// One run of it.
struct Run {
    federations: Arc<Federations>,
    bundles: Arc<FederatedBundles>,
    store: Arc<Store>,
}

impl Scene {
    fn new() -> Self {
        Self { folder: marque_testkit::temp_dir(), clock: FixedClock::default() }
    }

    /// Opens everything with a document that ends like this.
    async fn open(&self, section: &str, files: Vec<Arc<Bundle>>) -> Run {
        let document = Arc::new(document(section));
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let file = self.folder.path().join("marque.sqlite");
        let store = SqliteStore::open(&file, document.name(), Arc::clone(&clock)).await.unwrap();
        let store = Arc::new(store);
        let kept = KeptBundles::new(self.folder.path().join("kept"));
        let now = self.clock.now();
        let fetched = crate::federation::fetched_by_command(&store, now).await.unwrap();
        crate::federation::prune(&document, &kept, &fetched).unwrap();
        let bundles = crate::federation::open(&document, files, &kept, now);
        let registry = Arc::new(Registry::new(Arc::clone(&document), Vec::new()).unwrap());
        let parts = FederationsParts {
            bundles: Arc::clone(&bundles),
            own: ScratchBundles::of(&[&ScratchTrustDomain::new("test.example.org")]),
            kept,
            store: Arc::clone(&store),
            registry,
            environments: Arc::new(Known),
            clock,
            news: Arc::default(),
            hands_on: Arc::new(Nobody),
        };
        let federations = Federations::new(document, self.folder.path(), parts, None).unwrap();
        federations.reconcile().await.unwrap();
        federations.take_effect();
        let federations = Arc::new(federations);
        Run { federations, bundles, store }
    }
}

impl Run {
    async fn code(&self, new: NewFederation) -> &'static str {
        self.federations.add(new, ACTOR).await.map_or_else(|error| error.code(), |_| "ok")
    }
}

fn by_hand(name: &str, bundle: &str) -> NewFederation {
    NewFederation {
        trust_domain: name.parse().unwrap(),
        environment: Environment::NonProduction,
        endpoint: None,
        bundle: Some(bundle.to_owned()),
    }
}

fn fetched(profile: NewProfile, url: String) -> NewFederation {
    NewFederation {
        trust_domain: partner_name(),
        environment: Environment::NonProduction,
        endpoint: Some(NewEndpoint { url, profile, max_staleness_s: None }),
        bundle: None,
    }
}

fn web(endpoint: &Endpoint) -> NewFederation {
    let authorities = std::fs::read_to_string(&endpoint.ca_file).unwrap();
    fetched(NewProfile::HttpsWeb { authorities }, endpoint.url("/bundle"))
}

#[tokio::test]
async fn what_is_added_by_command_keeps_the_rules_of_the_folder() {
    let run = Scene::new().open("", Vec::new()).await;
    let (bundle, endpoint) = (document_of(&partner(), 2, 300), Endpoint::web().await);
    let environment = Environment::Production;
    let other = NewFederation { environment, ..by_hand(PARTNER, &bundle) };
    assert_eq!(run.code(other).await, "environment_boundary");
    assert_eq!(run.code(by_hand("prod.example.org", &bundle)).await, "environment_boundary");
    assert_eq!(run.code(by_hand("test.example.org", &bundle)).await, "federation_own");
    let nothing = NewFederation { bundle: None, ..by_hand(PARTNER, &bundle) };
    assert_eq!(run.code(nothing).await, "federation_invalid");
    assert_eq!(run.code(by_hand(PARTNER, "{\"keys\":[]}")).await, "bundle_empty");
    assert_eq!(run.code(by_hand(PARTNER, "[]")).await, "bundle_invalid");
    let good = web(&endpoint).endpoint.unwrap();
    for spoilt in [
        NewEndpoint { url: "http://partner.example.org".to_owned(), ..good.clone() },
        NewEndpoint { url: "https://u@partner.example.org".to_owned(), ..good.clone() },
        NewEndpoint { max_staleness_s: Some(299), ..good.clone() },
        NewEndpoint { max_staleness_s: Some(30 * 24 * 3600 + 1), ..good.clone() },
        NewEndpoint {
            profile: NewProfile::HttpsWeb { authorities: "none".to_owned() },
            ..good.clone()
        },
        NewEndpoint {
            profile: NewProfile::HttpsWeb {
                authorities: std::fs::read_to_string(&endpoint.ca_file).unwrap().repeat(513),
            },
            ..good.clone()
        },
        // Nobody there could be believed without a bundle to begin with.
        NewEndpoint {
            profile: NewProfile::HttpsSpiffe { endpoint_spiffe_id: server_id(&partner()) },
            ..good.clone()
        },
    ] {
        let new = NewFederation { endpoint: Some(spoilt.clone()), ..web(&endpoint) };
        assert_eq!(run.code(new).await, "federation_invalid", "{spoilt:?}");
    }
    assert!(run.federations.views().await.is_empty(), "nothing of it is there");
    for max_staleness_s in [300, 30 * 24 * 3600] {
        let longest = NewEndpoint { max_staleness_s: Some(max_staleness_s), ..good.clone() };
        let new = NewFederation { endpoint: Some(longest), ..web(&endpoint) };
        assert_eq!(run.code(new).await, "ok");
        run.federations.remove(&partner_name(), ACTOR).await.unwrap();
    }
    let unknown = run.federations.remove(&partner_name(), ACTOR).await.unwrap_err();
    assert!(matches!(unknown, FederationError::Unknown(_)), "{unknown}");
}

#[tokio::test]
async fn there_are_no_more_relationships_than_a_document_may_have() {
    let run = Scene::new().open("", Vec::new()).await;
    let bundle = document_of(&partner(), 2, 300);
    for number in 0..MAX_FEDERATIONS {
        assert_eq!(run.code(by_hand(&format!("p{number}.example.org"), &bundle)).await, "ok");
    }
    assert_eq!(run.code(by_hand(PARTNER, &bundle)).await, "federation_limit");
    assert_eq!(run.code(by_hand("p0.example.org", &bundle)).await, "federation_exists");
}

#[tokio::test]
async fn what_was_fetched_by_command_outlives_a_restart_and_gets_too_old() {
    let (scene, endpoint, partner) = (Scene::new(), Endpoint::web().await, partner());
    endpoint.document(document_of(&partner, 5, 300));
    let run = scene.open(LOCAL, Vec::new()).await;
    assert_eq!(run.code(web(&endpoint)).await, "ok");
    let view = run.federations.refresh(&partner_name()).await.unwrap();
    assert_eq!(view.bundle.unwrap().sequence, 5);
    // Only shown.
    endpoint.document(document_of(&partner, 6, 300));
    let shown = run.federations.look(&partner_name()).await.unwrap();
    assert_eq!(shown["spiffe_sequence"], 6);
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 5);
    drop(run);
    endpoint.answer("/bundle", Answer::Status(503));
    let run = scene.open(LOCAL, Vec::new()).await;
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 5);
    let failed = run.federations.refresh(&partner_name()).await.unwrap_err();
    assert_eq!(failed.code(), "bundle_not_fetched");
    let view = run.federations.views().await.remove(0);
    assert!(view.failure.unwrap().contains("status 503"));
    drop(run);
    scene.clock.advance(Duration::from_secs(72 * 3600));
    let run = scene.open(LOCAL, Vec::new()).await;
    assert_eq!(run.bundles.bundle(&partner_name()), None, "too old by now");
    assert!(!run.federations.views().await.remove(0).in_use);
}

#[tokio::test]
async fn fe_8_a_fetch_that_ends_after_the_relationship_brings_nothing_back() {
    let (scene, endpoint) = (Scene::new(), Endpoint::web().await);
    endpoint.document(document_of(&partner(), 5, 300));
    let run = scene.open(LOCAL, Vec::new()).await;
    assert_eq!(run.code(web(&endpoint)).await, "ok");
    run.federations.refresh(&partner_name()).await.unwrap();
    let added = run.federations.added.lock().await;
    let relationship = run.federations.relationship_of(&added, &partner_name()).unwrap();
    let relationship = Arc::clone(relationship);
    drop(added);
    let mut present = run.bundles.subscribe();
    present.mark_unchanged();
    run.federations.remove(&partner_name(), ACTOR).await.unwrap();
    assert!(present.has_changed().unwrap() && present.borrow_and_update().is_empty());
    relationship.refresh().await.unwrap_err();
    assert_eq!(run.bundles.latest(&partner_name()), None);
    let kept = scene.folder.path().join("kept");
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0);
}

#[tokio::test]
async fn a_bundle_by_hand_lets_an_endpoint_be_believed_again() {
    let (scene, old) = (Scene::new(), partner());
    let endpoint = of(&old).await;
    let profile = NewProfile::HttpsSpiffe { endpoint_spiffe_id: server_id(&old) };
    let new = fetched(profile, endpoint.url("/bundle"));
    let new = NewFederation { bundle: Some(document_of(&old, 2, 300)), ..new };
    let run = scene.open(LOCAL, Vec::new()).await;
    assert_eq!(run.code(new).await, "ok");
    // The partner lost all its keys at once.
    let fresh = partner();
    endpoint.show(&fresh.x509_svid(&server_id(&fresh)));
    endpoint.document(document_of(&fresh, 4, 300));
    let refused = run.federations.refresh(&partner_name()).await.unwrap_err();
    assert_eq!(refused.code(), "bundle_not_fetched");
    scene.clock.advance(Duration::from_secs(1));
    let given = document_of(&fresh, 3, 300);
    let set = run.federations.set_bundle(&partner_name(), &given, ACTOR).await;
    assert_eq!(set.unwrap().bundle.unwrap().sequence, 3);
    let view = run.federations.refresh(&partner_name()).await.unwrap();
    assert_eq!((view.bundle.unwrap().sequence, view.failure), (4, None));
    drop(run);
    // What was fetched after it is what the next run begins with.
    let run = scene.open(LOCAL, Vec::new()).await;
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 4);
}

#[tokio::test]
async fn a_bundle_beside_a_file_of_the_folder_says_which_is_newer() {
    let scene = Scene::new();
    let partner = partner();
    let file = format!(
        "[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\n"
    );
    let run = scene.open(&file, vec![partner.bundle()]).await;
    let mut unsaid = partner.bundle().to_document();
    unsaid.as_object_mut().unwrap().remove("spiffe_sequence");
    let refused = run.federations.set_bundle(&partner_name(), &unsaid.to_string(), ACTOR).await;
    assert!(matches!(refused, Err(FederationError::NoSequence(_))), "{refused:?}");
    let newer = document_of(&partner, 9, 300);
    run.federations.set_bundle(&partner_name(), &newer, ACTOR).await.unwrap();
    drop(run);
    let run = scene.open(&file, vec![partner.bundle()]).await;
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 9);
    // A reviewed file that is newer still comes before it.
    let text = document_of(&partner, 10, 300);
    let reviewed = Arc::new(Bundle::parse(partner_name(), text.as_bytes()).unwrap());
    drop(run);
    let run = scene.open(&file, vec![reviewed]).await;
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 10);
    let own = "test.example.org".parse().unwrap();
    let refused = run.federations.set_bundle(&own, &newer, ACTOR).await.unwrap_err();
    assert_eq!(refused.code(), "federation_own");
}

#[tokio::test]
async fn a_bundle_set_by_hand_goes_with_its_relationship_of_the_folder() {
    let (scene, partner) = (Scene::new(), partner());
    let file = format!(
        "[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\n"
    );
    let reviewed = || {
        let text = document_of(&partner, 3, 300);
        vec![Arc::new(Bundle::parse(partner_name(), text.as_bytes()).unwrap())]
    };
    let run = scene.open(&file, reviewed()).await;
    let newer = document_of(&partner, 9, 300);
    run.federations.set_bundle(&partner_name(), &newer, ACTOR).await.unwrap();
    drop(run);
    // As long as the folder has the relationship, it is what is used.
    let run = scene.open(&file, reviewed()).await;
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 9);
    drop(run);
    let run = scene.open("", Vec::new()).await;
    run.federations.drop_left_behind(&document(&file), "reload").await.unwrap();
    let leaves = run.store.leaves(0, 100).await.unwrap();
    let last = leaves.last().unwrap().event();
    assert_eq!(last.kind, EventKind::FederationRemoved);
    assert_eq!(last.actor.as_deref(), Some("reload"));
    assert_eq!(last.detail["trust_domain"], PARTNER);
    assert_eq!(last.detail["bundle_set_by"], ACTOR);
    drop(run);
    let run = scene.open(&file, reviewed()).await;
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 3, "the reviewed one");
}

#[tokio::test]
async fn a_folder_that_never_had_a_relationship_leaves_the_bundle_of_it_to_those_that_have() {
    let (scene, partner) = (Scene::new(), partner());
    let file = format!(
        "[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\n"
    );
    let run = scene.open(&file, vec![partner.bundle()]).await;
    let newer = document_of(&partner, 9, 300);
    run.federations.set_bundle(&partner_name(), &newer, ACTOR).await.unwrap();
    let in_folder = run.federations.remove(&partner_name(), ACTOR).await.unwrap_err();
    assert_eq!(in_folder.code(), "federation_from_folder");
    drop(run);
    // Another replica, which starts and reloads with a folder of before.
    let run = scene.open("", Vec::new()).await;
    run.federations.drop_left_behind(&document(""), "reload").await.unwrap();
    drop(run);
    let run = scene.open(&file, vec![partner.bundle()]).await;
    assert_eq!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 9);
    drop(run);
    // Whoever knows that no folder has it any more removes it.
    let run = scene.open("", Vec::new()).await;
    run.federations.remove(&partner_name(), ACTOR).await.unwrap();
    let unknown = run.federations.remove(&partner_name(), ACTOR).await.unwrap_err();
    assert_eq!(unknown.code(), "federation_unknown");
    drop(run);
    let run = scene.open(&file, vec![partner.bundle()]).await;
    assert_ne!(run.bundles.bundle(&partner_name()).unwrap().sequence(), 9);
}

#[tokio::test]
async fn what_is_not_in_force_touches_nothing_that_others_go_by() {
    let (scene, endpoint) = (Scene::new(), Endpoint::web().await);
    endpoint.document(document_of(&partner(), 5, 300));
    let run = scene.open(LOCAL, Vec::new()).await;
    assert_eq!(run.code(web(&endpoint)).await, "ok");
    run.federations.refresh(&partner_name()).await.unwrap();
    let asking = || {
        let content: NewEntry = serde_json::from_value(serde_json::json!({
            "spiffe_id": "spiffe://test.example.org/agent/a",
            "selectors": ["unix:uid:1"],
            "role": "agent",
            "owner": "group:a",
            "expires_at": "2099-01-01T00:00:00Z",
            "federates_with": [PARTNER],
        }))
        .unwrap();
        content.into_entry("a".parse().unwrap(), EntrySource::Admin).unwrap()
    };
    let registry = Arc::clone(&run.federations.registry);
    registry.check(&asking()).unwrap();
    // A folder that has the relationship itself, and would take the place of this one.
    let folder = format!(
        "{LOCAL}[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\n"
    );
    let document = Arc::new(document(&folder));
    let bundles = FederatedBundles::new(document.environment(), [partner().bundle()]);
    let shared = &run.federations.shared;
    let parts = FederationsParts {
        bundles: Arc::new(bundles),
        own: ScratchBundles::of(&[&ScratchTrustDomain::new("test.example.org")]),
        kept: shared.kept.clone(),
        store: Arc::clone(&run.store),
        registry: Arc::clone(&registry),
        environments: Arc::new(Known),
        clock: Arc::clone(&shared.clock),
        news: Arc::default(),
        hands_on: Arc::new(Nobody),
    };
    let before = Some(&*run.federations);
    let next = Federations::new(document, scene.folder.path(), parts, before).unwrap();
    next.reconcile().await.unwrap();
    registry.check(&asking()).expect("the relationship by command stands as it did");
    assert!(scene.folder.path().join("kept/partner.example.org.json").is_file());
    next.take_effect();
    registry.check(&asking()).unwrap_err();
}

#[tokio::test]
async fn a_row_that_does_not_read_or_that_the_folder_has_by_now_is_left_out() {
    let scene = Scene::new();
    let partner = partner();
    let run = scene.open("", Vec::new()).await;
    assert_eq!(run.code(by_hand(PARTNER, &document_of(&partner, 2, 300))).await, "ok");
    let damaged = KeptChange::new("federation", "damaged.example.org", &"?", FOR_GOOD).unwrap();
    assert!(run.store.keep(vec![damaged]).await.unwrap());
    run.federations.reconcile().await.unwrap();
    let names = async |run: &Run| -> BTreeSet<String> {
        run.federations.views().await.into_iter().map(|view| view.source).collect()
    };
    assert_eq!(names(&run).await, ["command".to_owned()].into());
    drop(run);
    let file = format!(
        "[[federation]]\ntrust_domain = \"{PARTNER}\"\nenvironment = \"non-production\"\nbundle = \"x.json\"\n"
    );
    let run = scene.open(&file, vec![partner.bundle()]).await;
    let sources = names(&run).await;
    assert!(sources.len() == 1 && sources.iter().all(|one| one.starts_with("trust-domain.toml:")));
    let damaged: TrustDomain = "damaged.example.org".parse().unwrap();
    run.federations.remove(&damaged, ACTOR).await.expect("what does not read can be removed");
}
