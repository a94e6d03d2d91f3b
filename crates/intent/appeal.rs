//! Whom a client asks for an approval, and the words that both sides are to see (OpenID CIBA Core 1.0, section 7.1).
//!
//! Both are for people to read. Neither is an input to any decision: who may approve is the playbook's to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How long a binding message may be.
pub const MAX_BINDING_MESSAGE_CHARS: usize = 64;
/// How long the name of somebody who is asked may be.
pub const MAX_ASKED_CHARS: usize = 64;

/// A short text that the client shows as well, so that an approver can tell that both speak of the same: untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BindingMessage(String);

/// The text is no binding message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a binding message has 1 to {MAX_BINDING_MESSAGE_CHARS} printable ASCII characters")]
pub struct BindingMessageError;

/// Who is asked, by the name of a group or user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AskedOf(String);

/// The text names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group or user has 1 to {MAX_ASKED_CHARS} printable ASCII characters without spaces")]
pub struct AskedOfError;

/// What a client wants of the approvers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appeal {
    /// Who is asked.
    pub asked: AskedOf,
    /// What both sides see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<BindingMessage>,
}

impl FromStr for BindingMessage {
    type Err = BindingMessageError;

    fn from_str(text: &str) -> Result<Self, BindingMessageError> {
        let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if plain && (1..=MAX_BINDING_MESSAGE_CHARS).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BindingMessageError)
        }
    }
}

impl FromStr for AskedOf {
    type Err = AskedOfError;

    fn from_str(text: &str) -> Result<Self, AskedOfError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain && (1..=MAX_ASKED_CHARS).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(AskedOfError)
        }
    }
}

macro_rules! text_conversions {
    ($name:ident, $error:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_conversions!(BindingMessage, BindingMessageError);
text_conversions!(AskedOf, AskedOfError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oauth_18_6_a_binding_message_is_short_and_plain() {
        for text in ["W4SCT", "rotate checkout: 7B-22", &"x".repeat(MAX_BINDING_MESSAGE_CHARS)] {
            assert_eq!(text.parse::<BindingMessage>().unwrap().as_str(), text);
        }
        for (name, text) in [
            ("empty", ""),
            ("one_too_long", &*"x".repeat(MAX_BINDING_MESSAGE_CHARS + 1)),
            ("line_end", "a\nb"),
            ("tab", "a\tb"),
            ("escape", "a\u{1b}[2J"),
            ("delete", "a\u{7f}"),
            ("bidirectional", "a\u{202e}b"),
            ("not_ascii", "für"),
        ] {
            assert_eq!(text.parse::<BindingMessage>(), Err(BindingMessageError), "{name}");
        }
    }

    #[test]
    fn who_is_asked_has_a_name_without_spaces() {
        assert!("platform-sre".parse::<AskedOf>().is_ok());
        assert!("a".repeat(MAX_ASKED_CHARS).parse::<AskedOf>().is_ok());
        for text in ["", "a b", "ä", &"a".repeat(MAX_ASKED_CHARS + 1)] {
            assert!(text.parse::<AskedOf>().is_err(), "{text}");
        }
    }
}
