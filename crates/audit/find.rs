//! Finding a leaf of which only the time is known: no index is kept, as recorded times never go back.

use std::time::Duration;

use jiff::Timestamp;

use crate::{EventKind, Leaf, LogError, LogStore};

/// How many leaves are read at a time.
const PAGE: usize = 256;
/// How far behind its decision a token's leaf may have been recorded: a clock that is further off gives no tokens.
const WINDOW: Duration = Duration::from_secs(60);
/// How far before it, by a clock that was set back meanwhile.
const BEFORE: Duration = Duration::from_secs(10);
/// How many leaves are looked at for one token at most.
const MAX_LOOKED_AT: u64 = 16_384;

/// The leaf by which a token was issued at about `at`, or derived; `None` if there is none thereabouts.
///
/// # Errors
/// The log cannot be read.
pub async fn token_leaf(
    log: &dyn LogStore,
    token_id: &str,
    at: Timestamp,
) -> Result<Option<Leaf>, LogError> {
    let size = log.size().await?;
    let until = at.checked_add(WINDOW).unwrap_or(Timestamp::MAX);
    let start = first_recorded(log, size, at).await?;
    if let Some(leaf) = scan(log, token_id, start, until).await? {
        return Ok(Some(leaf));
    }
    let earlier = at.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
    let earlier = first_recorded(log, start, earlier).await?;
    if earlier < start { scan(log, token_id, earlier, at).await } else { Ok(None) }
}

/// The number of the first leaf that was recorded at `at` or later, of those before number `end`; `end` if there is none.
///
/// # Errors
/// The log cannot be read.
pub async fn first_recorded(log: &dyn LogStore, end: u64, at: Timestamp) -> Result<u64, LogError> {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        match log.leaves(middle, 1).await?.first() {
            Some(leaf) if leaf.recorded() < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

async fn scan(
    log: &dyn LogStore,
    token_id: &str,
    from: u64,
    until: Timestamp,
) -> Result<Option<Leaf>, LogError> {
    let mut next = from;
    while next < from + MAX_LOOKED_AT {
        let page = log.leaves(next, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        let (behind, over) = (last.seq() + 1, last.recorded() > until);
        if let Some(leaf) = page.into_iter().find(|leaf| gives(leaf, token_id)) {
            return Ok(Some(leaf));
        }
        if over {
            return Ok(None);
        }
        next = behind;
    }
    Ok(None)
}

/// Whether the leaf is that by which the token came to be.
#[must_use]
pub fn gives(leaf: &Leaf, token_id: &str) -> bool {
    let event = leaf.event();
    matches!(event.kind, EventKind::TokenIssued | EventKind::TokenDerived)
        && event.token_id.as_deref() == Some(token_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryLog, at, event, seal};

    /// One token a second; the leaf's own number is its recorded second.
    fn log(count: u64) -> MemoryLog {
        let events = (0..count)
            .map(|n| event(EventKind::TokenIssued, "int_1", n).with_token_id(format!("tok_{n}")));
        MemoryLog::of(seal(events.collect()))
    }

    #[tokio::test]
    async fn a_token_is_found_by_its_time_and_not_far_from_it() {
        let log = log(1000);
        for n in [0_u64, 1, 499, 998, 999] {
            let name = format!("tok_{n}");
            let found = token_leaf(&log, &name, at(n)).await.unwrap().unwrap();
            assert_eq!(found.seq(), n);
            // Its clock was a little ahead of the log's, or behind it.
            let found = token_leaf(&log, &name, at(n + 9)).await.unwrap().unwrap();
            assert_eq!(found.seq(), n);
            let found = token_leaf(&log, &name, at(n.saturating_sub(50))).await.unwrap().unwrap();
            assert_eq!(found.seq(), n);
        }
        assert!(token_leaf(&log, "tok_1000", at(999)).await.unwrap().is_none());
        assert!(token_leaf(&log, "tok_900", at(10)).await.unwrap().is_none());
        assert!(token_leaf(&MemoryLog::of(Vec::new()), "tok_0", at(0)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn only_so_many_leaves_are_looked_at() {
        let events = (0..MAX_LOOKED_AT + 1000)
            .map(|n| event(EventKind::TokenIssued, "int_1", 0).with_token_id(format!("tok_{n}")));
        let leaves = (0..).zip(events).map(|(seq, event)| {
            Leaf::seal(event, &crate::testing::trust_domain(), seq, at(0)).unwrap()
        });
        let log = MemoryLog::of(leaves.collect());
        let last = format!("tok_{}", MAX_LOOKED_AT - 1);
        assert!(token_leaf(&log, &last, at(0)).await.unwrap().is_some());
        let far = format!("tok_{}", MAX_LOOKED_AT + 512);
        assert!(token_leaf(&log, &far, at(0)).await.unwrap().is_none());
    }
}
