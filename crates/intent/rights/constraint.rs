//! Constraints on resources: named values that only ever get tighter (specs/intents.md 9, `resource_constraints`).
//!
//! How two values compare follows from the name and the kind of value alone. Absent: `max_records` and `data_classes`,
//! which stand beside the constraints in a token and are dimensions of their own.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Dimension, Widening, path};

/// The most constraints that a grant or a token may have.
pub const MAX_CONSTRAINTS: usize = 32;
/// The most values that one constraint may list.
pub const MAX_CONSTRAINT_VALUES: usize = 64;
/// The longest text of a constraint, in bytes.
pub const MAX_CONSTRAINT_TEXT: usize = 512;
/// Members of `resource_constraints` that are dimensions of their own.
pub(crate) const RESERVED: [&str; 2] = ["max_records", "data_classes"];

/// Constraints by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, ConstraintValue>", into = "BTreeMap<String, ConstraintValue>")]
pub struct Constraints(BTreeMap<String, ConstraintValue>);

/// The value of a constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ConstraintValue {
    /// A switch: equal along a chain.
    Flag(bool),
    /// A number: at most this one if the name begins with `max_`, at least this one with `min_`, else exactly this one.
    Number(u64),
    /// A text: exactly this one; if the name ends with `_prefix`, whatever begins with it by whole segments.
    Text(String),
    /// One of these texts.
    Among(BTreeSet<String>),
    /// A number within these bounds, both included.
    Between {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

/// The constraints are not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// There are too many.
    #[error("there are more than {MAX_CONSTRAINTS} constraints")]
    TooMany,
    /// A name.
    #[error("a constraint's name has 1 to 64 of `a-z`, `0-9` and `_`, a letter first")]
    Name,
    /// A name that means something else.
    #[error("`max_records` and `data_classes` are no constraints of a playbook's own")]
    Reserved,
    /// A value.
    #[error(
        "a constraint is a switch, a number, a text, 1 to {MAX_CONSTRAINT_VALUES} texts, or `min` and `max`"
    )]
    Value,
}

impl Constraints {
    /// Constraints by name.
    ///
    /// # Errors
    /// They are not well formed.
    pub fn new(values: BTreeMap<String, ConstraintValue>) -> Result<Self, ConstraintError> {
        if values.len() > MAX_CONSTRAINTS {
            return Err(ConstraintError::TooMany);
        }
        for (name, value) in &values {
            check_name(name)?;
            if !value.is_sound() {
                return Err(ConstraintError::Value);
            }
        }
        Ok(Self(values))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One of them.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&ConstraintValue> {
        self.0.get(name)
    }

    /// Each of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ConstraintValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// These, with the ones that `other` names in place of the ones of the same name.
    pub(super) fn overlaid(&self, other: &Self) -> Self {
        let mut values = self.0.clone();
        values.extend(other.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self(values)
    }

    /// Whether `child` has the same names, and each value as tight or tighter. A name that the parent does not have is not
    /// comparable: what it would mean is the playbook's to say.
    pub(super) fn covers(&self, child: &Self) -> Result<(), Widening> {
        if child.0.keys().any(|name| !self.0.contains_key(name)) {
            return Err(Widening::incomparable(Dimension::Constraints));
        }
        for (name, value) in &self.0 {
            match child.0.get(name) {
                Some(tighter) => value.covers(tighter, name)?,
                None => return Err(Widening::exceeds(Dimension::Constraints)),
            }
        }
        Ok(())
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), ConstraintError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !(1..=64).contains(&name.len())
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.bytes().all(fits)
    {
        return Err(ConstraintError::Name);
    }
    if RESERVED.contains(&name) { Err(ConstraintError::Reserved) } else { Ok(()) }
}

impl ConstraintValue {
    fn is_sound(&self) -> bool {
        let text = |text: &String| {
            (1..=MAX_CONSTRAINT_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        match self {
            Self::Flag(_) | Self::Number(_) => true,
            Self::Text(value) => text(value),
            Self::Among(values) => {
                (1..=MAX_CONSTRAINT_VALUES).contains(&values.len()) && values.iter().all(text)
            }
            Self::Between { min, max } => min <= max,
        }
    }

    fn covers(&self, child: &Self, name: &str) -> Result<(), Widening> {
        let within = match (self, child) {
            (Self::Flag(ours), Self::Flag(theirs)) => ours == theirs,
            (Self::Number(ours), Self::Number(theirs)) if name.starts_with("max_") => {
                theirs <= ours
            }
            (Self::Number(ours), Self::Number(theirs)) if name.starts_with("min_") => {
                theirs >= ours
            }
            (Self::Number(ours), Self::Number(theirs)) => ours == theirs,
            (Self::Text(ours), Self::Text(theirs)) if name.ends_with("_prefix") => {
                return path::covers(ours, theirs, Dimension::Constraints);
            }
            (Self::Text(ours), Self::Text(theirs)) => ours == theirs,
            (Self::Among(ours), Self::Among(theirs)) => theirs.is_subset(ours),
            (Self::Between { min, max }, Self::Between { min: least, max: most }) => {
                least >= min && most <= max && least <= most
            }
            _ => return Err(Widening::incomparable(Dimension::Constraints)),
        };
        if within { Ok(()) } else { Err(Widening::exceeds(Dimension::Constraints)) }
    }
}

impl TryFrom<BTreeMap<String, ConstraintValue>> for Constraints {
    type Error = ConstraintError;

    fn try_from(values: BTreeMap<String, ConstraintValue>) -> Result<Self, ConstraintError> {
        Self::new(values)
    }
}

impl From<Constraints> for BTreeMap<String, ConstraintValue> {
    fn from(constraints: Constraints) -> Self {
        constraints.0
    }
}
