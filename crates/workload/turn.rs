//! When one stream takes its turn in a change that concerns every stream.

use std::time::Duration;

use jiff::Timestamp;

/// The share of the splay by which each stream comes after the one before it, modulo the whole: the golden ratio's
/// fractional part, so that any number of streams is spread evenly. In units of 2^-32.
const STEP: u64 = 2_654_435_769;

/// One stream's place in the splay.
#[derive(Debug)]
pub(crate) struct Turn {
    offset: Duration,
    /// When it comes, once a change has been seen for which it has to.
    at: Option<Timestamp>,
}

impl Turn {
    /// The place of the stream with this number.
    pub(crate) fn of(stream: u64, splay: Duration) -> Self {
        let share = u128::from(stream.wrapping_mul(STEP) & 0xffff_ffff);
        let nanos = (splay.as_nanos().saturating_mul(share)) >> 32;
        Self { offset: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), at: None }
    }

    /// When the turn comes for a change that was there at `since`. A later change does not move it.
    pub(crate) fn comes_at(&mut self, since: Timestamp) -> Timestamp {
        *self.at.get_or_insert_with(|| since.checked_add(self.offset).unwrap_or(Timestamp::MAX))
    }

    /// There is nothing to wait for any more.
    pub(crate) fn over(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use marque_testkit::START;

    use super::*;

    #[test]
    fn turns_are_spread_evenly_over_the_splay_and_never_beyond() {
        let splay = Duration::from_secs(10);
        for count in [10, 100, 1000] {
            let mut tenths = [0; 10];
            for stream in 0..count {
                let offset = Turn::of(stream, splay).offset;
                assert!(offset < splay);
                tenths[usize::try_from(offset.as_secs()).unwrap()] += 1;
            }
            let even = count / 10;
            assert!(
                tenths.iter().all(|n| (even.saturating_sub(2)..=even + 2).contains(n)),
                "{tenths:?}"
            );
        }
    }

    #[test]
    fn a_later_change_does_not_move_a_turn_and_one_after_it_does() {
        let mut turn = Turn::of(1, Duration::from_secs(10));
        let first = turn.comes_at(START);
        assert_eq!(turn.comes_at(START + Duration::from_secs(60)), first);
        turn.over();
        assert_eq!(turn.comes_at(START + Duration::from_secs(60)), first + Duration::from_secs(60));
    }

    #[test]
    fn without_a_splay_every_turn_is_at_once() {
        assert_eq!(Turn::of(77, Duration::ZERO).comes_at(START), START);
    }
}
