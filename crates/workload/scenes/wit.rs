use std::collections::BTreeSet;
use std::sync::Arc;

use marque_jose::{HolderKey, Signer as _};
use marque_registry::Entry;
use marque_spiffe::{Bundle, SpiffeId, UnverifiedWitSvid};
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::json;

use super::issuer::Mood;
use super::{Scene, entry, id, is_quiet, is_refused, now, selectors, until};
use crate::{BundleProfile, WitSubscription, WitUpdate, WorkloadError};

impl Scene {
    fn wit(&self, wanted: Option<SpiffeId>) -> WitSubscription {
        self.workload.subscribe_wit(selectors(&["unix:uid:1"]), wanted)
    }
}

fn two_agents() -> Vec<Entry> {
    vec![entry("a", json!({"hint": "main"})), entry("b", json!({"hint": "main"}))]
}

fn paths(update: &WitUpdate) -> Vec<&str> {
    update.svids.iter().map(|svid| svid.material.spiffe_id.path()).collect()
}

#[tokio::test]
async fn the_first_message_comes_at_once_with_tokens_that_verify_and_their_keys() {
    let scene = Scene::with_one_agent();
    let update = now(scene.wit(None).next()).unwrap();
    assert_eq!(paths(&update), ["/a"]);
    let material = &update.svids[0].material;
    let svid = UnverifiedWitSvid::parse(material.token.expose_token()).unwrap();
    let bundle = scene.issuer.domain.lock().unwrap().bundle();
    let svid = svid.verify(&bundle, START).unwrap();
    let holder = HolderKey::from_private_jwk(&material.private_key).unwrap();
    assert_eq!(svid.holder_key(), holder.public_key());
}

#[tokio::test]
async fn wa_6_hints_are_unique_in_one_update_and_the_first_keeps_its_own() {
    let scene = Scene::new(two_agents());
    let update = now(scene.wit(None).next()).unwrap();
    assert_eq!(paths(&update), ["/a", "/b"]);
    let hints: Vec<_> = update.svids.iter().map(|svid| svid.hint.as_ref()).collect();
    assert_eq!((hints[0].unwrap().as_str(), hints[1]), ("main", None));
}

#[tokio::test]
async fn the_identity_that_is_named_comes_alone_with_its_hint() {
    let scene = Scene::new(two_agents());
    let update = now(scene.wit(Some(id("b"))).next()).unwrap();
    assert_eq!(paths(&update), ["/b"]);
    assert_eq!(update.svids[0].hint.as_ref().unwrap().as_str(), "main");
    assert_eq!(scene.issuer.minted(), 1);
}

#[tokio::test]
async fn who_is_not_entitled_to_the_identity_that_it_names_is_refused() {
    let scene =
        Scene::new(vec![entry("a", json!({})), entry("b", json!({"selectors": ["unix:uid:2"]}))]);
    for wanted in ["b", "nobody"] {
        let mut stream = scene.wit(Some(id(wanted)));
        assert!(is_refused(&now(stream.next())));
        assert!(stream.next().await.is_none());
    }
    let mut stranger = scene.workload.subscribe_wit(selectors(&["unix:uid:3"]), None);
    assert!(is_refused(&now(stranger.next())));
    assert_eq!(scene.issuer.minted(), 0);
}

#[tokio::test]
async fn a_stream_of_one_identity_ends_with_that_identity() {
    let scene = Scene::new(two_agents());
    let (mut one, mut all) = (scene.wit(Some(id("a"))), scene.wit(None));
    now(one.next()).unwrap();
    now(all.next()).unwrap();
    scene.issuer.kill(&id("a"));
    assert!(is_refused(&now(one.next())));
    assert_eq!(paths(&now(all.next()).unwrap()), ["/b"]);
    scene.issuer.publish(|state| state.stops.all = true);
    assert!(is_refused(&now(all.next())));
}

#[tokio::test]
async fn a_kill_that_comes_while_minting_is_heeded() {
    let scene = Scene::with_one_agent();
    let closed = scene.issuer.gate.acquire().await.unwrap();
    let mut stream = scene.wit(None);
    let waiting = tokio::spawn(async move { stream.next().await });
    until(|| scene.issuer.minted() == 1).await;
    scene.issuer.kill(&id("a"));
    drop(closed);
    assert!(is_refused(&waiting.await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_new_entry_reaches_an_open_stream() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.wit(None);
    now(stream.next()).unwrap();
    assert!(is_quiet(stream.next()));
    let waiting = tokio::spawn(async move { stream.next().await });
    until(|| scene.clock.sleepers() == 1).await;
    scene.issuer.registry.add(entry("b", json!({}))).unwrap();
    scene.issuer.publish(|_| {});
    assert_eq!(paths(&waiting.await.unwrap().unwrap().unwrap()), ["/a", "/b"]);
}

#[tokio::test]
async fn many_callers_share_one_token_which_is_renewed_at_half_its_life() {
    let scene = Scene::with_one_agent();
    let mut streams = [scene.wit(None), scene.wit(None), scene.wit(Some(id("a")))];
    let mut tokens = BTreeSet::new();
    for stream in &mut streams {
        let update = now(stream.next()).unwrap();
        tokens.insert(update.svids[0].material.token.expose_token().to_owned());
    }
    assert_eq!((tokens.len(), scene.issuer.minted()), (1, 1));
    scene.at_per_cent(44);
    assert!(is_quiet(streams[0].next()));
    scene.at_per_cent(56);
    let renewed = now(streams[0].next()).unwrap();
    assert!(tokens.insert(renewed.svids[0].material.token.expose_token().to_owned()));
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn a_valid_token_is_served_when_its_renewal_fails_and_not_past_its_end() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.wit(None);
    now(stream.next()).unwrap();
    scene.issuer.is(Mood::Failing);
    scene.at_per_cent(99);
    assert!(is_quiet(stream.next()));
    assert_eq!(paths(&now(scene.wit(None).next()).unwrap()), ["/a"]);
    scene.at_per_cent(100);
    assert!(matches!(now(stream.next()), Err(WorkloadError::Mint(_))));
}

#[tokio::test]
async fn a_token_for_somebody_else_is_not_served() {
    let scene = Scene::with_one_agent();
    scene.issuer.is(Mood::Confused);
    assert!(matches!(now(scene.wit(None).next()), Err(WorkloadError::WrongSvid)));
}

#[tokio::test]
async fn a_token_whose_key_left_the_bundle_is_minted_again() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.wit(None);
    now(stream.next()).unwrap();
    let domain = ScratchTrustDomain::new("example.org");
    // The scratch authorities call their keys alike; this bundle has none for WIT-SVIDs.
    let own = Bundle::builder(domain.trust_domain().clone()).sequence(2).build();
    scene.issuer.set_own_bundle(own);
    now(stream.next()).unwrap();
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn only_changed_keys_for_wit_svids_wake_a_stream_of_their_bundles() {
    let scene = Scene::with_one_agent();
    let domain = scene.issuer.domain.lock().unwrap().clone();
    let subscribe = || scene.workload.subscribe_bundles(selectors(&["unix:uid:1"]));
    let (mut wit, mut jwt, mut all) =
        (subscribe().only(BundleProfile::Wit), subscribe().only(BundleProfile::Jwt), subscribe());
    for stream in [&mut wit, &mut jwt, &mut all] {
        now(stream.next()).unwrap();
        assert!(is_quiet(stream.next()));
    }
    let (x509, jwt_key) = (domain.root().certificate().clone(), domain.signer());
    let same = Bundle::builder(domain.trust_domain().clone())
        .x509_authority(x509)
        .and_then(|bundle| {
            bundle.jwt_authority(jwt_key.key_id().clone(), jwt_key.public_key().clone())
        })
        .unwrap();
    scene.issuer.set_own_bundle(same.sequence(2).build());
    assert!(now(wit.next()).unwrap().own.wit_authorities().is_empty());
    now(all.next()).unwrap();
    assert!(is_quiet(jwt.next()));
}

#[tokio::test]
async fn whoever_sees_some_identities_alone_gets_the_tokens_of_those() {
    let scene = Scene::new(two_agents());
    let view = scene.workload.limited_to(Arc::from(["spiffe://example.org/b".parse().unwrap()]));
    let subscribe = |wanted| view.subscribe_wit(selectors(&["unix:uid:1"]), wanted);
    assert_eq!(paths(&now(subscribe(None).next()).unwrap()), ["/b"]);
    assert!(is_refused(&now(subscribe(Some(id("a"))).next())));
}
