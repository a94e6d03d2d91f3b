//! Randomness that is the same in every run.

use std::sync::{Mutex, PoisonError};

use marque_jose::sha256;
use marque_spiffe::{Random, RandomError};

/// Bytes drawn from a seed: SHA-256 over seed and counter.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    counter: Mutex<u64>,
}

impl SeededRandom {
    /// The sequence of this seed, from its beginning.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, counter: Mutex::new(0) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in out.chunks_mut(32) {
            let block = sha256(&[self.seed.to_be_bytes(), counter.to_be_bytes()].concat());
            *counter += 1;
            for (out, byte) in chunk.iter_mut().zip(block) {
                *out = byte;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use marque_spiffe::Random as _;

    use super::SeededRandom;

    #[test]
    fn a_seed_gives_one_sequence_without_repeating_itself() {
        let draw = |random: &SeededRandom| {
            let mut bytes = [0; 40];
            random.fill(&mut bytes).unwrap();
            bytes
        };
        let (one, same, other) = (SeededRandom::new(1), SeededRandom::new(1), SeededRandom::new(2));
        let first = draw(&one);
        assert_eq!(first, draw(&same));
        assert_ne!(first, draw(&other));
        assert_ne!(first, draw(&one));
    }
}
