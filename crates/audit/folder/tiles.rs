//! Tile names, and the tiles that follow from a sequence of leaf hashes.

use std::path::PathBuf;

use crate::{Hash, merkle};

/// Hashes in a full tile, leaves in a full bundle.
pub(super) const WIDTH: usize = 256;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Hashes of this level.
    Level(usize),
    /// Leaves.
    Entries,
}

/// Where tile number `index` with `width` items is, relative to the folder.
pub(super) fn path(kind: Kind, index: u64, width: usize) -> PathBuf {
    let mut path = PathBuf::from("tile");
    match kind {
        Kind::Level(level) => path.push(level.to_string()),
        Kind::Entries => path.push("entries"),
    }
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    let mut last = groups.remove(0);
    path.extend(groups.iter().rev());
    if width < WIDTH {
        last.push_str(".p");
        path.push(last);
        path.push(width.to_string());
    } else {
        path.push(last);
    }
    path
}

/// A tile that is complete, or the right edge of its level at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) level: usize,
    pub(super) index: u64,
    pub(super) hashes: Vec<Hash>,
}

impl Tile {
    pub(super) fn path(&self) -> PathBuf {
        path(Kind::Level(self.level), self.index, self.hashes.len())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }
}

/// Turns leaf hashes into tiles, level by level; holds at most one unfinished tile of each level.
#[derive(Debug, Default)]
pub(super) struct Tiler {
    levels: Vec<Tile>,
}

impl Tiler {
    /// Takes the next leaf hash, and gives the tiles that it fills.
    pub(super) fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut full = Vec::new();
        let mut carried = Some(leaf);
        let mut level = 0;
        while let Some(hash) = carried.take() {
            if self.levels.len() == level {
                self.levels.push(Tile { level, index: 0, hashes: Vec::with_capacity(WIDTH) });
            }
            if let Some(open) = self.levels.get_mut(level) {
                open.hashes.push(hash);
                if open.hashes.len() == WIDTH {
                    carried = Some(merkle::root(&open.hashes));
                    let next =
                        Tile { level, index: open.index + 1, hashes: Vec::with_capacity(WIDTH) };
                    full.push(std::mem::replace(open, next));
                }
            }
            level += 1;
        }
        full
    }

    /// The partial tiles at the end.
    pub(super) fn finish(self) -> impl Iterator<Item = Tile> {
        self.levels.into_iter().filter(|tile| !tile.hashes.is_empty())
    }
}
