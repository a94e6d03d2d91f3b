//! The identifier of an intent: 128 bits, 80 of them random, written so that people can read it aloud.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use marque_spiffe::{Random, RandomError, dated_id};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "int_";
const DIGITS: usize = 26;
/// Crockford's base 32 in lower case: no `i`, `l`, `o` or `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An intent's id: `int_` and 26 characters. It is hard to guess, but it is no credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IntentId(String);

/// The text is not the id of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an intent id is `int_` and 26 characters of lowercase base 32")]
pub struct IntentIdError;

impl IntentId {
    /// Draws a new id; see [`dated_id`].
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(random: &dyn Random, now: Timestamp) -> Result<Self, RandomError> {
        draw(PREFIX, random, now).map(Self)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IntentId {
    type Err = IntentIdError;

    fn from_str(text: &str) -> Result<Self, IntentIdError> {
        if is_drawn(PREFIX, text) { Ok(Self(text.to_owned())) } else { Err(IntentIdError) }
    }
}

/// A prefix and 26 digits of a [`dated_id`].
pub(crate) fn draw(
    prefix: &str,
    random: &dyn Random,
    now: Timestamp,
) -> Result<String, RandomError> {
    let mut value = dated_id(random, now)?;
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET.get((value & 31) as usize).copied().unwrap_or(b'0');
        value >>= 5;
    }
    Ok(prefix.chars().chain(digits.into_iter().map(char::from)).collect())
}

/// Whether [`draw`] could have given the text.
pub(crate) fn is_drawn(prefix: &str, text: &str) -> bool {
    let Some(digits) = text.strip_prefix(prefix).map(str::as_bytes) else { return false };
    // 26 digits hold 130 bits; the two that 128 bits leave over are zero.
    let in_range = digits.first().is_some_and(|first| (b'0'..=b'7').contains(first));
    digits.len() == DIGITS && in_range && digits.iter().all(|digit| ALPHABET.contains(digit))
}

impl TryFrom<String> for IntentId {
    type Error = IntentIdError;

    fn try_from(text: String) -> Result<Self, IntentIdError> {
        text.parse()
    }
}

impl From<IntentId> for String {
    fn from(id: IntentId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed([u8; 16]);

    impl Random for Fixed {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
            out.copy_from_slice(&self.0);
            Ok(())
        }
    }

    #[test]
    fn a_drawn_id_reads_back() {
        for bytes in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let id = IntentId::generate(&Fixed(bytes), Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(id.as_str().parse::<IntentId>().unwrap(), id);
        }
        let last = Timestamp::from_millisecond((1 << 47) - 1).unwrap();
        let id = IntentId::generate(&Fixed([0xff; 16]), last).unwrap();
        assert_eq!(id.as_str(), "int_3zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn other_spellings_of_an_id_are_refused() {
        for bad in [
            "",
            "int_",
            "int_0000000000000000000000000",
            "int_000000000000000000000000000",
            "int_80000000000000000000000000",
            "int_0000000000000000000000000A",
            "int_0000000000000000000000000u",
            "INT_00000000000000000000000000",
            "00000000000000000000000000",
        ] {
            assert!(bad.parse::<IntentId>().is_err(), "{bad}");
        }
    }
}
