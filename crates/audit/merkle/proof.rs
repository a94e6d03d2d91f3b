//! Inclusion and consistency proofs.

use super::{root, split};
use crate::Hash;

/// Why a proof does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The sizes contradict each other, or the leaf lies behind the tree's end.
    #[error("the proof is for a tree of another size")]
    Size,
    /// The proof has too few or too many hashes for these sizes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The audit path of leaf `index` (RFC 6962 section 2.1.1, PATH), lowest first; `None` behind the end.
#[must_use]
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut leaves, mut index) = (leaves, index);
    while leaves.len() > 1 {
        let k = split(leaves.len());
        let (left, right) = leaves.split_at(k);
        if index < k {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            leaves = right;
            index -= k;
        }
    }
    path.reverse();
    Some(path)
}

/// Shows that `leaf` is number `index` of the tree of `size` leaves with this `root` (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// When the proof does not show that.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Size);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::of_node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::of_node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last == 0, hash == *root) {
        (false, _) => Err(ProofError::Length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

/// Shows that the tree of the first `old_size` leaves is a prefix of the tree of all (RFC 6962 section 2.1.2, PROOF);
/// `None` when `old_size` is 0 or behind the end.
#[must_use]
pub fn consistency_proof(leaves: &[Hash], old_size: usize) -> Option<Vec<Hash>> {
    if old_size == 0 || old_size > leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    let (mut leaves, mut old_size, mut whole) = (leaves, old_size, true);
    while old_size != leaves.len() {
        let k = split(leaves.len());
        let (left, right) = leaves.split_at(k);
        if old_size <= k {
            proof.push(root(right));
            leaves = left;
        } else {
            proof.push(root(left));
            leaves = right;
            old_size -= k;
            whole = false;
        }
    }
    if !whole {
        proof.push(root(leaves));
    }
    proof.reverse();
    Some(proof)
}

/// Shows that the tree with `old_root` is a prefix of the tree with `new_root` (RFC 9162 section 2.1.4.2).
///
/// Equal sizes take an empty proof and equal roots; every tree grows out of the empty one, by an empty proof.
///
/// # Errors
/// When the proof does not show that.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Size);
    }
    if old_size == 0 || old_size == new_size {
        let same =
            if old_size == 0 { *old_root == Hash::of_empty_tree() } else { old_root == new_root };
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut old, mut new) = (old_size - 1, new_size - 1);
    while old & 1 == 1 {
        old >>= 1;
        new >>= 1;
    }
    // When the old tree is perfect its root is the first hash of the path, and is left out of the proof.
    let (first, rest) = if old_size.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofError::Length)?;
        (*first, rest)
    };
    let (mut from_old, mut from_new) = (first, first);
    for sibling in rest {
        if new == 0 {
            return Err(ProofError::Length);
        }
        if old & 1 == 1 || old == new {
            from_old = Hash::of_node(sibling, &from_old);
            from_new = Hash::of_node(sibling, &from_new);
            while old & 1 == 0 && old != 0 {
                old >>= 1;
                new >>= 1;
            }
        } else {
            from_new = Hash::of_node(&from_new, sibling);
        }
        old >>= 1;
        new >>= 1;
    }
    match (new == 0, from_old == *old_root && from_new == *new_root) {
        (false, _) => Err(ProofError::Length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}
