//! How many leaves are verified in a second.

use std::sync::Arc;
use std::time::Instant;

use marque_audit::checkpoint::origin;
use marque_audit::verify::verify_store;
use marque_audit::{
    AuditError, CheckpointSigner, Hash, Leaf, LogStore, Sequencer, VerifierKey, verify_log,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::engine::Engine;

const PAGE: usize = 1024;

#[derive(Debug)]
struct Signer {
    name: String,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl CheckpointSigner for Signer {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], AuditError> {
        Ok(self.pair.sign(message).as_ref().try_into().expect("64 bytes"))
    }
}

pub(crate) async fn measure(engine: &Engine) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let public_key = pair.public_key().as_ref().try_into().expect("32 bytes");
    let name = origin(&engine.trust_domain);
    let signer = Arc::new(Signer { name: name.clone(), pair, public_key });
    let key = VerifierKey::of(&*signer).expect("a key");
    let store: Arc<dyn LogStore> = Arc::clone(&engine.store) as _;
    let mut sequencer = Sequencer::new(Arc::clone(&store), signer, name);
    let signed = sequencer.advance().await.expect("sequenced").expect("a checkpoint");

    let started = Instant::now();
    let verified = verify_store(&*store, &key, None).await.expect("sound");
    print(engine.name, verified.leaves, started);

    let leaves = all(&*store).await;
    let started = Instant::now();
    let read = leaves.iter().cloned().map(Ok);
    let verified = verify_log(read, signed.text(), &key, None).expect("sound");
    print("memory", verified.leaves, started);

    let started = Instant::now();
    let hashes = leaves.iter().map(|leaf| Hash::of_leaf(leaf.bytes()));
    let count = hashes.map(std::hint::black_box).count();
    print("hashes of the leaves alone", count as u64, started);
}

async fn all(store: &dyn LogStore) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    loop {
        let page = store.leaves(leaves.len() as u64, PAGE).await.expect("leaves");
        if page.is_empty() {
            return leaves;
        }
        leaves.extend(page);
    }
}

fn print(from: &str, leaves: u64, started: Instant) {
    let count = f64::from(u32::try_from(leaves).expect("few"));
    let per_second = count / started.elapsed().as_secs_f64();
    println!("| {leaves} | {from} | {per_second:.0} |");
}
