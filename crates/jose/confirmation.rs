//! The claim `cnf`: to which key a token is bound (RFC 7800, RFC 8705 §3.1, RFC 9449 §6.1).
//!
//! Deliberately absent: proofs. A confirmation says which key has to be proven, not that it was.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base64url;

/// A SHA-256 thumbprint: of a public key (RFC 7638) or of a certificate's DER (RFC 8705 §3.1). 43 characters of base64url
/// on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint([u8; 32]);

/// The text is not a SHA-256 thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is the base64url form of 32 bytes, without padding")]
pub struct ThumbprintError;

/// To which key a token is bound: exactly one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Confirmation {
    /// The key of DPoP proofs.
    #[serde(rename = "jkt")]
    Jkt(Thumbprint),
    /// The certificate of the TLS client.
    #[serde(rename = "x5t#S256")]
    X5t(Thumbprint),
}

impl Thumbprint {
    /// A thumbprint by its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Thumbprint {
    type Err = ThumbprintError;

    fn from_str(text: &str) -> Result<Self, ThumbprintError> {
        let bytes = base64url::decode(text).map_err(|_other| ThumbprintError)?;
        bytes.as_slice().try_into().map(Self).map_err(|_other| ThumbprintError)
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = ThumbprintError;

    fn try_from(text: String) -> Result<Self, ThumbprintError> {
        text.parse()
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        base64url::encode(thumbprint.0)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_the_member_of_cnf() {
        let thumbprint = Thumbprint::new([7; 32]);
        let text = thumbprint.to_string();
        assert_eq!(text.len(), 43);
        assert_eq!(text.parse(), Ok(thumbprint));
        for (confirmation, name) in
            [(Confirmation::Jkt(thumbprint), "jkt"), (Confirmation::X5t(thumbprint), "x5t#S256")]
        {
            let json = serde_json::to_value(confirmation).unwrap();
            assert_eq!(json, serde_json::json!({ name: text }));
            assert_eq!(serde_json::from_value::<Confirmation>(json).unwrap(), confirmation);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "AA", &"A".repeat(44), &format!("{}=", "A".repeat(43)), &"*".repeat(43)] {
            assert_eq!(text.parse::<Thumbprint>(), Err(ThumbprintError), "{text}");
        }
        for json in [
            serde_json::json!({}),
            serde_json::json!({"jwk": {}}),
            serde_json::json!({"jkt": 7}),
            serde_json::json!({"jkt": "A".repeat(43), "x5t#S256": "A".repeat(43)}),
        ] {
            assert!(serde_json::from_value::<Confirmation>(json.clone()).is_err(), "{json}");
        }
    }
}
