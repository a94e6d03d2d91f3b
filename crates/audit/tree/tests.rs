use std::sync::Arc;

use super::*;
use crate::testing::{MemoryLog, ORIGIN, TestSigner, leaves};
use crate::{Sequencer, folder};

async fn tree(count: usize) -> (Arc<MemoryLog>, LogTree) {
    let store = Arc::new(MemoryLog::of(leaves(count)));
    let signer = Arc::new(TestSigner::new(1));
    let key = signer.key();
    let mut sequencer = Sequencer::new(store.clone(), signer, ORIGIN.to_owned());
    sequencer.advance().await.unwrap();
    let tree = LogTree::new(store.clone(), key);
    (store, tree)
}

#[tokio::test]
async fn every_leaf_of_trees_of_all_shapes_is_proven_from_two_blocks() {
    for count in [1, 2, 255, 256, 257, 511, 512, 700, 1025] {
        let (store, tree) = tree(count).await;
        let step = count / 7 + 1;
        for index in (0..count as u64).step_by(step).chain([count as u64 - 1]) {
            let proof = tree.prove(index).await.unwrap();
            let proven = proof.verify(&TestSigner::new(1).key()).unwrap();
            let leaf = store.leaves(index, 1).await.unwrap().remove(0);
            assert_eq!((proven.leaf.seq(), &proven.leaf), (index, &leaf), "{index} of {count}");
        }
        assert!(matches!(tree.prove(count as u64).await, Err(TreeError::NotThere)));
    }
}

#[tokio::test]
async fn every_earlier_tree_is_shown_to_be_a_prefix_by_the_recursion_s_own_proof() {
    for count in [1, 2, 255, 256, 257, 512, 700, 1025] {
        let (store, tree) = tree(count).await;
        let all = store.hashes(0, count).await.unwrap();
        let signed = tree.checkpoint().await.unwrap().unwrap();
        let step = count / 37 + 1;
        for old in (1..=count).step_by(step).chain([255, 256, 257, 511, 512, 513, 1024, count]) {
            if old > count {
                continue;
            }
            let (proof, root) = tree.consistency(old as u64, &signed).await.unwrap();
            assert_eq!(root, merkle::root(&all[..old]), "{old} of {count}");
            assert_eq!(proof, merkle::consistency_proof(&all, old).unwrap(), "{old} of {count}");
        }
        assert_eq!(tree.consistency(0, &signed).await.unwrap().0, Vec::<Hash>::new());
        let beyond = tree.consistency(count as u64 + 1, &signed).await;
        assert!(matches!(beyond, Err(TreeError::NotThere)), "{beyond:?}");
    }
}

#[test]
fn the_tree_above_a_quarter_million_leaves_is_that_of_the_recursion() {
    let hashes: Vec<Hash> =
        (0..256_u32 * 1026 + 3).map(|n| Hash::of_leaf(&n.to_be_bytes())).collect();
    let mut top = Top::default();
    let blocks = hashes.chunks_exact(256);
    let rest = blocks.remainder().to_vec();
    blocks.clone().for_each(|block| top.push(merkle::root(block)));
    assert_eq!(top.hashes(1, 1, 2).unwrap()[1], merkle::root(&hashes[2 * 65_536..3 * 65_536]));
    let last = Block { number: 1026, hashes: rest };
    let root = merkle::root(&hashes);
    for index in [0, 65_535, 65_536, 200_000, 262_143, 262_144, 262_655, 262_656, 262_658] {
        let number = index / 256;
        let from = usize::try_from(number * 256).unwrap();
        let own = hashes[from..hashes.len().min(from + 256)].to_vec();
        let own = Block { number, hashes: own };
        let size = hashes.len() as u64;
        let path = top.inclusion(index, size, &[&own, &last]).unwrap();
        let leaf = &hashes[usize::try_from(index).unwrap()];
        merkle::verify_inclusion(leaf, index, size, &path, &root).unwrap();
    }
}

#[tokio::test]
async fn the_tiles_are_those_of_an_exported_folder() {
    let (store, tree) = tree(700).await;
    let dir = tempfile::tempdir().unwrap();
    folder::export(dir.path(), store.as_ref(), &TestSigner::new(1).key()).await.unwrap();
    for path in [
        "0/000",
        "0/001",
        "0/002.p/188",
        "1/000.p/2",
        "entries/000",
        "entries/001",
        "entries/002.p/188",
    ] {
        let file = std::fs::read(dir.path().join("tile").join(path)).unwrap();
        assert_eq!(tree.tile(&path.parse().unwrap()).await.unwrap(), file, "{path}");
    }
    let less = tree.tile(&"0/002.p/5".parse().unwrap()).await.unwrap();
    assert_eq!(less.len(), 5 * 32);
    for path in [
        "0/002",
        "0/002.p/189",
        "0/003.p/1",
        "1/000",
        "1/000.p/3",
        "2/000.p/1",
        "entries/003.p/1",
        "63/000.p/1",
    ] {
        let none = tree.tile(&path.parse().unwrap()).await;
        assert!(matches!(none, Err(TreeError::NotThere)), "{path}: {none:?}");
    }
}

#[tokio::test]
async fn a_request_makes_up_for_a_little_and_the_rest_comes_behind_it() {
    let blocks = BLOCKS_AT_ONCE + 2;
    let (_, tree) = tree(blocks * 256).await;
    assert!(matches!(tree.prove(0).await, Err(TreeError::Behind)));
    assert!(tree.tile(&"0/000".parse().unwrap()).await.is_ok());
    assert!(tree.grow(blocks).await.unwrap());
    assert!(tree.prove(0).await.is_ok());
}

#[tokio::test]
async fn nothing_is_proven_of_a_log_that_was_altered_behind_its_checkpoint() {
    let (store, tree) = tree(300).await;
    let forged = store.leaves(7, 1).await.unwrap().remove(0);
    let event = forged.event().clone().with_ticket("CHG-6666");
    let forged = Leaf::seal(event, &crate::testing::trust_domain(), 7, forged.recorded()).unwrap();
    store.leaves.lock().unwrap()[7] = forged;
    assert!(matches!(tree.prove(3).await, Err(TreeError::Altered(_))));
    let signed = tree.checkpoint().await.unwrap().unwrap();
    let none = tree.consistency(3, &signed).await;
    assert!(matches!(none, Err(TreeError::Altered(_))), "{none:?}");
}

#[tokio::test]
async fn a_piece_waits_for_its_turn_and_not_for_ever() {
    let (_, tree) = tree(3).await;
    let turns = tree.turns.acquire_many(2).await.unwrap();
    assert!(matches!(tree.prove(0).await, Err(TreeError::Busy)));
    let tile = "0/000.p/3".parse().unwrap();
    assert!(matches!(tree.tile(&tile).await, Err(TreeError::Busy)));
    drop(turns);
    assert!(tree.prove(0).await.is_ok() && tree.tile(&tile).await.is_ok());
}
