//! Who is woken by what, and what is still true when it is asked once more.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use marque_spiffe::Clock;
use marque_testkit::START;
use serde_json::json;

use super::{Scene, at_once, entry, id, is_quiet, is_refused, names, now, selectors, until};

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn other(name: &str, uid: u32) -> marque_registry::Entry {
    entry(name, json!({"selectors": [format!("unix:uid:{uid}")]}))
}

#[tokio::test]
async fn wa_2_a_change_wakes_those_whom_it_may_concern_and_nobody_else() {
    let scene = Scene::new(vec![entry("a", json!({})), other("b", 2)]);
    let mut one = scene.subscribe();
    now(one.next()).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut waiting = pin!(one.next());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    for name in ["c", "d"] {
        scene.issuer.registry.add(other(name, 2)).unwrap();
        scene.issuer.kill(&id(name));
    }
    everything_was_seen(&scene).await;
    assert_eq!(woken.times(), 0);
    scene.issuer.registry.add(entry("f", json!({}))).unwrap();
    scene.issuer.publish(|_| {});
    until(|| woken.times() > 0).await;
    let update = super::at_once(waiting).unwrap().unwrap().unwrap();
    assert_eq!(names(&update), ["/a", "/f"]);
}

/// Waits until whatever changed so far has been held against the groups: until a change that comes after it has.
async fn everything_was_seen(scene: &Scene) {
    let mut stream = scene.workload.subscribe_x509(selectors(&["unix:uid:2"]));
    now(stream.next()).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut waiting = pin!(stream.next());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    scene.issuer.registry.add(other("z", 2)).unwrap();
    scene.issuer.publish(|_| {});
    until(|| woken.times() > 0).await;
}

#[tokio::test]
async fn wa_14_an_update_is_stale_by_what_concerns_its_caller_and_by_nothing_else() {
    let scene = Scene::new(vec![entry("a", json!({})), other("b", 2)]);
    let mut stream = scene.subscribe();
    assert!(stream.is_stale(), "there is none yet");
    now(stream.next()).unwrap();
    assert!(!stream.is_stale());
    scene.issuer.registry.add(other("c", 2)).unwrap();
    scene.issuer.kill(&id("b"));
    assert!(!stream.is_stale(), "of others");
    // No task has run since: it is not a matter of being woken.
    scene.issuer.registry.add(entry("d", json!({}))).unwrap();
    scene.issuer.publish(|_| {});
    assert!(stream.is_stale());
    now(stream.next()).unwrap();
    assert!(!stream.is_stale());
    scene.issuer.kill(&id("d"));
    assert!(stream.is_stale());
    now(stream.next()).unwrap();
    scene.issuer.registry.remove(&"a".parse().unwrap()).unwrap();
    scene.issuer.publish(|_| {});
    assert!(stream.is_stale());
    assert!(is_refused(&now(stream.next())));
}

#[tokio::test]
async fn wa_14_a_kill_ends_a_stream_whose_svid_is_never_minted() {
    let scene = Scene::with_one_agent();
    let _closed = scene.issuer.gate.acquire().await.unwrap();
    let streams = [(); 3].map(|()| {
        let mut stream = scene.subscribe();
        tokio::spawn(async move { stream.next().await.unwrap() })
    });
    until(|| scene.issuer.minted() == 1).await;
    scene.issuer.kill(&id("a"));
    for stream in streams {
        assert!(is_refused(&stream.await.unwrap()));
    }
}

#[tokio::test]
async fn wa_2_second_long_svids_are_renewed_in_time_again_and_again() {
    let scene = Scene::with_one_agent();
    *scene.issuer.lifetime.lock().unwrap() = Duration::from_secs(2);
    let mut stream = scene.subscribe();
    let mut ends = now(stream.next()).unwrap().svids[0].material.not_after;
    for _ in 0..400 {
        scene.clock.advance(Duration::from_millis(50));
        if let Some(update) = at_once(stream.next()) {
            ends = update.unwrap().unwrap().svids[0].material.not_after;
        }
        assert!(scene.clock.now() < ends - Duration::from_millis(700), "renewed at half life");
    }
    assert!((15..=25).contains(&scene.issuer.minted()), "{}", scene.issuer.minted());
}

#[tokio::test]
async fn wa_2_a_wait_for_a_renewal_ends_by_the_clock_for_every_kind_of_stream() {
    let scene = Scene::with_one_agent();
    let (mut x509, mut wit) =
        (scene.subscribe(), scene.workload.subscribe_wit(selectors(&["unix:uid:1"]), None));
    now(x509.next()).unwrap();
    now(wit.next()).unwrap();
    let x509 = tokio::spawn(async move { x509.next().await.unwrap().unwrap() });
    let wit = tokio::spawn(async move { wit.next().await.unwrap().unwrap() });
    until(|| scene.clock.sleepers() == 1).await;
    scene.at_per_cent(56);
    assert!(x509.await.unwrap().svids[0].material.not_after > START + Duration::from_mins(60));
    assert!(wit.await.unwrap().svids[0].material.expires_at > START + Duration::from_mins(60));
}

#[tokio::test]
async fn a_group_that_nobody_is_in_is_forgotten() {
    let scene = Scene::new(vec![entry("a", json!({})), other("b", 2)]);
    assert_eq!(scene.workload.shared.groups(), 0);
    let mut streams: Vec<_> = (0..10).map(|_| scene.subscribe()).collect();
    streams.push(scene.workload.subscribe_x509(selectors(&["unix:uid:2"])));
    assert_eq!(scene.workload.shared.groups(), 2);
    for stream in &mut streams {
        now(stream.next()).unwrap();
        assert!(is_quiet(stream.next()));
    }
    streams.truncate(1);
    assert_eq!(scene.workload.shared.groups(), 1);
    drop(streams);
    assert_eq!(scene.workload.shared.groups(), 0);
}
