//! What was used already: DPoP proofs and single-use tokens.
//!
//! A memory has an end. When it is full, or cannot be asked, the request is refused: forgetting a use would permit it
//! again.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use marque_jose::sha256;

/// The name under which a use is remembered: a SHA-256 digest of who may use what once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UseKey([u8; 32]);

/// Something that may be used once.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// Its name.
    pub key: UseKey,
    /// When it was made, as it says itself under its signature.
    pub made_at: Timestamp,
    /// Until when it has to be remembered; after that it is refused for its age.
    pub until: Timestamp,
}

/// What a memory says about a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// It is the first one, and remembered from now on.
    First,
    /// It is a further one, or it may be.
    Again,
}

/// The memory cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("uses cannot be remembered just now")]
pub struct ReplaysUnavailable;

/// What a [`Replays`] gives back.
pub type ReplaysFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Used, ReplaysUnavailable>> + Send + 'a>>;

/// A memory of uses. [`MemoryReplays`] is one for a single process; servers behind one name share one, in a database
/// whose insert fails on a second row of one key.
pub trait Replays: fmt::Debug + Send + Sync {
    /// Remembers a use, atomically: of two at once one is the first. `now` is when its request came: another use may be
    /// remembered at a later one meanwhile, so what ended before the latest at which anything was forgotten counts as
    /// [`Used::Again`].
    fn remember(&self, one: Use, now: Timestamp) -> ReplaysFuture<'_>;
}

impl UseKey {
    pub(crate) fn of(kind: &str, parts: [&[u8]; 2]) -> Self {
        let mut input = Vec::from(kind.as_bytes());
        for part in parts {
            input.push(0);
            input.extend(sha256(part));
        }
        Self(sha256(&input))
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A memory in this process.
///
/// It knows nothing of the time before it began, so what was made before that counts as used: a restart opens no door to
/// what was heard on the wire. With room for `capacity` uses at once it takes about 150 bytes for each.
#[derive(Debug)]
pub struct MemoryReplays {
    began: Timestamp,
    capacity: usize,
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    keys: HashSet<UseKey>,
    by_end: BTreeMap<Timestamp, Vec<UseKey>>,
    /// The latest instant at which something was forgotten.
    forgotten_to: Option<Timestamp>,
}

impl MemoryReplays {
    /// A memory that begins at `now`, for at most `capacity` uses at once.
    #[must_use]
    pub fn new(now: Timestamp, capacity: usize) -> Self {
        // A second's fraction is not in what is signed.
        let began = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self { began, capacity, remembered: Mutex::default() }
    }

    fn remember_now(&self, one: Use, now: Timestamp) -> Result<Used, ReplaysUnavailable> {
        if one.made_at < self.began {
            return Ok(Used::Again);
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.forget(now);
        // A request may have waited since its `now`, and a clock may step back: what ended since is forgotten already.
        let may_be_forgotten = remembered.forgotten_to.is_some_and(|to| one.until < to);
        if may_be_forgotten || remembered.keys.contains(&one.key) {
            return Ok(Used::Again);
        }
        if remembered.keys.len() >= self.capacity {
            return Err(ReplaysUnavailable);
        }
        remembered.keys.insert(one.key);
        remembered.by_end.entry(one.until).or_default().push(one.key);
        Ok(Used::First)
    }
}

impl Replays for MemoryReplays {
    fn remember(&self, one: Use, now: Timestamp) -> ReplaysFuture<'_> {
        Box::pin(async move { self.remember_now(one, now) })
    }
}

impl Remembered {
    fn forget(&mut self, now: Timestamp) {
        self.forgotten_to = self.forgotten_to.max(Some(now));
        // Those whose end is this very instant are still refused for their age only after it.
        let kept = self.by_end.split_off(&now);
        for key in std::mem::replace(&mut self.by_end, kept).into_values().flatten() {
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_893_456_000, 0);

    fn one(name: &str, seconds: i64) -> Use {
        let until = NOW.checked_add(Duration::from_secs(60)).unwrap();
        let made_at = NOW.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        Use { key: UseKey::of("t", [name.as_bytes(), b""]), made_at, until }
    }

    #[test]
    fn oauth_7_a_use_is_the_first_once() {
        let memory = MemoryReplays::new(NOW, 10);
        assert_eq!(memory.remember_now(one("a", 0), NOW), Ok(Used::First));
        assert_eq!(memory.remember_now(one("a", 0), NOW), Ok(Used::Again));
        assert_eq!(memory.remember_now(one("b", 0), NOW), Ok(Used::First));
    }

    #[test]
    fn a_use_is_remembered_to_its_last_instant_and_no_longer() {
        let memory = MemoryReplays::new(NOW, 1);
        let (use_once, end) = (one("a", 0), one("a", 0).until);
        assert_eq!(memory.remember_now(use_once, NOW), Ok(Used::First));
        assert_eq!(memory.remember_now(use_once, end), Ok(Used::Again));
        assert_eq!(memory.remember_now(one("b", 0), end), Err(ReplaysUnavailable));
        let after = end.checked_add(Duration::from_nanos(1)).unwrap();
        let later = Use { until: after, ..one("b", 0) };
        assert_eq!(memory.remember_now(later, after), Ok(Used::First));
    }

    #[test]
    fn oauth_7_a_request_that_waited_past_the_end_of_a_use_does_not_use_it_again() {
        let memory = MemoryReplays::new(NOW, 10);
        let (proof, end) = (one("a", 0), one("a", 0).until);
        assert_eq!(memory.remember_now(proof, NOW), Ok(Used::First));
        // It comes at the last instant, and another request of a moment later is done first.
        let after = end.checked_add(Duration::from_nanos(1)).unwrap();
        let other = Use { until: after, ..one("b", 0) };
        assert_eq!(memory.remember_now(other, after), Ok(Used::First));
        assert_eq!(memory.remember_now(proof, end), Ok(Used::Again));
        // Nor does a clock that steps back help.
        assert_eq!(memory.remember_now(proof, NOW), Ok(Used::Again));
        let still = Use { until: after, ..one("c", 0) };
        assert_eq!(memory.remember_now(still, NOW), Ok(Used::First));
    }

    #[test]
    fn oauth_7_a_full_memory_refuses_what_is_new_and_forgets_nothing() {
        let memory = MemoryReplays::new(NOW, 2);
        for name in ["a", "b"] {
            assert_eq!(memory.remember_now(one(name, 0), NOW), Ok(Used::First));
        }
        assert_eq!(memory.remember_now(one("c", 0), NOW), Err(ReplaysUnavailable));
        assert_eq!(memory.remember_now(one("a", 0), NOW), Ok(Used::Again));
    }

    #[test]
    fn oauth_21_what_was_made_before_a_restart_counts_as_used() {
        let memory = MemoryReplays::new(NOW, 10);
        assert_eq!(memory.remember_now(one("a", -1), NOW), Ok(Used::Again));
        assert_eq!(memory.remember_now(one("a", 0), NOW), Ok(Used::First));
    }

    #[test]
    fn keys_of_two_parts_do_not_run_together() {
        assert_ne!(UseKey::of("t", [b"ab", b"c"]), UseKey::of("t", [b"a", b"bc"]));
        assert_ne!(UseKey::of("t", [b"a", b"b"]), UseKey::of("u", [b"a", b"b"]));
    }

    #[test]
    fn oauth_7_of_many_uses_at_once_one_is_the_first() {
        let memory = MemoryReplays::new(NOW, 10);
        let firsts: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| memory.remember_now(one("a", 0), NOW) == Ok(Used::First)))
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(firsts, 1);
    }
}
