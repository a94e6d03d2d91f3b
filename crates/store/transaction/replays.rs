//! Proofs that count once, as a batch sees them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use marque_exchange::{Freshness, ReplayKey, SingleUse};

use crate::Failure;

/// The most proofs that are remembered at once. Each is gone a minute or two after it was made, so this is room for tens
/// of thousands a second; one past it is refused, because forgetting one that still counts would let it count twice.
pub(crate) const MAX_REPLAYS: u64 = 1 << 21;

/// How many of those whose time is over are forgotten when `written` are remembered: more than come, so that they never
/// pile up, and never so many that a commit takes long.
pub(crate) fn forgotten_with(written: usize) -> i64 {
    i64::try_from(written.saturating_mul(2).saturating_add(64)).unwrap_or(i64::MAX)
}

/// What is known of the proofs that a batch asks about.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    /// How many are remembered in all.
    pub(crate) kept: u64,
    /// Those of the batch that are remembered, with the last instant at which each would be accepted.
    pub(crate) known: BTreeMap<ReplayKey, Timestamp>,
}

impl Replays {
    /// Whether all of these are fresh at `now`.
    ///
    /// # Errors
    /// They are, and there is no room to remember them.
    pub(crate) fn freshness(
        &self,
        proofs: &[SingleUse],
        now: Timestamp,
    ) -> Result<Freshness, Failure> {
        let distinct: BTreeSet<_> = proofs.iter().map(|proof| proof.key).collect();
        // One whose time is over may have been remembered and forgotten again.
        let fresh = |proof: &SingleUse| {
            now <= proof.until && self.known.get(&proof.key).is_none_or(|until| *until < now)
        };
        if distinct.len() < proofs.len() || !proofs.iter().all(fresh) {
            return Ok(Freshness::Replayed);
        }
        let new = distinct.iter().filter(|key| !self.known.contains_key(*key)).count();
        if self.kept.saturating_add(new as u64) > MAX_REPLAYS {
            return Err(Failure::Full { table: "replays" });
        }
        Ok(Freshness::Fresh)
    }

    /// Remembers one; whether it takes a row of its own.
    pub(super) fn remember(&mut self, proof: SingleUse) -> bool {
        let new = self.known.insert(proof.key, proof.until).is_none();
        self.kept += u64::from(new);
        new
    }
}
