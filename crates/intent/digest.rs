//! SHA-256 digests of documents in canonical JSON (RFC 8785): what pins a playbook, a grant and a policy set.
//!
//! Absent: signatures. A digest says that two things are the same, never who said so.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A SHA-256 digest, written `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// The text is not `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 lowercase hexadecimal digits")]
pub struct DigestSyntaxError;

/// The value has no canonical JSON form, such as a number that is not finite.
#[derive(Debug, thiserror::Error)]
#[error("the document has no canonical JSON form")]
pub struct CanonicalError(#[source] serde_json::Error);

impl Digest {
    /// The digest of plain bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// SHA-256 of `tag` followed by the canonical JSON of `document`. The tag keeps digests of one purpose from being
    /// taken for another's.
    ///
    /// # Errors
    /// The document has no canonical form.
    pub fn of_document<T: Serialize>(tag: &str, document: &T) -> Result<Self, CanonicalError> {
        Self::and_length(tag, document).map(|(digest, _)| digest)
    }

    /// [`Self::of_document`], and how many bytes the canonical JSON has.
    pub(crate) fn and_length<T: Serialize>(
        tag: &str,
        document: &T,
    ) -> Result<(Self, usize), CanonicalError> {
        let canonical = canonical(document).map_err(CanonicalError)?;
        Ok((Self::of_parts(&[tag.as_bytes(), &canonical]), canonical.len()))
    }

    /// The raw 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people to compare at a glance; never for a decision.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(self.0.iter().take(6).copied().collect::<Vec<u8>>())
    }

    fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

/// The canonical JSON of a document.
fn canonical<T: Serialize>(document: &T) -> Result<Vec<u8>, serde_json::Error> {
    match serde_json::to_value(document) {
        // Without a buffer for each member.
        Ok(value) if is_canonical_as_it_stands(&value) => serde_json::to_vec(&value),
        Ok(_) | Err(_) => serde_json_canonicalizer::to_vec(document),
    }
}

/// Whether compact JSON of this value is canonical: members are in order, where bytes and UTF-16 order alike, and numbers are
/// integers that a double holds (RFC 8785, sections 3.2.2.3 and 3.2.3). Strings are escaped alike in both.
fn is_canonical_as_it_stands(value: &Value) -> bool {
    const MAX_INTEGER: u64 = 1 << 53;
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => {
            number.as_i64().is_some_and(|number| number.unsigned_abs() <= MAX_INTEGER)
        }
        Value::Array(values) => values.iter().all(is_canonical_as_it_stands),
        Value::Object(members) => {
            members.keys().all(|name| name.is_ascii())
                && members.keys().is_sorted()
                && members.values().all(is_canonical_as_it_stands)
        }
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestSyntaxError;

    fn from_str(text: &str) -> Result<Self, DigestSyntaxError> {
        let digits = text.strip_prefix("sha256:").ok_or(DigestSyntaxError)?;
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(DigestSyntaxError);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_source| DigestSyntaxError)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestSyntaxError;

    fn try_from(text: String) -> Result<Self, DigestSyntaxError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_members_does_not_change_a_digest_and_a_value_does() {
        let one = Digest::of_document("t", &json!({"a": 1, "b": [true]})).unwrap();
        assert_eq!(one, Digest::of_document("t", &json!({"b": [true], "a": 1})).unwrap());
        assert_ne!(one, Digest::of_document("t", &json!({"b": [true], "a": 2})).unwrap());
        assert_ne!(one, Digest::of_document("u", &json!({"a": 1, "b": [true]})).unwrap());
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (-3_i64..=3).prop_map(|n| json!((1_i64 << 53) + n)),
            (-3_i64..=3).prop_map(|n| json!(-(1_i64 << 53) + n)),
        ];
        let text = prop_oneof!["[a-c]{0,3}", any::<String>(), "[\\x00-\\x7f]{0,4}"];
        let name = prop_oneof!["[a-cA-C]{0,3}", "[\u{e000}-\u{ffff}\u{10000}-\u{10ffff}]{1,2}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::hash_map(name.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_short_way_writes_what_the_long_one_does(document in any_document()) {
            let long = serde_json_canonicalizer::to_vec(&document).unwrap();
            prop_assert_eq!(canonical(&document).unwrap(), long);
        }
    }

    #[test]
    fn what_plain_json_writes_in_another_way_goes_the_long_way() {
        for (document, short) in [
            (json!({"a": 1_u64 << 53, "b": [1, -1, null, {"": "\u{7f}\u{1}\n\"é"}]}), true),
            (json!((1_u64 << 53) + 1), false),
            (json!(u64::MAX), false),
            (json!([1.0]), false),
            (json!({"é": 1}), false),
        ] {
            assert_eq!(is_canonical_as_it_stands(&document), short, "{document}");
            let long = serde_json_canonicalizer::to_vec(&document).unwrap();
            assert_eq!(canonical(&document).unwrap(), long, "{document}");
        }
    }

    #[test]
    fn a_digest_is_the_plain_sha256_of_its_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn other_spellings_of_a_digest_are_refused() {
        let good = Digest::of(b"").to_string();
        for bad in [
            String::new(),
            good.to_uppercase(),
            good.replace("e3b0", "E3B0"),
            good.replace("sha256:", ""),
            format!("{good}0"),
            good.replace("e3b0", "e3b"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
