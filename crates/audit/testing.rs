//! A log in memory, a signer with a fixed key, and events that a verifier accepts.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use marque_spiffe::{SpiffeId, TrustDomain};
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::sync::watch;

use crate::{
    AuditError, CheckpointSigner, CosignerKey, Event, EventKind, Leaf, LogError, LogStore,
    SignedCheckpoint, StoredCheckpoint, VerifierKey,
};

pub(crate) const ORIGIN: &str = "prod.example.org/marque/audit";

#[derive(Debug)]
pub(crate) struct TestSigner {
    name: String,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl TestSigner {
    pub(crate) fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public_key = pair.public_key().as_ref().try_into().unwrap();
        Self { name: ORIGIN.to_owned(), pair, public_key }
    }

    pub(crate) fn key(&self) -> VerifierKey {
        VerifierKey::of(self).unwrap()
    }
}

impl CheckpointSigner for TestSigner {
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

pub(crate) fn trust_domain() -> TrustDomain {
    "prod.example.org".parse().unwrap()
}

pub(crate) fn agent() -> SpiffeId {
    "spiffe://prod.example.org/agent/cert-rotator/a".parse().unwrap()
}

pub(crate) fn at(second: u64) -> Timestamp {
    let since = SignedDuration::from_secs(1_780_000_000 + i64::try_from(second).unwrap());
    Timestamp::UNIX_EPOCH + since
}

pub(crate) fn event(kind: EventKind, intent: &str, second: u64) -> Event {
    Event::new(kind, at(second))
        .with_agent(agent())
        .with_intent(intent)
        .with_grant_digest("sha256:aa")
}

pub(crate) fn seal(events: Vec<Event>) -> Vec<Leaf> {
    (0..)
        .zip(events)
        .map(|(seq, event)| Leaf::seal(event, &trust_domain(), seq, at(seq)).unwrap())
        .collect()
}

/// `count` leaves in which every third step requests, approves and uses one intent.
pub(crate) fn leaves(count: usize) -> Vec<Leaf> {
    let events = (0..count as u64).map(|n| {
        let intent = format!("int_{}", n / 3);
        match n % 3 {
            0 => event(EventKind::IntentRequested, &intent, n),
            1 => event(EventKind::IntentApproved, &intent, n)
                .with_uses_left(1)
                .with_expires_at(at(n + 600)),
            _ => event(EventKind::TokenIssued, &intent, n)
                .with_uses_left(0)
                .with_expires_at(at(n + 300)),
        }
    });
    seal(events.collect())
}

#[derive(Debug)]
pub(crate) struct MemoryLog {
    pub(crate) leaves: Mutex<Vec<Leaf>>,
    pub(crate) checkpoint: Mutex<Option<StoredCheckpoint>>,
    size: watch::Sender<u64>,
}

impl MemoryLog {
    pub(crate) fn of(leaves: Vec<Leaf>) -> Self {
        let size = watch::Sender::new(leaves.len() as u64);
        Self { leaves: Mutex::new(leaves), checkpoint: Mutex::default(), size }
    }
}

impl LogStore for MemoryLog {
    fn size(&self) -> BoxFuture<'_, Result<u64, LogError>> {
        async { Ok(self.leaves.lock().unwrap().len() as u64) }.boxed()
    }

    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>> {
        async move {
            let from = usize::try_from(from).unwrap();
            Ok(self.leaves.lock().unwrap().iter().skip(from).take(limit).cloned().collect())
        }
        .boxed()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>> {
        async { Ok(self.checkpoint.lock().unwrap().clone()) }.boxed()
    }

    fn save_checkpoint(&self, checkpoint: StoredCheckpoint) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            *self.checkpoint.lock().unwrap() = Some(checkpoint);
            Ok(())
        }
        .boxed()
    }

    fn append(&self, event: Event) -> BoxFuture<'_, Result<u64, LogError>> {
        async move {
            let mut leaves = self.leaves.lock().unwrap();
            let seq = leaves.len() as u64;
            let leaf = Leaf::seal(event, &trust_domain(), seq, at(seq))
                .map_err(|error| LogError::Refused(Box::new(error)))?;
            leaves.push(leaf);
            self.size.send_replace(seq + 1);
            Ok(seq)
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }
}

/// A witness with a fixed key that cosigns whatever it is shown.
#[derive(Debug)]
pub(crate) struct TestWitness {
    name: String,
    pair: Ed25519KeyPair,
}

impl TestWitness {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self { name: name.to_owned(), pair }
    }

    pub(crate) fn key(&self) -> CosignerKey {
        let public_key = self.pair.public_key().as_ref().try_into().unwrap();
        CosignerKey::new(&self.name, public_key).unwrap()
    }

    /// Its line of the note, made from the text of the specification.
    pub(crate) fn cosigns(&self, signed: &SignedCheckpoint, at: Timestamp) -> String {
        let time = at.as_second();
        let body = signed.checkpoint().to_note_body();
        let signature = self.pair.sign(format!("cosignature/v1\ntime {time}\n{body}").as_bytes());
        let input = [self.name.as_bytes(), b"\n\x04", self.pair.public_key().as_ref()].concat();
        let id = ring::digest::digest(&ring::digest::SHA256, &input);
        let blob = [&id.as_ref()[..4], &time.to_be_bytes(), signature.as_ref()].concat();
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(blob))
    }
}
