//! Typed claims of RFC 7519: dates and audiences whose wrong type is an error and never "absent".

use std::fmt;

use jiff::Timestamp;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A JSON NumericDate (RFC 7519 section 2) in whole seconds.
///
/// Only a non-negative JSON integer up to 253402207200 (30 December 9999, the last that [`Timestamp`] holds) reads: a string, a float, even `1.0`, a negative number, `null`
/// and `1e400` are errors, so that a mistyped `exp` never counts as no expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumericDate(Timestamp);

/// The instant does not fit a NumericDate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("date is outside the years 1970 to 9999")]
pub struct NumericDateError;

impl NumericDate {
    /// The instant, cut to the second before it.
    ///
    /// # Errors
    /// An instant before 1970.
    pub fn floor(instant: Timestamp) -> Result<Self, NumericDateError> {
        // Compared as an instant: `as_second` cuts towards 1970 and would take the last moment of 1969 for 1970.
        if instant < Timestamp::UNIX_EPOCH {
            return Err(NumericDateError);
        }
        let seconds = u64::try_from(instant.as_second()).map_err(|_negative| NumericDateError)?;
        Self::from_seconds(seconds)
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// A date after the year 9999.
    pub fn from_seconds(seconds: u64) -> Result<Self, NumericDateError> {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(Self)
            .ok_or(NumericDateError)
    }

    /// The instant.
    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.as_second()
    }
}

impl From<NumericDate> for Timestamp {
    fn from(date: NumericDate) -> Self {
        date.0
    }
}

impl Serialize for NumericDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.seconds())
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date as whole seconds since 1970")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                NumericDate::from_seconds(seconds).map_err(E::custom)
            }
        }
        deserializer.deserialize_u64(Seconds)
    }
}

/// For `#[serde(default, deserialize_with = "marque_jose::present")]` on an optional claim: absent is `None`, and `null`
/// is an error like every other wrong type. Plain serde would read `"nbf": null` as absent.
///
/// # Errors
/// Those of `T`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The `aud` claim (RFC 7519 section 4.1.3): a string or an array of strings, never empty.
///
/// One value is written as a string, several as an array. Comparison is byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences(Vec<String>);

/// No audience, or an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audience is empty")]
pub struct EmptyAudience;

impl Audiences {
    /// One or more audiences.
    ///
    /// # Errors
    /// No value, or a value that is the empty string.
    pub fn new(values: Vec<String>) -> Result<Self, EmptyAudience> {
        if values.is_empty() || values.iter().any(String::is_empty) {
            return Err(EmptyAudience);
        }
        Ok(Self(values))
    }

    /// Every value in the order of the token.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The value, when there is exactly one.
    #[must_use]
    pub fn sole(&self) -> Option<&str> {
        match self.0.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether one of the values is exactly `audience`.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|value| value == audience)
    }
}

impl Serialize for Audiences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.sole() {
            Some(value) => serializer.serialize_str(value),
            None => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Audiences;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Audiences, E> {
                Audiences::new(vec![value.to_owned()]).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Audiences, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = sequence.next_element()? {
                    values.push(value);
                }
                Audiences::new(values).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::{Audiences, NumericDate, Timestamp};

    #[test]
    fn a_date_is_a_whole_non_negative_number_and_nothing_else() {
        for wrong in [
            json!("1"),
            json!(1.0),
            json!(1.5),
            json!(-1),
            json!(null),
            json!(true),
            json!([1]),
            json!({}),
            json!(1e300),
            json!(u64::MAX),
            json!(253_402_300_800_i64),
        ] {
            assert!(from_value::<NumericDate>(wrong.clone()).is_err(), "{wrong}");
            assert!(
                from_value::<Option<NumericDate>>(wrong.clone()).is_err() || wrong.is_null(),
                "{wrong}"
            );
        }
        for text in ["1e400", "-0", "1E3", "01"] {
            assert!(serde_json::from_str::<NumericDate>(text).is_err(), "{text}");
        }
        let date: NumericDate = from_value(json!(1_700_000_000)).unwrap();
        assert_eq!(date.timestamp().to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(to_value(date).unwrap(), json!(1_700_000_000));
    }

    #[test]
    fn a_date_is_cut_to_the_second_and_never_before_1970() {
        let instant = "2023-11-14T22:13:20.999Z".parse().unwrap();
        assert_eq!(NumericDate::floor(instant).unwrap().seconds(), 1_700_000_000);
        for before in ["1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999999999Z"] {
            assert!(NumericDate::floor(before.parse().unwrap()).is_err(), "{before}");
        }
        assert_eq!(NumericDate::floor(Timestamp::UNIX_EPOCH).unwrap().seconds(), 0);
    }

    #[test]
    fn an_audience_is_a_string_or_an_array_of_strings_and_never_empty() {
        for wrong in [
            json!([]),
            json!(""),
            json!(["a", ""]),
            json!(1),
            json!(null),
            json!(["a", 1]),
            json!({"a": 1}),
            json!([["a"]]),
        ] {
            assert!(from_value::<Audiences>(wrong.clone()).is_err(), "{wrong}");
        }
        let one: Audiences = from_value(json!("a")).unwrap();
        assert_eq!(one, from_value(json!(["a"])).unwrap());
        assert_eq!((one.sole(), to_value(&one).unwrap()), (Some("a"), json!("a")));
        let two: Audiences = from_value(json!(["a", "b"])).unwrap();
        assert_eq!((two.sole(), to_value(&two).unwrap()), (None, json!(["a", "b"])));
        assert!(
            two.contains("b") && !two.contains("B") && !two.contains("b/") && !two.contains("")
        );
        assert!(Audiences::new(Vec::new()).is_err());
    }
}
