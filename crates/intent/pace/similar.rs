//! How alike two justifications are. The answer only ever raises risk (M 86).

use std::collections::BTreeSet;

/// Whether two texts say nearly the same: their runs of three words have at least six in ten in common.
#[must_use]
pub fn says_the_same(one: &str, other: &str) -> bool {
    let (one, other) = (runs(one), runs(other));
    let both = one.intersection(&other).count();
    let either = one.len() + other.len() - both;
    either > 0 && both * 10 >= either * 6
}

/// Every run of three words, without case and punctuation; of a shorter text the whole.
fn runs(text: &str) -> BTreeSet<Vec<String>> {
    let words: Vec<String> = text
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    if words.is_empty() {
        return BTreeSet::new();
    }
    words.windows(words.len().min(3)).map(<[String]>::to_vec).collect()
}
