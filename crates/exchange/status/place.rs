//! Which place of which list a token has: lists are filled one after the other, each in an order that only we can follow.
//!
//! Whoever reads tokens and lists must not learn from the places how many tokens were issued, when, or which were issued
//! together (§13.2 of the draft). So the serial number of a token is permuted within its list under a secret key.

use std::fmt;

use marque_jose::sha256;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// How many places a list has: enough for a token to hide among.
pub const STATUS_LIST_PLACES: u64 = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 17;
/// The two halves of a place, in bits.
const LOW_BITS: u32 = 8;
const HIGH_BITS: u32 = PLACE_BITS - LOW_BITS;
/// NIST SP 800-38G uses ten rounds for a domain of any size.
const ROUNDS: u8 = 10;
/// Short enough for one block of SHA-256 together with the rest.
const DOMAIN: &[u8] = b"marque/place";

/// The secret that places are permuted under. The same on every replica and after every restart.
#[derive(Clone, Zeroize)]
#[zeroize(drop)]
pub struct StatusKey([u8; 32]);

impl StatusKey {
    /// A key by its bytes, which are random.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The place of the token with this serial number; another one for every other number.
    pub fn place(&self, serial: u64) -> StatusPlace {
        let (list, within) = (serial >> PLACE_BITS, serial % STATUS_LIST_PLACES);
        let (mut low, mut high) = (within % (1 << LOW_BITS), within >> LOW_BITS);
        // A Feistel network over halves of unequal length: each step changes one half by the other, and can be undone.
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                low ^= self.mix(list, round, high) % (1 << LOW_BITS);
            } else {
                high ^= self.mix(list, round, low) % (1 << HIGH_BITS);
            }
        }
        StatusPlace(list << PLACE_BITS | high << LOW_BITS | low)
    }

    /// A pseudo-random number. The input has a fixed length, so the secret may come first.
    fn mix(&self, list: u64, round: u8, half: u64) -> u64 {
        let mut input = [0; 32 + DOMAIN.len() + 8 + 1 + 2];
        let half = half.to_be_bytes();
        let half_bytes = half.last_chunk::<2>().map_or(&[][..], <[u8; 2]>::as_slice);
        let parts: [&[u8]; 5] = [&self.0, DOMAIN, &list.to_be_bytes(), &[round], half_bytes];
        let mut rest = input.as_mut_slice();
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        let hash = sha256(&input);
        input.zeroize();
        hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

impl fmt::Debug for StatusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusKey(…)")
    }
}

/// A place, counted through all lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusPlace(u64);

impl StatusPlace {
    /// The place of this number.
    pub const fn of(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Which list.
    pub const fn list(self) -> u64 {
        self.0 / STATUS_LIST_PLACES
    }

    /// Where in the list.
    pub const fn idx(self) -> u64 {
        self.0 % STATUS_LIST_PLACES
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::LazyLock};

    use super::*;

    /// The places of a whole list, in the order in which they are given.
    static FIRST_LIST: LazyLock<Vec<u64>> = LazyLock::new(|| {
        let key = StatusKey::new([7; 32]);
        (0..STATUS_LIST_PLACES).map(|serial| key.place(serial).number()).collect()
    });

    #[test]
    fn oauth_15_4_every_place_of_a_list_is_given_once_and_none_of_another_list() {
        let mut given = FIRST_LIST.clone();
        given.sort_unstable();
        assert!(given.into_iter().eq(0..STATUS_LIST_PLACES));
        let key = StatusKey::new([7; 32]);
        for list in [1, 40_000] {
            let first = list * STATUS_LIST_PLACES;
            let serials = (first..first + 1000)
                .chain(first + STATUS_LIST_PLACES - 1000..first + STATUS_LIST_PLACES);
            let given: BTreeSet<_> = serials.map(|serial| key.place(serial)).collect();
            assert_eq!(given.len(), 2000);
            assert!(given.iter().all(|place| place.list() == list), "list {list}");
        }
    }

    #[test]
    fn oauth_15_4_places_do_not_follow_the_order_of_issue() {
        let given = &*FIRST_LIST;
        let neighbours = given.windows(2).filter(|two| two[0].abs_diff(two[1]) == 1).count();
        // Of a random order, two of 131,071 pairs are expected to be neighbours.
        assert!(neighbours < 20, "{neighbours}");
        let unmoved = given.iter().zip(0..).filter(|(place, serial)| **place == *serial).count();
        assert!(unmoved < 20, "{unmoved}");
        // Every part of the list is reached early on, and about equally.
        let mut parts = [0; 16];
        for place in &given[..1600] {
            parts[usize::try_from(place / (STATUS_LIST_PLACES / 16)).unwrap()] += 1;
        }
        assert!(parts.iter().all(|count| (50..200).contains(count)), "{parts:?}");
    }

    #[test]
    fn another_key_or_list_is_another_order() {
        let (one, two) = (StatusKey::new([7; 32]), StatusKey::new([8; 32]));
        let first: Vec<_> = (0..50).map(|serial| one.place(serial).idx()).collect();
        assert!((0..50).map(|serial| two.place(serial).idx()).ne(first.iter().copied()));
        let next = STATUS_LIST_PLACES..STATUS_LIST_PLACES + 50;
        assert!(next.map(|serial| one.place(serial).idx()).ne(first.iter().copied()));
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", StatusKey::new([65; 32])), "StatusKey(…)");
    }
}
