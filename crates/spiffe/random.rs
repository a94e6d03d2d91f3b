//! Randomness as a parameter, wherever ring does not draw its own.

use std::fmt;

use jiff::Timestamp;

/// Where random bytes come from: the operating system in the daemon, a seed in tests.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills all of `out`.
    ///
    /// # Errors
    /// The source failed; `out` must not be used then.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError>;
}

/// The source of randomness failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes are available")]
pub struct RandomError;

/// 128 bits for an id that nobody has yet and nobody guesses: 48 for the milliseconds since 1970, and 80 random ones.
///
/// Ids in the order of their making keep an index over them narrow where it is written: a random one costs a page of its
/// own for every row.
///
/// # Errors
/// The source of randomness failed.
pub fn dated_id(random: &dyn Random, now: Timestamp) -> Result<u128, RandomError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    let milliseconds = u128::from(now.as_millisecond().max(0).unsigned_abs()) & ((1 << 48) - 1);
    Ok(milliseconds << 80 | u128::from_be_bytes(bytes) & ((1 << 80) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Random for Fixed {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn ids_are_in_the_order_of_their_making_and_random_within_a_millisecond() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let id = |byte, ms| dated_id(&Fixed(byte), at(ms)).unwrap();
        assert_eq!(id(0xff, 0x0123_4567_89ab), 0x0123_4567_89ab_ffff_ffff_ffff_ffff_ffff);
        assert!(id(0xff, 1) < id(0, 2) && id(0, 1) != id(1, 1));
        assert_eq!(id(0, -1), id(0, 0));
    }
}
