use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::Bundle;
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::json;

use super::{Scene, entry, id, is_quiet, is_refused, names, now, selectors, until};
use crate::{Workload, WorkloadLimits};

const SPLAY: Duration = Duration::from_secs(10);

impl Scene {
    /// One agent, and changes for everybody are spread over ten seconds.
    fn with_splay() -> Self {
        let mut scene = Self::with_one_agent();
        let (issuer, clock) = (scene.issuer.clone(), Arc::new(scene.clock.clone()));
        scene.workload = Workload::with_splay(issuer, clock, WorkloadLimits::default(), SPLAY);
        scene
    }

    /// The bundle with an authority more, which backs no SVID yet.
    fn announce_an_authority(&self, sequence: u64) -> ScratchTrustDomain {
        let (own, next) = (
            Arc::clone(&self.issuer.domain.lock().unwrap()),
            ScratchTrustDomain::new("example.org"),
        );
        self.issuer.set_own_bundle(bundle_of(&[&own, &next], sequence));
        next
    }
}

fn bundle_of(domains: &[&ScratchTrustDomain], sequence: u64) -> Bundle {
    let empty = Bundle::builder("example.org".parse().unwrap()).sequence(sequence);
    let add = |builder: marque_spiffe::BundleBuilder, domain: &&ScratchTrustDomain| {
        builder.x509_authority(domain.root().certificate().clone()).unwrap()
    };
    domains.iter().fold(empty, add).build()
}

#[tokio::test]
async fn wa_2_a_change_for_everybody_is_spread_over_the_splay_and_reaches_everybody() {
    let scene = Scene::with_splay();
    let mut streams: Vec<_> = (0..100).map(|_| scene.subscribe()).collect();
    for stream in &mut streams {
        now(stream.next()).unwrap();
    }
    scene.announce_an_authority(2);
    let mut in_each_second = Vec::new();
    for second in 0..=10 {
        scene.clock.set(START + Duration::from_secs(second));
        let before = streams.len();
        streams.retain_mut(|stream| {
            let mut told = true;
            if let Some(update) = super::at_once(stream.next()) {
                assert_eq!(update.unwrap().unwrap().bundle.x509_authorities().len(), 2);
                told = false;
            }
            told
        });
        in_each_second.push(before - streams.len());
    }
    assert!(streams.is_empty());
    // Whose turn was in the first second hears of it in the second, and so on.
    assert!(in_each_second[1..].iter().all(|count| (5..=15).contains(count)), "{in_each_second:?}");
    assert_eq!(scene.issuer.minted(), 1, "nobody's SVID was touched");
}

#[tokio::test]
async fn wa_2_a_stream_that_waits_for_its_turn_is_woken_by_the_clock() {
    let scene = Scene::with_splay();
    now(scene.subscribe().next()).unwrap();
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    let waiting = tokio::spawn(async move { stream.next().await.unwrap().unwrap() });
    until(|| scene.clock.sleepers() == 1).await;
    scene.announce_an_authority(2);
    // The one that wakes groups, and the stream that waits for its turn.
    until(|| scene.clock.sleepers() == 2).await;
    assert!(!waiting.is_finished());
    scene.clock.set(START + SPLAY);
    assert_eq!(waiting.await.unwrap().bundle.sequence(), 2);
}

#[tokio::test]
async fn wa_2_a_first_message_never_waits_for_a_turn() {
    let scene = Scene::with_splay();
    now(scene.subscribe().next()).unwrap();
    scene.announce_an_authority(2);
    for _ in 0..20 {
        assert_eq!(now(scene.subscribe().next()).unwrap().bundle.sequence(), 2);
    }
}

#[tokio::test]
async fn wa_14_a_kill_or_the_end_of_an_entry_never_waits_for_a_turn() {
    let end = (START + Duration::from_secs(1)).to_string();
    let entries = vec![
        entry("a", json!({})),
        entry("b", json!({"selectors": ["unix:uid:2"]})),
        entry("c", json!({"selectors": ["unix:uid:3"], "expires_at": end})),
    ];
    let mut scene = Scene::new(entries);
    let (issuer, clock) = (scene.issuer.clone(), Arc::new(scene.clock.clone()));
    scene.workload = Workload::with_splay(issuer, clock, WorkloadLimits::default(), SPLAY);
    // The first stream's turn is at once; none of these is the first.
    drop(scene.subscribe());
    let [mut killed, mut removed, mut ending] = ["unix:uid:1", "unix:uid:2", "unix:uid:3"]
        .map(|selector| scene.workload.subscribe_x509(selectors(&[selector])));
    for stream in [&mut killed, &mut removed, &mut ending] {
        now(stream.next()).unwrap();
    }
    scene.announce_an_authority(2);
    for stream in [&mut killed, &mut removed, &mut ending] {
        assert!(is_quiet(stream.next()));
    }
    scene.issuer.kill(&id("a"));
    assert!(is_refused(&now(killed.next())));
    scene.issuer.registry.remove(&"b".parse().unwrap()).unwrap();
    scene.issuer.publish(|_| {});
    assert!(is_refused(&now(removed.next())));
    assert!(is_quiet(ending.next()));
    scene.clock.advance(Duration::from_secs(1));
    assert!(is_refused(&now(ending.next())));
}

#[tokio::test]
async fn wa_2_an_entry_does_not_wait_for_the_turn_of_a_bundle_and_brings_it_along() {
    let scene = Scene::with_splay();
    drop(scene.subscribe());
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    scene.announce_an_authority(2);
    assert!(is_quiet(stream.next()));
    scene.issuer.registry.add(entry("b", json!({}))).unwrap();
    scene.issuer.publish(|_| {});
    let update = now(stream.next()).unwrap();
    assert_eq!((names(&update), update.bundle.sequence()), (vec!["/a", "/b"], 2));
    // With that its turn is over: nothing comes when it would have been.
    scene.clock.set(START + SPLAY);
    assert!(is_quiet(stream.next()));
}

#[tokio::test]
async fn wa_2_a_renewal_does_not_wait_for_a_turn() {
    let scene = Scene::with_splay();
    drop(scene.subscribe());
    let mut stream = scene.subscribe();
    now(stream.next()).unwrap();
    scene.at_per_cent(56);
    scene.announce_an_authority(2);
    let update = now(stream.next()).unwrap();
    assert_eq!(update.bundle.sequence(), 2);
    assert_eq!(scene.issuer.minted(), 2);
}

#[tokio::test]
async fn wa_2_later_changes_do_not_put_a_turn_off() {
    let scene = Scene::with_splay();
    let mut streams: Vec<_> = (0..10).map(|_| scene.subscribe()).collect();
    for stream in &mut streams {
        now(stream.next()).unwrap();
    }
    let mut heard = 0;
    for change in 0..20 {
        scene.announce_an_authority(2 + change);
        for stream in &mut streams {
            if let Some(update) = super::at_once(stream.next()) {
                assert_eq!(update.unwrap().unwrap().bundle.sequence(), 2 + change, "the newest");
                heard += 1;
            }
        }
        scene.clock.advance(Duration::from_secs(1));
    }
    assert!(heard >= streams.len(), "{heard} updates in twice the splay");
}

#[tokio::test]
async fn wa_2_svids_of_an_authority_that_is_gone_are_replaced_in_turn() {
    let scene = Scene::with_splay();
    let mut streams: Vec<_> = (0..10).map(|_| scene.subscribe()).collect();
    for stream in &mut streams {
        now(stream.next()).unwrap();
    }
    let next = ScratchTrustDomain::new("example.org");
    let only_next = bundle_of(&[&next], 2);
    *scene.issuer.domain.lock().unwrap() = Arc::new(next);
    scene.issuer.set_own_bundle(only_next);
    let quiet = streams.iter_mut().filter_map(|stream| super::at_once(stream.next())).count();
    assert!(quiet <= 1, "{quiet} at once");
    // Whoever comes now gets what stands now, never the old.
    let fresh = now(scene.subscribe().next()).unwrap();
    assert_eq!((fresh.bundle.sequence(), scene.issuer.minted()), (2, 2));
    scene.clock.set(START + SPLAY);
    for stream in &mut streams {
        if let Some(update) = super::at_once(stream.next()) {
            let update = update.unwrap().unwrap();
            assert!(Arc::ptr_eq(&update.svids[0].material, &fresh.svids[0].material));
        }
    }
}

#[tokio::test]
async fn wa_9_streams_of_bundles_take_their_turn_too() {
    let scene = Scene::with_splay();
    drop(scene.subscribe());
    let mut stream = scene.workload.subscribe_bundles(selectors(&["unix:uid:1"]));
    now(stream.next()).unwrap();
    scene.announce_an_authority(2);
    assert!(is_quiet(stream.next()));
    scene.clock.set(START + SPLAY);
    assert_eq!(now(stream.next()).unwrap().own.sequence(), 2);
}
