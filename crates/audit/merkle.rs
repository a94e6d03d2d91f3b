//! The Merkle tree of RFC 6962 section 2.1: roots, inclusion proofs and consistency proofs.
//!
//! [`Frontier`] appends in O(log n) time and space, and [`PathBuilder`] proves a leaf of a log that passes by; [`root`], [`inclusion_proof`] and [`consistency_proof`] are the
//! RFC's own recursion over all leaf hashes. The verifying half follows RFC 9162 sections 2.1.3.2 and 2.1.4.2, which
//! state the same checks as loops.
//!
//! Deliberately absent: leaves (only their hashes) and storage.

mod frontier;
mod path;
mod proof;

pub use frontier::Frontier;
pub use path::PathBuilder;
pub use proof::{
    ProofError, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};

use crate::Hash;

/// The Merkle tree hash of `leaves` (RFC 6962 section 2.1, MTH).
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of_empty_tree(),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            Hash::of_node(&root(left), &root(right))
        }
    }
}

/// The largest power of two smaller than `n`, for `n` > 1 (RFC 6962 section 2.1, "k").
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

#[cfg(test)]
mod tests;
