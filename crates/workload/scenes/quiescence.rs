//! Random changes: whatever happens, in whatever order it is looked at, every open stream ends up with exactly what its
//! caller may have, and none is ever told of a state older than one that it was told of before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::Bundle;
use proptest::collection::vec;
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio::sync::watch;

use super::{Scene, at_once, entry, id, is_refused, selectors};
use crate::{WorkloadError, X509Subscription, X509Update};

/// How many entries there are at most, and how many kinds of callers.
const ENTRIES: usize = 6;
const CALLERS: usize = 4;

#[derive(Debug, Clone)]
enum Change {
    Add(usize),
    Remove(usize),
    Kill(usize),
    Bundle,
    /// Half an hour and more: what was minted is due.
    Time,
    /// Somebody asks for the news. Who does not is slow.
    Look(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (0..ENTRIES).prop_map(Change::Add),
        4 => (0..ENTRIES).prop_map(Change::Remove),
        1 => (0..ENTRIES).prop_map(Change::Kill),
        3 => Just(Change::Bundle),
        1 => Just(Change::Time),
        6 => (0..2 * CALLERS).prop_map(Change::Look),
    ];
    vec(change, 1..60)
}

/// Entry `n` is for the callers of a kind that divides it, or for everybody.
fn kinds(n: usize) -> Vec<String> {
    match n % 3 {
        0 => vec!["unix:gid:0".to_owned()],
        _ => vec!["unix:gid:0".to_owned(), format!("unix:uid:{}", n % CALLERS)],
    }
}

fn caller(kind: usize) -> marque_spiffe::SelectorSet {
    selectors(&["unix:gid:0", &format!("unix:uid:{kind}"), "unix:path:/bin/x"])
}

/// What everybody may have.
#[derive(Debug, Default, Clone)]
struct Model {
    entries: BTreeSet<usize>,
    killed: BTreeSet<usize>,
    sequence: u64,
    authorities: Vec<CertificateDer<'static>>,
}

impl Model {
    fn names(&self, kind: usize) -> Vec<String> {
        let concerned = |n: &&usize| {
            kinds(**n).iter().all(|selector| caller(kind).contains(&selector.parse().unwrap()))
        };
        let left = self.entries.difference(&self.killed);
        left.filter(concerned).map(|n| format!("/{n}")).collect()
    }
}

/// Does a change to the issuer and to the model.
fn change(scene: &Scene, model: &mut Model, change: &Change) {
    match change {
        Change::Add(n) => {
            if model.entries.insert(*n) {
                let entry = entry(&n.to_string(), json!({"selectors": kinds(*n)}));
                scene.issuer.registry.add(entry).unwrap();
                scene.issuer.publish(|_| {});
            }
        }
        Change::Remove(n) => {
            if model.entries.remove(n) {
                scene.issuer.registry.remove(&n.to_string().parse().unwrap()).unwrap();
                scene.issuer.publish(|_| {});
            }
        }
        Change::Kill(n) => {
            model.killed.insert(*n);
            scene.issuer.kill(&id(&n.to_string()));
        }
        Change::Bundle => {
            model.sequence += 1;
            let domain = Arc::clone(&scene.issuer.domain.lock().unwrap());
            let next = Bundle::builder("example.org".parse().unwrap())
                .sequence(model.sequence)
                .x509_authority(domain.root().certificate().clone())
                .unwrap();
            // Every other bundle has an authority more. All without it say the same.
            let next = if model.sequence.is_multiple_of(2) {
                next
            } else {
                let other = marque_testkit::ScratchTrustDomain::new("example.org");
                next.x509_authority(other.root().certificate().clone()).unwrap()
            };
            let next = next.build();
            model.authorities = next.x509_authorities().to_vec();
            scene.issuer.set_own_bundle(next);
        }
        Change::Time => scene.clock.advance(Duration::from_mins(35)),
        Change::Look(_) => {}
    }
}

/// A stream and what it was told last.
struct Listener {
    kind: usize,
    stream: X509Subscription,
    told: Option<X509Update>,
    ended: bool,
}

impl Listener {
    fn new(scene: &Scene, kind: usize) -> Self {
        let stream = scene.workload.subscribe_x509(caller(kind));
        Self { kind, stream, told: None, ended: false }
    }

    fn hear(&mut self, update: Result<X509Update, WorkloadError>) {
        assert!(!self.ended, "after its end");
        if is_refused(&update) {
            self.ended = true;
            return;
        }
        let update = update.expect("nothing else goes wrong here");
        if let Some(told) = &self.told {
            assert!(told.bundle.sequence() <= update.bundle.sequence(), "an older bundle");
            assert!(told.epoch <= update.epoch, "an older epoch");
            let newest =
                |update: &X509Update| update.svids.iter().map(|s| s.material.not_after).max();
            let _may_go_back = newest(told);
        }
        assert!(!update.svids.is_empty());
        self.told = Some(update);
    }

    /// Everything that there is to hear, and then whether that is what the model says.
    fn drain(&mut self, model: &Model) {
        while !self.ended
            && let Some(update) = at_once(self.stream.next())
        {
            self.hear(update.expect("an end is said once"));
        }
        self.check(model);
    }

    fn check(&self, model: &Model) {
        let expected = model.names(self.kind);
        if self.ended {
            return;
        }
        let told = self.told.as_ref().expect("a first message");
        let names: Vec<_> =
            told.svids.iter().map(|svid| svid.material.spiffe_id.path().to_owned()).collect();
        assert_eq!(names, expected);
        assert_eq!(told.bundle.x509_authorities(), model.authorities);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn wa_2_whoever_looks_has_exactly_the_state_that_stands(changes in changes()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new(vec![entry("0", json!({"selectors": kinds(0)}))]);
            let mut model = Model { entries: [0].into(), ..Model::default() };
            change(&scene, &mut model, &Change::Bundle);
            let mut listeners: Vec<_> =
                (0..2 * CALLERS).map(|n| Listener::new(&scene, n % CALLERS)).collect();
            for step in &changes {
                change(&scene, &mut model, step);
                if let Change::Look(n) = step {
                    let listener = &mut listeners[*n];
                    let was_open = !listener.ended;
                    listener.drain(&model);
                    let may_have_something = !model.names(listener.kind).is_empty();
                    assert!(!was_open || listener.ended != may_have_something);
                }
            }
            for listener in &mut listeners {
                let was_open = !listener.ended;
                listener.drain(&model);
                assert!(!was_open || listener.ended == model.names(listener.kind).is_empty());
            }
        });
    }
}

/// Streams on real threads, changes as fast as they go, and a clock that stands still: a change that nobody is woken
/// for would never be heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wa_2_no_change_is_lost_however_it_falls_between_looking_and_waiting() {
    const ROUNDS: usize = 40;
    const PATIENCE: Duration = Duration::from_secs(60);

    let scene = Arc::new(Scene::new(vec![entry("0", json!({"selectors": kinds(0)}))]));
    let mut model = Model { entries: [0].into(), ..Model::default() };
    change(&scene, &mut model, &Change::Bundle);
    let mut heard = Vec::new();
    for n in 0..4 * CALLERS {
        let (say, hear) = watch::channel(None);
        let mut listener = Listener::new(&scene, n % CALLERS);
        tokio::spawn(async move {
            while let Some(update) = listener.stream.next().await {
                listener.hear(update);
                let told = listener.told.as_ref().expect("not refused here");
                let names: Vec<_> =
                    told.svids.iter().map(|s| s.material.spiffe_id.path().to_owned()).collect();
                say.send_replace(Some((names, told.bundle.x509_authorities().to_vec())));
            }
        });
        heard.push((n % CALLERS, hear));
    }
    for round in 0..ROUNDS {
        // Entry 0 stays, so that nobody's stream ends.
        for step in 0..5 {
            let n = 1 + (round * 7 + step * 3) % (ENTRIES - 1);
            let kind = (round + step) % 3;
            let step = match kind {
                0 => Change::Add(n),
                1 => Change::Bundle,
                _ => Change::Remove(n),
            };
            change(&scene, &mut model, &step);
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
        }
        for (kind, hear) in &mut heard {
            let expected = Some((model.names(*kind), model.authorities.clone()));
            let arrives = hear.wait_for(|told| *told == expected);
            let arrived = tokio::time::timeout(PATIENCE, arrives).await;
            assert!(arrived.is_ok(), "round {round}: {:?} never came", model.names(*kind));
        }
    }
}
