//! Strict JSON: a duplicate member name is refused at every depth, and size and depth are bounded.
//!
//! `serde_json` keeps the last of two members of one name and says nothing; two readers of one token would then see two
//! different tokens (RFC 8259 section 4, RFC 7515 section 4). Nothing here is lenient and nothing is typed: the result
//! is a plain [`Value`].

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How much JSON is read before giving up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that are looked at.
    pub max_bytes: usize,
    /// The deepest nesting of arrays and objects; a plain string has depth 0, `{}` depth 1.
    pub max_depth: usize,
}

/// Why JSON was refused.
#[derive(Debug, thiserror::Error)]
pub enum StrictJsonError {
    /// Longer than the limit.
    #[error("JSON is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Nested deeper than the limit.
    #[error("JSON is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
    },
    /// An object has two members of one name.
    #[error("JSON object has two members `{name}`")]
    DuplicateMember {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// Valid JSON, and something else than an object.
    #[error("JSON value is not an object")]
    NotAnObject,
    /// Not JSON at all, or followed by something.
    #[error("not valid JSON")]
    Syntax(#[source] serde_json::Error),
}

impl Limits {
    /// The limits for one part of a token or for a request: 16 KiB, 16 levels.
    pub const TOKEN: Self = Self { max_bytes: 16 * 1024, max_depth: 16 };
}

/// Reads one JSON object and nothing after it.
///
/// # Errors
/// See [`StrictJsonError`].
pub fn parse_object(bytes: &[u8], limits: &Limits) -> Result<Map<String, Value>, StrictJsonError> {
    match parse(bytes, limits)? {
        Value::Object(members) => Ok(members),
        _ => Err(StrictJsonError::NotAnObject),
    }
}

/// Reads one JSON value and nothing after it.
///
/// # Errors
/// See [`StrictJsonError`].
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, StrictJsonError> {
    if bytes.len() > limits.max_bytes {
        return Err(StrictJsonError::TooLong { limit: limits.max_bytes });
    }
    let refusal = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { depth_left: limits.max_depth, limits, refusal: &refusal }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| refusal.take().unwrap_or(StrictJsonError::Syntax(error)))
}

/// Builds a [`Value`]; what it refuses itself is left in `refusal`, because serde's errors are only text.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    limits: &'a Limits,
    refusal: &'a RefCell<Option<StrictJsonError>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&self, error: StrictJsonError) -> E {
        let text = E::custom(&error);
        self.refusal.replace(Some(error));
        text
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..*self }),
            None => Err(self.refuse(StrictJsonError::TooDeep { limit: self.limits.max_depth })),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(
                    self.refuse(StrictJsonError::DuplicateMember { name: crate::excerpt(&name) })
                );
            }
            let value = object.next_value_seed(inner)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests;
