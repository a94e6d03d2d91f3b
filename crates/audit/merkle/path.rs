//! An inclusion proof made in one pass over a log, in the memory of two tree edges.

use super::Frontier;
use crate::Hash;

/// The audit path of one leaf in the making (RFC 6962 section 2.1.1): takes the leaves behind it one at a time.
///
/// What stands left of the path is known when the leaf comes; what stands right of it are the trees of the next 2ⁿ leaves,
/// the last of them cut short by the end of the log.
#[derive(Debug, Clone)]
pub struct PathBuilder {
    index: u64,
    level: u32,
    lefts: Vec<Hash>,
    right: Frontier,
    path: Vec<Hash>,
}

impl PathBuilder {
    /// Begins with the leaf that comes next: `before` is the tree of all leaves in front of it.
    #[must_use]
    pub fn new(before: &Frontier) -> Self {
        let lefts = before.peaks().to_vec();
        let (right, path) = (Frontier::new(), Vec::new());
        let mut builder = Self { index: before.size(), level: 0, lefts, right, path };
        builder.take_lefts();
        builder
    }

    /// The number of the leaf that is proven.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Takes the next leaf behind the one that is proven.
    pub fn push(&mut self, leaf: Hash) {
        self.right.append(leaf);
        if 1_u64.checked_shl(self.level) == Some(self.right.size()) {
            self.take_right();
            self.take_lefts();
        }
    }

    /// The path, lowest first; there are no more leaves.
    #[must_use]
    pub fn finish(mut self) -> Vec<Hash> {
        if self.right.size() > 0 {
            self.take_right();
        }
        self.path.extend(self.lefts.iter().rev());
        self.path
    }

    fn take_right(&mut self) {
        self.path.push(std::mem::take(&mut self.right).root());
        self.level += 1;
    }

    /// Each bit that is set in the leaf's number is a whole tree left of the path.
    fn take_lefts(&mut self) {
        while self.index.checked_shr(self.level).is_some_and(|above| above & 1 == 1) {
            self.path.extend(self.lefts.pop());
            self.level += 1;
        }
    }
}
