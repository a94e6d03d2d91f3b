//! The log: dense, in order, and provable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use marque_audit::merkle::Frontier;
use marque_audit::verify::{VerifiedLog, VerifyError, verify_store};
use marque_audit::{
    AuditError, CheckpointSigner, Correlation, EventKind, Hash, LogError, LogStore, PrevCheckpoint,
    Sequencer, StoredCheckpoint, VerifierKey, checkpoint,
};
use marque_exchange::TokenStore;
use marque_intent::{IntentChange, IntentStore, KillScope};
use marque_store::Store;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::engine::Engine;
use crate::fixture::*;

#[derive(Debug)]
struct Signer {
    name: String,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl Signer {
    fn new(engine: &impl Engine) -> Arc<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public_key = pair.public_key().as_ref().try_into().unwrap();
        Arc::new(Self { name: checkpoint::origin(engine.trust_domain()), pair, public_key })
    }
}

impl CheckpointSigner for Signer {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], AuditError> {
        Ok(self.pair.sign(message).as_ref().try_into().unwrap())
    }
}

pub(crate) async fn numbers_are_dense_under_mixed_load_and_the_log_verifies(engine: impl Engine) {
    let store = engine.open().await;
    let tasks = (0..120_u64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let name = format!("a{}", n % 7);
            match n % 6 {
                0 => drop(store.append(refusal()).await.unwrap()),
                1 if n == 61 => {
                    drop(store.kill(kill(KillScope::Agent(agent("nobody"))), START).await.unwrap())
                }
                1 => {
                    let intent = submit(&store, pending(agent(&name))).await;
                    store.change(intent.id().clone(), approval(&intent), START).await.unwrap();
                    store.redeem(redemption(&intent, START)).await.unwrap();
                }
                2 => {
                    let intent = submit(&store, pending(agent(&name))).await;
                    let deny = IntentChange::Deny { decider: alice().into(), reason: reason() };
                    store.change(intent.id().clone(), deny, START).await.unwrap();
                    assert!(store.redeem(redemption(&intent, START)).await.is_err());
                }
                _ => {
                    let intent = submit(&store, approved(agent(&name), 2)).await;
                    let uses = (0..4).map(|_| store.redeem(redemption(&intent, START)));
                    assert_eq!(
                        join_all(uses).await.iter().filter(|answer| answer.is_ok()).count(),
                        2
                    );
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let leaves = leaves(&store).await;
    assert!(leaves.iter().zip(0..).all(|(leaf, seq)| leaf.seq() == seq));
    assert_eq!(store.size().await.unwrap(), leaves.len() as u64);
    let verified = verified(&engine, &store).await.unwrap();
    assert_eq!(verified.leaves, leaves.len() as u64);
    assert_eq!(verified.checkpoint.size, verified.leaves);
}

/// Signs a checkpoint for the whole log and verifies it from the first leaf to the last.
pub(crate) async fn verified(
    engine: &impl Engine,
    store: &Arc<Store>,
) -> Result<VerifiedLog, VerifyError> {
    let signer = Signer::new(engine);
    let key = VerifierKey::of(signer.as_ref()).unwrap();
    let origin = checkpoint::origin(engine.trust_domain());
    let log: Arc<dyn LogStore> = store.clone();
    Sequencer::new(log, signer, origin).advance().await.unwrap();
    verify_store(store.as_ref(), &key, None).await
}

pub(crate) async fn an_event_that_cannot_be_recorded_is_refused_alone(engine: impl Engine) {
    let store = engine.open().await;
    let too_large = refusal().with_detail("pad", "x".repeat(70_000));
    let refused = store.append(too_large.clone()).await;
    assert!(matches!(refused, Err(LogError::Refused(_))), "{refused:?}");
    // The same in the middle of an effect takes the effect back with it.
    let (intent, mut events) = approved(agent("a"), 1);
    events.push(too_large);
    assert!(store.submit(intent.clone(), events, None).await.is_err());
    assert_eq!(store.find(intent.id()).await.unwrap(), None);
    assert_eq!(store.append(refusal()).await.unwrap(), 0);
}

pub(crate) async fn recorded_time_does_not_go_back_with_the_clock(engine: impl Engine) {
    engine.clock().set(after(100));
    let store = engine.open().await;
    store.append(refusal()).await.unwrap();
    engine.clock().set(after(50));
    store.append(refusal()).await.unwrap();
    drop(store);
    let store = engine.open().await;
    store.append(refusal()).await.unwrap();
    engine.clock().advance(Duration::from_secs(60));
    store.append(refusal()).await.unwrap();
    let recorded: Vec<_> = leaves(&store).await.iter().map(marque_audit::Leaf::recorded).collect();
    assert_eq!(recorded, [after(100), after(100), after(100), after(110)]);
}

pub(crate) async fn a_newer_checkpoint_is_not_replaced_by_an_older_one(engine: impl Engine) {
    let store = engine.open().await;
    assert_eq!(store.checkpoint().await.unwrap(), None);
    let checkpoint = |size: u8| {
        let mut frontier = Frontier::new();
        (0..size).for_each(|n| frontier.append(Hash::of_leaf(&[n])));
        StoredCheckpoint { text: format!("{size}"), frontier }
    };
    for size in [5, 9, 7] {
        store.save_checkpoint(checkpoint(size)).await.unwrap();
    }
    assert_eq!(store.checkpoint().await.unwrap(), Some(checkpoint(9)));
    join_all([8, 12, 11].map(|size| store.save_checkpoint(checkpoint(size)))).await;
    assert_eq!(store.checkpoint().await.unwrap(), Some(checkpoint(12)));
    assert_eq!(store.size().await.unwrap(), 0);
}

pub(crate) async fn a_leaf_says_what_the_log_alone_knows_when_it_takes_it(engine: impl Engine) {
    let store = engine.open().await;
    store.append(refusal()).await.unwrap();
    store.know_tenant("before");
    store.know_tenant("example");
    let signed = verified(&engine, &store).await.unwrap().checkpoint;
    let since = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
    let request = Correlation::begin([7; 16]).since(since);
    request.scope(store.append(refusal())).await.unwrap();
    store.append(refusal().of_tenant("of-the-grant")).await.unwrap();
    let said: Vec<_> = leaves(&store).await.iter().map(|leaf| leaf.event().clone()).collect();
    let tenants: Vec<_> = said.iter().map(|event| event.tenant.as_deref()).collect();
    assert_eq!(tenants, [None, Some("example"), Some("of-the-grant")]);
    let known = Some(PrevCheckpoint { root: signed.root, size: 1 });
    let named: Vec<_> = said.iter().map(|event| event.prev_checkpoint).collect();
    assert_eq!(named, [None, known, known]);
    let latency: Vec<_> = said.iter().map(|event| event.latency_us).collect();
    assert!(latency[0].is_none() && latency[2].is_none(), "{latency:?}");
    assert!(latency[1].is_some_and(|us| (3_000_000..600_000_000).contains(&us)), "{latency:?}");
    verified(&engine, &store).await.unwrap();
    // What is kept as a checkpoint and is none keeps nothing from being recorded.
    engine.execute("UPDATE checkpoints SET text = 'no note'").await;
    store.append(refusal()).await.unwrap();
    assert_eq!(leaves(&store).await[3].event().prev_checkpoint, None);
}

pub(crate) async fn the_size_is_told_to_whoever_watches(engine: impl Engine) {
    let store = engine.open().await;
    let mut watch = store.changed();
    assert_eq!(*watch.borrow_and_update(), 0);
    store.append(refusal()).await.unwrap();
    assert_eq!(*watch.borrow_and_update(), 1);
    submit(&store, approved(agent("a"), 1)).await;
    assert_eq!(*watch.borrow_and_update(), 3);
}

pub(crate) async fn an_altered_leaf_and_a_missing_one_are_named(engine: impl Engine) {
    let store = engine.open().await;
    for _ in 0..5 {
        store.append(refusal()).await.unwrap();
    }
    engine
        .execute("UPDATE leaves SET leaf = (SELECT leaf FROM leaves WHERE seq = 1) WHERE seq = 3")
        .await;
    let altered = store.leaves(0, 10).await;
    assert!(matches!(altered, Err(LogError::Altered { seq: 3, .. })), "{altered:?}");
    engine
        .execute("UPDATE leaves SET hash = (SELECT hash FROM leaves WHERE seq = 1) WHERE seq = 3")
        .await;
    let moved = store.leaves(0, 10).await;
    assert!(matches!(moved, Err(LogError::Altered { seq: 3, .. })), "{moved:?}");
    engine.execute("DELETE FROM leaves WHERE seq = 2").await;
    let missing = store.leaves(0, 10).await;
    assert!(matches!(missing, Err(LogError::Gap { expected: 2, found: 3 })), "{missing:?}");
    assert_eq!(store.leaves(4, 10).await.unwrap().len(), 1);
    assert_eq!(store.leaves(4, 10).await.unwrap()[0].event().kind, EventKind::TokenRefused);
}
