//! Tile names, and the tiles that follow from a sequence of leaf hashes.

use std::path::PathBuf;
use std::str::FromStr;

use crate::{Hash, merkle};

/// Hashes in a full tile, leaves in a full bundle.
pub(super) const WIDTH: usize = 256;
/// The highest level of tiles that has a name (C2SP tlog-tiles).
const MAX_LEVEL: usize = 63;
/// The longest name of a tile: seven groups of three digits, more than any index has.
const MAX_NAME: usize = 64;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileKind {
    /// Hashes of this level.
    Level(usize),
    /// Leaves.
    Entries,
}

pub(super) use TileKind as Kind;

/// Which tile: as its name says it, below `tile/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: usize,
}

/// The text is not the one spelling of a tile's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a tile")]
pub struct NotATile;

impl TilePath {
    /// What the tile holds.
    #[must_use]
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// How many hashes or leaves it has: 1 to 256.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of its first hash or leaf in its level; `None` where no level is that long.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.index.checked_mul(WIDTH as u64)
    }

    /// Where it is, relative to the folder.
    #[must_use]
    pub fn to_path(&self) -> PathBuf {
        path(self.kind, self.index, self.width)
    }
}

impl FromStr for TilePath {
    type Err = NotATile;

    /// `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]` (C2SP tlog-tiles).
    fn from_str(text: &str) -> Result<Self, NotATile> {
        if text.len() > MAX_NAME {
            return Err(NotATile);
        }
        let (kind, rest) = text.split_once('/').ok_or(NotATile)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => {
                TileKind::Level(level.parse().ok().filter(|it| *it <= MAX_LEVEL).ok_or(NotATile)?)
            }
        };
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().map_err(|_no_number| NotATile)?),
            None => (rest, WIDTH),
        };
        let digits = |group: &str| {
            let plain = group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
            group.parse::<u64>().ok().filter(|_| plain).ok_or(NotATile)
        };
        let mut index = 0_u64;
        let mut groups = groups.split('/').peekable();
        while let Some(group) = groups.next() {
            let last = groups.peek().is_none();
            let group = if last { group } else { group.strip_prefix('x').ok_or(NotATile)? };
            let shifted = index.checked_mul(1000).ok_or(NotATile)?;
            index = shifted.checked_add(digits(group)?).ok_or(NotATile)?;
        }
        // One spelling only: no leading zeroes, no full tile as a partial one, no empty one.
        let tile = Self { kind, index, width };
        let spelt = (1..=WIDTH).contains(&width)
            && tile.to_path().to_str() == Some(&format!("tile/{text}"));
        if spelt { Ok(tile) } else { Err(NotATile) }
    }
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
