use std::sync::Arc;
use std::time::Duration;

use marque_jose::Signer;
use marque_spiffe::Bundle;
use marque_testkit::{START, ScratchSigner, ScratchTrustDomain};
use serde_json::json;

use super::{Scene, entry, id, is_quiet, is_refused, now, selectors, until};
use crate::{BundleProfile, BundleSet, BundleSubscription, WorkloadError};

impl Scene {
    fn bundles(&self) -> BundleSubscription {
        self.workload.subscribe_bundles(selectors(&["unix:uid:1"]))
    }
}

#[tokio::test]
async fn wa_9_the_first_message_comes_at_once_with_the_own_bundle() {
    let scene = Scene::with_one_agent();
    scene.issuer.publish(|state| state.epoch = 7);
    let update = now(scene.bundles().next()).unwrap();
    assert_eq!(update.own, scene.issuer.domain.lock().unwrap().bundle());
    assert_eq!((update.federated.len(), update.epoch), (0, 7));
    assert_eq!(scene.issuer.minted(), 0);
}

#[tokio::test]
async fn a_caller_without_an_identity_is_refused() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.workload.subscribe_bundles(selectors(&["unix:uid:2"]));
    assert!(is_refused(&now(stream.next())));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn wa_14_a_kill_ends_a_stream_of_bundles() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.bundles();
    now(stream.next()).unwrap();
    scene.issuer.kill(&id("a"));
    assert!(is_refused(&now(stream.next())));
}

#[tokio::test]
async fn an_entry_that_ends_by_itself_ends_the_stream() {
    let end = START + Duration::from_secs(60);
    let scene = Scene::new(vec![entry("a", json!({"expires_at": end.to_string()}))]);
    let mut stream = scene.bundles();
    now(stream.next()).unwrap();
    let waiting = tokio::spawn(async move { stream.next().await });
    until(|| scene.clock.sleepers() == 1).await;
    scene.clock.set(end);
    assert!(is_refused(&waiting.await.unwrap().unwrap()));
}

#[tokio::test]
async fn only_changed_authorities_of_the_wanted_profile_are_sent() {
    let scene = Scene::with_one_agent();
    let domain = Arc::clone(&scene.issuer.domain.lock().unwrap());
    let mut all = scene.bundles();
    let mut x509 = scene.bundles().only(BundleProfile::X509);
    let mut jwt = scene.bundles().only(BundleProfile::Jwt);
    for stream in [&mut all, &mut x509, &mut jwt] {
        now(stream.next()).unwrap();
        assert!(is_quiet(stream.next()));
    }
    // Another token key, the same certificates.
    let signer = ScratchSigner::generate("next");
    let builder = Bundle::builder(domain.trust_domain().clone())
        .x509_authority(domain.root().certificate().clone())
        .unwrap()
        .jwt_authority(signer.key_id().clone(), signer.public_key().clone())
        .unwrap();
    scene.issuer.set_own_bundle(builder.clone().sequence(2).build());
    now(all.next()).unwrap();
    now(jwt.next()).unwrap();
    assert!(is_quiet(x509.next()));
    // Another certificate, the same token key.
    let other = ScratchTrustDomain::new("example.org");
    let builder = builder.x509_authority(other.root().certificate().clone()).unwrap();
    scene.issuer.set_own_bundle(builder.clone().sequence(3).build());
    now(all.next()).unwrap();
    assert_eq!(now(x509.next()).unwrap().own.x509_authorities().len(), 2);
    assert!(is_quiet(jwt.next()));
    // A new sequence alone.
    scene.issuer.set_own_bundle(builder.sequence(4).build());
    for stream in [&mut all, &mut x509, &mut jwt] {
        assert!(is_quiet(stream.next()));
    }
}

#[tokio::test]
async fn federated_bundles_come_and_go() {
    let scene = Scene::with_a_federating_agent();
    let mut stream = scene.bundles();
    let own = now(stream.next()).unwrap().own;
    let partner = ScratchTrustDomain::new("partner.org");
    scene.issuer.publish(|state| {
        state.bundles = Arc::new(BundleSet::new(own.clone(), [partner.bundle()]));
    });
    assert_eq!(now(stream.next()).unwrap().federated, [partner.bundle()]);
    // One that no entry of the caller names is no news to it.
    let other = ScratchTrustDomain::new("other.org");
    scene.issuer.publish(|state| {
        let federated = [partner.bundle(), other.bundle()];
        state.bundles = Arc::new(BundleSet::new(own.clone(), federated));
    });
    assert!(is_quiet(stream.next()));
    scene.issuer.publish(|state| state.bundles = Arc::new(BundleSet::new(own.clone(), [])));
    assert_eq!(now(stream.next()).unwrap().federated.len(), 0);
}

#[tokio::test]
async fn the_bundles_of_a_caller_are_the_union_over_its_entries_and_follow_them() {
    let scene = Scene::new(vec![entry("a", json!({"federates_with": ["partner.org"]}))]);
    let (partner, other) =
        (ScratchTrustDomain::new("partner.org"), ScratchTrustDomain::new("other.org"));
    let own = scene.issuer.domain.lock().unwrap().bundle();
    scene.issuer.publish(|state| {
        let federated = [partner.bundle(), other.bundle()];
        state.bundles = Arc::new(BundleSet::new(own.clone(), federated));
    });
    let mut stream = scene.bundles();
    assert_eq!(now(stream.next()).unwrap().federated, [partner.bundle()]);
    let both = json!({"federates_with": ["partner.org", "other.org"]});
    scene.issuer.registry.add(entry("b", both)).unwrap();
    scene.issuer.publish(|_| {});
    let update = now(stream.next()).unwrap();
    assert_eq!(update.federated, [other.bundle(), partner.bundle()], "each once, by name");
    scene.issuer.kill(&id("b"));
    assert_eq!(now(stream.next()).unwrap().federated, [partner.bundle()]);
    // A caller with another entry gets nothing of it.
    let elsewhere = entry("c", json!({"selectors": ["unix:uid:2"]}));
    scene.issuer.registry.add(elsewhere).unwrap();
    scene.issuer.publish(|_| {});
    let mut other_caller = scene.workload.subscribe_bundles(selectors(&["unix:uid:2"]));
    assert_eq!(now(other_caller.next()).unwrap().federated.len(), 0);
}

#[tokio::test]
async fn revocation_lists_are_news_for_x509_and_none_for_jwt() {
    let scene = Scene::with_one_agent();
    let mut x509 = scene.bundles().only(BundleProfile::X509);
    let mut jwt = scene.bundles().only(BundleProfile::Jwt);
    let mut svids = scene.subscribe();
    let own = now(x509.next()).unwrap().own;
    now(jwt.next()).unwrap();
    now(svids.next()).unwrap();
    let list: Arc<[u8]> = [1, 2, 3].into();
    let with = BundleSet::new(own, []).with_crls([Arc::clone(&list)]);
    scene.issuer.publish(|state| state.bundles = Arc::new(with));
    assert_eq!(*now(x509.next()).unwrap().crls, [Arc::clone(&list)]);
    assert_eq!(*now(svids.next()).unwrap().crls, [list]);
    assert!(is_quiet(jwt.next()));
}

#[tokio::test]
async fn the_end_of_the_issuer_ends_the_stream() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.bundles();
    now(stream.next()).unwrap();
    scene.issuer.close();
    let outcome = now(stream.next());
    assert!(matches!(outcome, Err(WorkloadError::Unavailable)), "{outcome:?}");
}
