//! The right edge of a growing tree: all that is needed to append and to know the root.

use crate::{AuditError, Hash};

/// The roots of the perfect subtrees that make up a tree of `size` leaves, largest (leftmost) first.
///
/// There is one for each bit set in `size`, so at most 64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a frontier that was kept.
    ///
    /// # Errors
    /// When the number of peaks is not the number of bits set in `size`. Whether they are the right hashes shows only
    /// in the root.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Result<Self, AuditError> {
        if usize::try_from(size.count_ones()) != Ok(peaks.len()) {
            return Err(AuditError::Frontier { size, peaks: peaks.len() });
        }
        Ok(Self { size, peaks })
    }

    /// Adds the next leaf.
    pub fn append(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Each trailing one bit is a perfect subtree as large as what was just made: the two become one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = Hash::of_node(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| Hash::of_node(&left, &right))
            .unwrap_or_else(Hash::of_empty_tree)
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }
}
