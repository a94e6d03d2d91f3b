//! Whether the checkpoints that leaves name are those of the log.

use std::collections::VecDeque;

use super::VerifyError;
use crate::measured::PrevCheckpoint;
use crate::merkle::Frontier;
use crate::{Hash, Leaf};

/// How many hashes are kept: 32 MiB.
const MOST: usize = 1 << 20;

/// The tree at the newest checkpoint that a leaf named, and the leaves since, as hashes. A checkpoint that is further behind its
/// leaf than these go back is not compared.
#[derive(Debug)]
pub(super) struct Named {
    frontier: Frontier,
    since: VecDeque<Hash>,
    most: usize,
    /// Whether the frontier stands behind what was last named, because there was no room for more.
    ran_on: bool,
}

impl Named {
    /// Nothing was named yet.
    pub(super) fn new() -> Self {
        Self { frontier: Frontier::new(), since: VecDeque::new(), most: MOST, ran_on: false }
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// It names a checkpoint that the leaves before it do not have, or one that is older than a leaf before it names.
    pub(super) fn push(&mut self, leaf: &Leaf) -> Result<(), VerifyError> {
        if let Some(named) = leaf.event().prev_checkpoint
            && !self.has(named)
        {
            return Err(VerifyError::OtherCheckpoint { seq: leaf.seq() });
        }
        self.since.push_back(leaf.hash());
        if self.since.len() > self.most {
            self.ran_on = self.forward();
        }
        Ok(())
    }

    fn has(&mut self, PrevCheckpoint { root, size }: PrevCheckpoint) -> bool {
        if self.ran_on && size < self.frontier.size() {
            return true;
        }
        while self.frontier.size() < size && self.forward() {}
        self.ran_on = false;
        self.frontier.size() == size && self.frontier.root() == root
    }

    fn forward(&mut self) -> bool {
        let next = self.since.pop_front();
        if let Some(hash) = next {
            self.frontier.append(hash);
        }
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, leaves, trust_domain};

    /// Leaf number `seq`, which names the checkpoint of the first `size` of these leaves.
    fn naming(all: &[Leaf], seq: u64, size: usize) -> Leaf {
        let mut frontier = Frontier::new();
        all[..size].iter().for_each(|leaf| frontier.append(leaf.hash()));
        let mut event = all[0].event().clone();
        let size = frontier.size();
        event.prev_checkpoint = Some(PrevCheckpoint { root: frontier.root(), size });
        Leaf::seal(event, &trust_domain(), seq, at(seq)).unwrap()
    }

    fn taken(most: usize, leaves: &[Leaf]) -> Result<(), VerifyError> {
        let mut named = Named { most, ..Named::new() };
        leaves.iter().try_for_each(|leaf| named.push(leaf))
    }

    #[test]
    fn checkpoints_that_leaves_name_are_those_of_the_leaves_before_them() {
        let mut all = leaves(9);
        all.push(naming(&all, 9, 4));
        all.push(naming(&all, 10, 4));
        all.push(naming(&all, 11, 10));
        taken(MOST, &all).unwrap();
        let older = [all.as_slice(), &[naming(&all, 12, 9)]].concat();
        assert!(matches!(taken(MOST, &older), Err(VerifyError::OtherCheckpoint { seq: 12 })));
        // Another tree of as many leaves, and a tree of leaves that are still to come.
        let other = leaves(30);
        for (from, size) in [(&other, 11), (&other, 20)] {
            let forked = [all.as_slice(), &[naming(&from[1..], 12, size)]].concat();
            assert_eq!(taken(MOST, &forked).unwrap_err().kind(), "checkpoint_differs");
        }
    }

    #[test]
    fn what_is_further_back_than_is_kept_is_not_compared_and_what_is_nearer_is() {
        let mut all = leaves(9);
        all.push(naming(&leaves(20)[10..], 9, 4));
        assert!(taken(5, &all).is_err());
        taken(4, &all).unwrap();
        all.push(naming(&leaves(30)[10..], 10, 9));
        assert!(taken(4, &all).is_err());
    }
}
