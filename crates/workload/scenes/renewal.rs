use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::Bundle;
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::json;

use super::issuer::Mood;
use super::{Scene, entry, is_quiet, is_refused, now, until};
use crate::{WorkloadError, WorkloadLimits};

#[tokio::test]
async fn an_svid_is_renewed_at_half_life_give_or_take_a_tenth() {
    for n in 0..40 {
        let scene = Scene::new(vec![entry(&format!("a{n}"), json!({}))]);
        let mut stream = scene.subscribe();
        let first = now(stream.next()).unwrap();
        scene.at_per_cent(44);
        assert!(is_quiet(stream.next()), "{n}");
        scene.at_per_cent(56);
        let second = now(stream.next()).unwrap();
        assert!(!Arc::ptr_eq(&first.svids[0].material, &second.svids[0].material), "{n}");
    }
}

#[tokio::test]
async fn entries_minted_together_are_not_renewed_together() {
    let entries = (0..40).map(|n| entry(&format!("a{n}"), json!({}))).collect();
    let scene = Scene::new(entries);
    now(scene.subscribe().next()).unwrap();
    assert_eq!(scene.issuer.minted(), 40);
    scene.at_per_cent(50);
    now(scene.subscribe().next()).unwrap();
    let renewed = scene.issuer.minted() - 40;
    assert!((5..=35).contains(&renewed), "{renewed} of 40");
}

#[tokio::test]
async fn a_renewal_reaches_every_stream_and_is_minted_once() {
    let scene = Scene::with_one_agent();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut stream = scene.subscribe();
        now(stream.next()).unwrap();
        waiting.push(tokio::spawn(async move { stream.next().await.unwrap().unwrap() }));
    }
    until(|| scene.clock.sleepers() == 1).await;
    scene.at_per_cent(56);
    for stream in waiting {
        assert!(
            stream.await.unwrap().svids[0].material.not_after > START + Duration::from_mins(60)
        );
    }
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn renewals_go_on_and_on() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    let mut last = now(stream.next()).unwrap().svids[0].material.not_after;
    for _ in 0..10 {
        scene.clock.advance(Duration::from_mins(40));
        let next = now(stream.next()).unwrap().svids[0].material.not_after;
        assert!(next > last);
        last = next;
    }
}

#[tokio::test]
async fn a_very_short_life_is_not_renewed_in_haste_and_still_not_outlived() {
    let scene = Scene::with_one_agent();
    *scene.issuer.lifetime.lock().unwrap() = Duration::from_millis(100);
    let mut stream = scene.subscribe();
    let first = now(stream.next()).unwrap();
    scene.clock.advance(Duration::from_millis(99));
    assert!(is_quiet(stream.next()));
    let waiting = tokio::spawn(async move { stream.next().await.unwrap().unwrap() });
    until(|| scene.clock.sleepers() == 1).await;
    scene.clock.advance(Duration::from_millis(1));
    let second = waiting.await.unwrap();
    assert!(second.svids[0].material.not_after > first.svids[0].material.not_after);
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn a_valid_svid_is_served_while_the_issuer_fails_and_never_past_its_end() {
    let scene = Scene::with_one_agent();
    let mut open = scene.subscribe();
    let first = now(open.next()).unwrap();
    scene.issuer.is(Mood::Failing);
    scene.at_per_cent(56);
    assert!(is_quiet(open.next()));
    let fresh = now(scene.subscribe().next()).unwrap();
    assert!(Arc::ptr_eq(&first.svids[0].material, &fresh.svids[0].material));

    scene.clock.set(first.svids[0].material.not_after - Duration::from_nanos(1));
    assert!(is_quiet(open.next()));
    let waiting = tokio::spawn(async move { open.next().await });
    until(|| scene.clock.sleepers() == 1).await;
    scene.clock.advance(Duration::from_nanos(1));
    let outcome = waiting.await.unwrap().unwrap();
    assert!(matches!(outcome, Err(WorkloadError::Mint(_))), "{outcome:?}");
    assert!(matches!(now(scene.subscribe().next()), Err(WorkloadError::Mint(_))));
}

#[tokio::test]
async fn an_issuer_that_fails_is_asked_again_after_a_while_and_not_by_every_caller() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    scene.issuer.is(Mood::Failing);
    scene.at_per_cent(56);
    for _ in 0..10 {
        now(scene.subscribe().next()).unwrap();
    }
    assert_eq!(scene.issuer.minted(), 2);
    scene.issuer.is(Mood::Willing);
    scene.clock.advance(Duration::from_millis(4_999));
    assert!(is_quiet(stream.next()));
    scene.clock.advance(Duration::from_millis(1));
    now(stream.next()).unwrap();
    assert_eq!(scene.issuer.minted(), 3);
}

#[tokio::test]
async fn an_issuer_that_refuses_is_believed_over_a_valid_svid() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    scene.issuer.is(Mood::Refusing);
    scene.at_per_cent(56);
    assert!(is_refused(&now(stream.next())));
}

#[tokio::test]
async fn an_svid_whose_authority_is_gone_is_replaced_at_once() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    let first = now(stream.next()).unwrap();
    let (old, new) =
        (Arc::clone(&scene.issuer.domain.lock().unwrap()), ScratchTrustDomain::new("example.org"));
    let bundle = |authorities: &[&ScratchTrustDomain], sequence| -> Bundle {
        let empty = Bundle::builder(old.trust_domain().clone()).sequence(sequence);
        let add = |builder: marque_spiffe::BundleBuilder, domain: &&ScratchTrustDomain| {
            builder.x509_authority(domain.root().certificate().clone()).unwrap()
        };
        authorities.iter().fold(empty, add).build()
    };
    // The new authority is published before it is used: nothing is minted for that.
    scene.issuer.set_own_bundle(bundle(&[&old, &new], 2));
    let second = now(stream.next()).unwrap();
    assert!(Arc::ptr_eq(&first.svids[0].material, &second.svids[0].material));
    let only_new = bundle(&[&new], 3);
    *scene.issuer.domain.lock().unwrap() = Arc::new(new);
    scene.issuer.set_own_bundle(only_new);
    let third = now(stream.next()).unwrap();
    assert!(!Arc::ptr_eq(&first.svids[0].material, &third.svids[0].material));
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn an_entry_that_changed_gets_another_svid() {
    let scene = Scene::with_one_agent();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    let changed = entry("a", json!({"dns_names": ["a.example.org"]}));
    scene.issuer.registry.replace_all(vec![changed]).unwrap();
    scene.issuer.publish(|_| {});
    now(stream.next()).unwrap();
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn no_more_svids_are_kept_than_the_limit() {
    let entries = (0..10).map(|n| entry(&format!("a{n}"), json!({}))).collect();
    let limits = WorkloadLimits { x509_svids: 3, ..WorkloadLimits::default() };
    let scene = Scene::with_limits(entries, limits);
    // More identities than may be kept are served all the same.
    assert_eq!(now(scene.subscribe().next()).unwrap().svids.len(), 10);
    assert!(scene.workload.shared.kept().0 <= 3);
}
