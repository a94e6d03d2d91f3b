use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::UnverifiedX509Svid;
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::json;

use super::issuer::Mood;
use super::{Scene, entry, id, is_quiet, is_refused, names, now, selectors, until};
use crate::{BundleSet, WorkloadError};

#[tokio::test]
async fn wa_2_the_first_message_comes_at_once_and_is_the_full_state() {
    let scene = Scene::with_one_agent();
    let update = now(scene.subscribe().next()).unwrap();
    assert_eq!(names(&update), ["/a"]);
    assert_eq!(update.bundle.trust_domain().as_str(), "example.org");
    assert_eq!(update.federated.len(), 0);
    let material = &update.svids[0].material;
    let svid = UnverifiedX509Svid::parse_chain(material.chain.clone()).unwrap();
    assert_eq!(svid.verify(&update.bundle, START).unwrap().id(), &id("a"));
}

#[tokio::test]
async fn wa_7_a_caller_without_an_identity_is_refused_and_its_stream_ends() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.workload.subscribe_x509(selectors(&["unix:uid:2"]));
    assert!(is_refused(&now(stream.next())));
    assert!(stream.next().await.is_none());
    assert_eq!(scene.issuer.minted(), 0);
}

#[tokio::test]
async fn wa_2_a_new_entry_reaches_an_open_stream_while_the_clock_stands_still() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    let waiting = tokio::spawn(async move { stream.next().await });
    until(|| scene.clock.sleepers() == 1).await;
    scene.issuer.registry.add(entry("b", json!({}))).unwrap();
    scene.issuer.publish(|_| {});
    assert_eq!(names(&waiting.await.unwrap().unwrap().unwrap()), ["/a", "/b"]);
}

#[tokio::test]
async fn wa_7_the_stream_of_a_caller_that_lost_its_last_identity_ends() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    scene.issuer.registry.remove(&"a".parse().unwrap()).unwrap();
    scene.issuer.publish(|_| {});
    assert!(is_refused(&now(stream.next())));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn wa_14_a_kill_ends_the_streams_of_the_agent_and_no_others() {
    let scene =
        Scene::new(vec![entry("a", json!({})), entry("b", json!({"selectors": ["unix:uid:2"]}))]);
    let mut killed = scene.subscribe();
    let mut other = scene.workload.subscribe_x509(selectors(&["unix:uid:2"]));
    now(killed.next()).unwrap();
    now(other.next()).unwrap();
    let waiting = tokio::spawn(async move { killed.next().await });
    until(|| scene.clock.sleepers() == 1).await;
    scene.issuer.kill(&id("a"));
    assert!(is_refused(&waiting.await.unwrap().unwrap()));
    assert!(is_quiet(other.next()));
    assert!(is_refused(&now(scene.subscribe().next())));
    scene.issuer.publish(|state| state.stops.all = true);
    assert!(is_refused(&now(other.next())));
}

#[tokio::test]
async fn a_kill_takes_one_identity_of_several() {
    let scene = Scene::new(vec![entry("a", json!({})), entry("b", json!({}))]);
    let mut stream = scene.subscribe();
    assert_eq!(names(&now(stream.next()).unwrap()), ["/a", "/b"]);
    scene.issuer.kill(&id("a"));
    let update = now(stream.next()).unwrap();
    assert_eq!((names(&update), update.epoch), (vec!["/b"], 1));
}

#[tokio::test]
async fn wa_14_a_kill_that_comes_while_minting_is_heeded() {
    let scene = Scene::with_one_agent();
    let closed = scene.issuer.gate.acquire().await.unwrap();
    let mut stream = scene.subscribe();
    let waiting = tokio::spawn(async move { stream.next().await });
    until(|| scene.issuer.minted() == 1).await;
    scene.issuer.kill(&id("a"));
    drop(closed);
    assert!(is_refused(&waiting.await.unwrap().unwrap()));
}

#[tokio::test]
async fn what_does_not_change_a_callers_state_is_not_sent() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    assert!(is_quiet(stream.next()));
    let other = entry("b", json!({"selectors": ["unix:uid:2"]}));
    scene.issuer.registry.add(other).unwrap();
    scene.issuer.kill(&id("b"));
    assert!(is_quiet(stream.next()));
    // The same entries, read anew as a reconciler does.
    let same = vec![entry("a", json!({})), entry("b", json!({"selectors": ["unix:uid:2"]}))];
    scene.issuer.registry.replace_all(same).unwrap();
    scene.issuer.publish(|_| {});
    assert!(is_quiet(stream.next()));
    assert_eq!(scene.issuer.minted(), 1);
}

#[tokio::test]
async fn wa_2_a_slow_subscriber_gets_the_newest_state_alone() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    for name in ["b", "c", "d"] {
        scene.issuer.registry.add(entry(name, json!({}))).unwrap();
        scene.issuer.publish(|state| state.epoch += 1);
    }
    let update = now(stream.next()).unwrap();
    assert_eq!((names(&update), update.epoch), (vec!["/a", "/b", "/c", "/d"], 3));
    assert!(is_quiet(stream.next()));
}

#[tokio::test]
async fn new_bundles_are_sent_and_foreign_ones_beside_the_own() {
    let scene = Scene::with_a_federating_agent();
    let mut stream = scene.subscribe();
    let own = now(stream.next()).unwrap().bundle;
    let (partner, impostor) =
        (ScratchTrustDomain::new("partner.org"), ScratchTrustDomain::new("example.org"));
    scene.issuer.publish(|state| {
        let federated = [partner.bundle(), impostor.bundle()];
        state.bundles = Arc::new(BundleSet::new(own.clone(), federated));
    });
    let update = now(stream.next()).unwrap();
    assert_eq!(update.bundle, own, "nobody else speaks for the own trust domain");
    assert_eq!(update.federated, [partner.bundle()]);
    scene.issuer.publish(|state| state.bundles = Arc::new(BundleSet::new(own.clone(), [])));
    assert_eq!(now(stream.next()).unwrap().federated.len(), 0);
    assert_eq!(scene.issuer.minted(), 1);
}

#[tokio::test]
async fn wa_8_the_order_is_that_of_the_entries_and_each_hint_is_given_once() {
    let scene = Scene::new(vec![
        entry("c", json!({"hint": "one"})),
        entry("b", json!({"hint": "one"})),
        entry("a", json!({"hint": "two"})),
        entry("d", json!({})),
    ]);
    let update = now(scene.subscribe().next()).unwrap();
    let hints: Vec<_> =
        update.svids.iter().map(|svid| svid.hint.as_ref().map(|hint| hint.as_str())).collect();
    assert_eq!(names(&update), ["/a", "/b", "/c", "/d"]);
    assert_eq!(hints, [Some("two"), Some("one"), None, None]);
}

#[tokio::test]
async fn subscribers_of_one_entry_share_one_svid_minted_once() {
    let scene = Scene::with_one_agent();
    let closed = scene.issuer.gate.acquire().await.unwrap();
    let streams: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = scene.subscribe();
            tokio::spawn(async move { stream.next().await.unwrap().unwrap() })
        })
        .collect();
    until(|| scene.issuer.minted() == 1).await;
    drop(closed);
    let mut updates = Vec::new();
    for stream in streams {
        updates.push(stream.await.unwrap());
    }
    let first = &updates[0].svids[0].material;
    assert!(updates.iter().all(|update| Arc::ptr_eq(&update.svids[0].material, first)));
    assert_eq!(scene.issuer.minted(), 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_while_minting_holds_nobody_up() {
    let scene = Scene::with_one_agent();
    let closed = scene.issuer.gate.acquire().await.unwrap();
    assert!(is_quiet(scene.subscribe().next()));
    drop(closed);
    now(scene.subscribe().next()).unwrap();
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn an_entry_that_ends_by_itself_ends_its_stream() {
    let end = (START + Duration::from_secs(60)).to_string();
    let scene = Scene::new(vec![entry("a", json!({"expires_at": end}))]);
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    let waiting = tokio::spawn(async move { stream.next().await });
    until(|| scene.clock.sleepers() == 1).await;
    scene.clock.advance(Duration::from_secs(60));
    assert!(is_refused(&waiting.await.unwrap().unwrap()));
}

#[tokio::test]
async fn wa_5_one_svid_that_cannot_be_minted_fails_the_whole() {
    let scene = Scene::with_one_agent();
    now(scene.subscribe().next()).unwrap();
    scene.issuer.registry.add(entry("b", json!({}))).unwrap();
    scene.issuer.publish(|_| {});
    scene.issuer.is(Mood::Failing);
    let outcome = now(scene.subscribe().next());
    assert!(matches!(outcome, Err(WorkloadError::Mint(_))), "{outcome:?}");
}

#[tokio::test]
async fn an_svid_of_somebody_else_is_not_served() {
    let scene = Scene::with_one_agent();
    scene.issuer.is(Mood::Confused);
    let outcome = now(scene.subscribe().next());
    assert!(matches!(outcome, Err(WorkloadError::WrongSvid)), "{outcome:?}");
}

#[tokio::test]
async fn the_end_of_the_issuer_ends_the_stream() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    let waiting = tokio::spawn(async move { stream.next().await });
    until(|| scene.clock.sleepers() == 1).await;
    scene.issuer.close();
    let outcome = waiting.await.unwrap().unwrap();
    assert!(matches!(outcome, Err(WorkloadError::Unavailable)), "{outcome:?}");
}

#[tokio::test]
async fn neither_keys_nor_selectors_are_printed() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    let update = now(stream.next()).unwrap();
    let key = update.svids[0].material.private_key.expose_der();
    assert!(key.len() > 100);
    let printed = format!("{update:?}{stream:?}{:?}", scene.workload);
    assert!(printed.contains("PrivateKey(..)"));
    assert!(!printed.contains("unix:uid"), "{printed}");
}
