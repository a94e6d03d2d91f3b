//! The eight-leaf tree that RFC 6962 implementations share as their test data (certificate-transparency's
//! `merkle_tree_test.cc`, later transparency-dev/merkle), and properties against the RFC's recursion.

use proptest::prelude::*;

use super::*;

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// (leaf from 1, tree size, path), as published.
const PATHS: [(u64, u64, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (3, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        2,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// (old size, new size, proof), as published.
const CONSISTENCY: [(u64, u64, &[&str]); 4] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn hash(text: &str) -> Hash {
    Hash::try_from(hex::decode(text).unwrap().as_slice()).unwrap()
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| hash(text)).collect()
}

fn published() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| Hash::of_leaf(&hex::decode(leaf).unwrap())).collect()
}

fn numbered(count: usize) -> Vec<Hash> {
    (0..count).map(|n| Hash::of_leaf(&n.to_be_bytes())).collect()
}

fn frontier(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.append(*leaf));
    frontier
}

#[test]
fn the_published_trees_have_their_published_roots() {
    let leaves = published();
    for (size, expected) in (1..).zip(ROOTS) {
        assert_eq!(root(&leaves[..size]), hash(expected), "size {size}");
        assert_eq!(frontier(&leaves[..size]).root(), hash(expected), "size {size}");
    }
    assert_eq!(root(&[]), Frontier::new().root());
}

#[test]
fn the_published_inclusion_proofs_are_made_and_verify() {
    let leaves = published();
    for (leaf, size, path) in PATHS {
        let (index, tree) = (leaf - 1, &leaves[..usize::try_from(size).unwrap()]);
        let place = usize::try_from(index).unwrap();
        assert_eq!(inclusion_proof(tree, place).unwrap(), hashes(path), "{leaf} of {size}");
        verify_inclusion(&tree[place], index, size, &hashes(path), &root(tree)).unwrap();
    }
}

#[test]
fn the_published_consistency_proofs_are_made_and_verify() {
    let leaves = published();
    for (old, new, proof) in CONSISTENCY {
        let (old_n, new_n) = (usize::try_from(old).unwrap(), usize::try_from(new).unwrap());
        assert_eq!(
            consistency_proof(&leaves[..new_n], old_n).unwrap(),
            hashes(proof),
            "{old} → {new}"
        );
        let (old_root, new_root) = (root(&leaves[..old_n]), root(&leaves[..new_n]));
        verify_consistency(old, &old_root, new, &new_root, &hashes(proof)).unwrap();
    }
}

#[test]
fn proofs_of_nothing_and_of_what_is_not_there_are_refused() {
    let leaves = numbered(5);
    let tree = root(&leaves);
    assert_eq!(inclusion_proof(&leaves, 5), None);
    assert_eq!(consistency_proof(&leaves, 6), None);
    assert_eq!(consistency_proof(&leaves, 0), None);
    assert_eq!(verify_inclusion(&leaves[0], 5, 5, &[], &tree), Err(ProofError::Size));
    assert_eq!(verify_inclusion(&leaves[0], 0, 5, &[], &tree), Err(ProofError::Length));
    assert_eq!(verify_consistency(6, &tree, 5, &tree, &[]), Err(ProofError::Size));
    assert_eq!(verify_consistency(3, &tree, 5, &tree, &[]), Err(ProofError::Length));
    assert_eq!(verify_consistency(5, &tree, 5, &tree, &[tree]), Err(ProofError::Length));
    assert_eq!(verify_consistency(5, &leaves[0], 5, &tree, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(0, &Hash::of_empty_tree(), 5, &tree, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &tree, 5, &tree, &[]), Err(ProofError::Root));
}

#[test]
fn a_frontier_needs_one_hash_for_each_bit_of_its_size() {
    let good = frontier(&numbered(11));
    let again = Frontier::from_parts(11, good.peaks().to_vec()).unwrap();
    assert_eq!(again, good);
    assert!(Frontier::from_parts(12, good.peaks().to_vec()).is_err());
}

proptest! {
    #[test]
    fn a_frontier_has_the_root_of_the_recursion(count in 0_usize..600) {
        let leaves = numbered(count);
        prop_assert_eq!(frontier(&leaves).root(), root(&leaves));
    }

    #[test]
    fn every_leaf_proves_its_place_and_no_other(count in 1_usize..300, pick in any::<prop::sample::Index>(), other in 0_u64..300) {
        let leaves = numbered(count);
        let index = pick.index(count);
        let proof = inclusion_proof(&leaves, index).unwrap();
        let (at, size, tree) = (index as u64, count as u64, root(&leaves));
        prop_assert_eq!(verify_inclusion(&leaves[index], at, size, &proof, &tree), Ok(()));
        if other != at {
            prop_assert!(verify_inclusion(&leaves[index], other, size, &proof, &tree).is_err());
        }
        prop_assert!(verify_inclusion(&Hash::of_leaf(b"another"), at, size, &proof, &tree).is_err());
        let mut longer = proof.clone();
        longer.push(tree);
        prop_assert!(verify_inclusion(&leaves[index], at, size, &longer, &tree).is_err());
        if !proof.is_empty() {
            prop_assert!(verify_inclusion(&leaves[index], at, size, &proof[1..], &tree).is_err());
        }
    }

    #[test]
    fn a_proof_made_in_passing_is_that_of_the_recursion(count in 1_usize..300, pick in any::<prop::sample::Index>()) {
        let leaves = numbered(count);
        let index = pick.index(count);
        let mut builder = PathBuilder::new(&frontier(&leaves[..index]));
        leaves[index + 1..].iter().for_each(|leaf| builder.push(*leaf));
        prop_assert_eq!(builder.index(), index as u64);
        prop_assert_eq!(builder.finish(), inclusion_proof(&leaves, index).unwrap());
    }

    #[test]
    fn every_tree_proves_its_prefixes_and_no_fork(new in 1_usize..300, pick in any::<prop::sample::Index>()) {
        let leaves = numbered(new);
        let old = pick.index(new) + 1;
        let proof = consistency_proof(&leaves, old).unwrap();
        let (old_root, new_root) = (root(&leaves[..old]), root(&leaves));
        let (old_size, new_size) = (old as u64, new as u64);
        prop_assert_eq!(verify_consistency(old_size, &old_root, new_size, &new_root, &proof), Ok(()));
        let mut forked = leaves[..old].to_vec();
        forked[old - 1] = Hash::of_leaf(b"forked");
        prop_assert!(verify_consistency(old_size, &root(&forked), new_size, &new_root, &proof).is_err());
    }
}
