//! Selectors: what attestation found out about a process, and what a registration entry asks for.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A fact such as `unix:uid:1000`: a kind, which names the attestor, and a value; at most 2048 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Arc<str>);

/// Why a selector was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// More than [`Selector::MAX_BYTES`].
    #[error("selector is longer than {} bytes", Selector::MAX_BYTES)]
    TooLong,
    /// There is no `:`.
    #[error("selector has no `:` between kind and value")]
    NoColon,
    /// The kind is empty or has a character outside `a-z`, `0-9`, `_` and `-`.
    #[error("selector kind is not made of `a-z`, `0-9`, `_` and `-`")]
    Kind,
    /// The value is empty.
    #[error("selector value is empty")]
    EmptyValue,
    /// A control character.
    #[error("selector has a control character")]
    ControlCharacter,
}

/// Selectors without order or repetition.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SelectorSet(BTreeSet<Selector>);

impl Selector {
    /// The longest selector, in bytes.
    pub const MAX_BYTES: usize = 2048;

    /// A selector of two parts.
    ///
    /// # Errors
    /// See [`SelectorError`].
    pub fn new(kind: &str, value: &str) -> Result<Self, SelectorError> {
        if kind.contains(':') {
            return Err(SelectorError::Kind);
        }
        format!("{kind}:{value}").parse()
    }

    /// What stands before the first `:`, e.g. `unix`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _value)| kind)
    }

    /// What stands after the first `:`, e.g. `uid:1000`.
    #[must_use]
    pub fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_kind, value)| value)
    }

    /// The whole selector.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_BYTES {
            return Err(SelectorError::TooLong);
        }
        let (kind, value) = text.split_once(':').ok_or(SelectorError::NoColon)?;
        if kind.is_empty()
            || !kind.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        {
            return Err(SelectorError::Kind);
        }
        if value.is_empty() {
            return Err(SelectorError::EmptyValue);
        }
        if value.chars().any(char::is_control) {
            return Err(SelectorError::ControlCharacter);
        }
        Ok(Self(text.into()))
    }
}

crate::checked_string!(Selector, SelectorError);

impl SelectorSet {
    /// Whether every selector of this set is in `facts`. The empty set is a subset of everything: who grants by subsets
    /// must refuse it first.
    #[must_use]
    pub fn is_subset(&self, facts: &Self) -> bool {
        self.0.is_subset(&facts.0)
    }

    /// The selectors in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Selector> {
        self.0.iter()
    }

    /// Whether `selector` is in the set.
    #[must_use]
    pub fn contains(&self, selector: &Selector) -> bool {
        self.0.contains(selector)
    }

    /// Adds a selector; false when it was there.
    pub fn insert(&mut self, selector: Selector) -> bool {
        self.0.insert(selector)
    }

    /// How many selectors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Selector> for SelectorSet {
    fn from_iter<I: IntoIterator<Item = Selector>>(selectors: I) -> Self {
        Self(selectors.into_iter().collect())
    }
}

impl Extend<Selector> for SelectorSet {
    fn extend<I: IntoIterator<Item = Selector>>(&mut self, selectors: I) {
        self.0.extend(selectors);
    }
}

impl IntoIterator for SelectorSet {
    type Item = Selector;
    type IntoIter = std::collections::btree_set::IntoIter<Selector>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Selector, SelectorError, SelectorSet};

    fn set(texts: &[&str]) -> SelectorSet {
        texts.iter().map(|text| text.parse::<Selector>().unwrap()).collect()
    }

    #[test]
    fn the_first_colon_parts_kind_and_value() {
        let selector: Selector = "unix:path:/usr/bin/a:b".parse().unwrap();
        assert_eq!((selector.kind(), selector.value()), ("unix", "path:/usr/bin/a:b"));
        assert_eq!(Selector::new("unix", "path:/usr/bin/a:b"), Ok(selector));
        assert_eq!(Selector::new("unix:uid", "0"), Err(SelectorError::Kind));
    }

    #[test]
    fn each_rule_has_its_error() {
        for (text, error) in [
            ("", SelectorError::NoColon),
            ("unix", SelectorError::NoColon),
            (":uid:0", SelectorError::Kind),
            ("Unix:uid:0", SelectorError::Kind),
            ("uni x:uid:0", SelectorError::Kind),
            ("unix:", SelectorError::EmptyValue),
            ("unix:a\nb", SelectorError::ControlCharacter),
            ("unix:a\0", SelectorError::ControlCharacter),
        ] {
            assert_eq!(text.parse::<Selector>(), Err(error), "{text:?}");
        }
        assert!(format!("unix:{}", "x".repeat(2043)).parse::<Selector>().is_ok());
        assert_eq!(
            format!("unix:{}", "x".repeat(2044)).parse::<Selector>(),
            Err(SelectorError::TooLong)
        );
    }

    #[test]
    fn a_subset_needs_every_selector() {
        let facts = set(&["unix:uid:1000", "unix:gid:1000", "unix:path:/bin/a"]);
        assert!(set(&["unix:uid:1000", "unix:path:/bin/a"]).is_subset(&facts));
        assert!(!set(&["unix:uid:1000", "unix:path:/bin/b"]).is_subset(&facts));
        assert!(!facts.is_subset(&set(&["unix:uid:1000"])));
    }

    proptest! {
        #[test]
        fn what_parses_displays_as_itself(text in "[a-z0-9_-]{1,8}:[^\\p{Cc}]{1,40}") {
            prop_assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }
}
