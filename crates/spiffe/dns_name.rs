//! DNS names for the subject alternative names of an X.509-SVID.

use std::{str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A host name in lower case (RFC 1123): labels of letters, digits and inner hyphens, 1 to 253 bytes, no final dot, no
/// wildcard, and not something that reads as an IPv4 address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsName(Arc<str>);

/// Why a DNS name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// More than [`DnsName::MAX_BYTES`].
    #[error("DNS name is longer than {} bytes", DnsName::MAX_BYTES)]
    TooLong,
    /// An empty label: the empty name, two dots in a row, a leading or a final dot.
    #[error("DNS name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("DNS name has a label longer than 63 bytes")]
    LabelTooLong,
    /// A label that starts or ends with a hyphen.
    #[error("DNS name has a label that starts or ends with a hyphen")]
    Hyphen,
    /// A character outside `a-z`, `0-9`, `-` and `.`; upper case and `*` are among them.
    #[error("DNS name has a character outside `a-z`, `0-9`, `-` and `.`")]
    Character,
    /// The last label is all digits, as in an IPv4 address.
    #[error("DNS name ends in a number")]
    Number,
}

impl DnsName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 253;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_BYTES {
            return Err(DnsNameError::TooLong);
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(DnsNameError::EmptyLabel);
            }
            if label.len() > 63 {
                return Err(DnsNameError::LabelTooLong);
            }
            if !label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
                return Err(DnsNameError::Character);
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(DnsNameError::Hyphen);
            }
        }
        if text
            .rsplit('.')
            .next()
            .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
        {
            return Err(DnsNameError::Number);
        }
        Ok(Self(text.into()))
    }
}

crate::checked_string!(DnsName, DnsNameError);

#[cfg(test)]
mod tests {
    use super::{DnsName, DnsNameError};

    #[test]
    fn each_rule_of_a_host_name_has_its_error() {
        let long_label = format!("{}.example.org", "a".repeat(64));
        let long_name = vec!["a".repeat(49); 6].join(".");
        for (text, error) in [
            ("", DnsNameError::EmptyLabel),
            ("a..b", DnsNameError::EmptyLabel),
            ("a.", DnsNameError::EmptyLabel),
            ("A.example.org", DnsNameError::Character),
            ("*.example.org", DnsNameError::Character),
            ("a_b", DnsNameError::Character),
            ("-a", DnsNameError::Hyphen),
            ("a-.b", DnsNameError::Hyphen),
            ("127.0.0.1", DnsNameError::Number),
            (&long_label, DnsNameError::LabelTooLong),
            (&long_name, DnsNameError::TooLong),
        ] {
            assert_eq!(text.parse::<DnsName>(), Err(error), "{text}");
        }
        for text in ["a", "api.prod.example.org", "xn--bcher-kva.example", &"a".repeat(63)] {
            assert_eq!(text.parse::<DnsName>().unwrap().as_str(), text);
        }
    }
}
