//! The tree above its blocks of 256 leaves.

use crate::{Hash, merkle};

/// 2⁸ of one level are one of the next.
const HEIGHT: u32 = 8;
const WIDTH: usize = 1 << HEIGHT;

/// The roots of all full blocks of leaves, of all full blocks of those, and so on.
#[derive(Debug, Default)]
pub(super) struct Top {
    levels: Vec<Vec<Hash>>,
}

/// The hashes of one block of leaves, which may be the last and not full.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) number: u64,
    pub(super) hashes: Vec<Hash>,
}

impl Top {
    /// How many blocks of leaves are known.
    pub(super) fn blocks(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// Takes the root of the next full block.
    pub(super) fn push(&mut self, root: Hash) {
        let mut carried = Some(root);
        let mut level = 0;
        while let Some(hash) = carried.take() {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            if let Some(hashes) = self.levels.get_mut(level) {
                hashes.push(hash);
                if hashes.len().is_multiple_of(WIDTH) {
                    carried = hashes.rchunks_exact(WIDTH).next().map(merkle::root);
                }
            }
            level += 1;
        }
    }

    /// Hashes of a level, of which 0 is that of the blocks.
    pub(super) fn hashes(&self, level: usize, first: u64, count: usize) -> Option<Vec<Hash>> {
        let first = usize::try_from(first).ok()?;
        self.levels.get(level)?.get(first..first.checked_add(count)?).map(<[Hash]>::to_vec)
    }

    /// The audit path of leaf `index` in the tree of `size` leaves (RFC 6962 section 2.1.1), lowest first. `blocks` are the
    /// one that has the leaf and the last one.
    pub(super) fn inclusion(
        &self,
        index: u64,
        size: u64,
        blocks: &[&Block; 2],
    ) -> Option<Vec<Hash>> {
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + (end - start).next_power_of_two() / 2;
            if index < middle {
                path.push(self.range(middle, end, blocks)?);
                end = middle;
            } else {
                path.push(self.range(start, middle, blocks)?);
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The proof that the tree of the first `old` leaves is a prefix of that of `size` (RFC 6962 section 2.1.2, PROOF), and the
    /// root of the former; `old` is neither 0 nor more than `size`. `blocks` are the one that has the last leaf of the old
    /// tree and the one that has the last of all.
    pub(super) fn consistency(
        &self,
        old: u64,
        size: u64,
        blocks: &[&Block; 2],
    ) -> Option<(Vec<Hash>, Hash)> {
        let (mut start, mut end, mut whole) = (0, size, true);
        let mut proof = Vec::new();
        while old != end {
            let middle = start + (end - start).next_power_of_two() / 2;
            if old <= middle {
                proof.push(self.range(middle, end, blocks)?);
                end = middle;
            } else {
                proof.push(self.range(start, middle, blocks)?);
                start = middle;
                whole = false;
            }
        }
        if !whole {
            proof.push(self.range(start, end, blocks)?);
        }
        proof.reverse();
        Some((proof, self.range(0, old, blocks)?))
    }

    /// The root of the leaves from `start` to before `end`; `start` is a multiple of a power of two that holds them all.
    fn range(&self, start: u64, end: u64, blocks: &[&Block; 2]) -> Option<Hash> {
        let count = end.checked_sub(start)?;
        if count.is_power_of_two() {
            return self.whole(start, count, blocks);
        }
        let middle = start + count.next_power_of_two() / 2;
        let left = self.whole(start, middle - start, blocks)?;
        Some(Hash::of_node(&left, &self.range(middle, end, blocks)?))
    }

    /// The root of a whole tree of a power of two leaves.
    fn whole(&self, start: u64, count: u64, blocks: &[&Block; 2]) -> Option<Hash> {
        let height = count.trailing_zeros();
        if height < HEIGHT {
            let block = blocks.iter().find(|block| block.number == start / WIDTH as u64)?;
            let first = usize::try_from(start % WIDTH as u64).ok()?;
            let hashes = block.hashes.get(first..first + usize::try_from(count).ok()?)?;
            return Some(merkle::root(hashes));
        }
        let (level, among) = ((height - HEIGHT) / HEIGHT, (height - HEIGHT) % HEIGHT);
        let first = start >> (HEIGHT * (level + 1));
        let hashes = self.hashes(usize::try_from(level).ok()?, first, 1 << among)?;
        Some(merkle::root(&hashes))
    }
}
