//! Text that people will read and that somebody untrusted may have written: cleaned and bounded.
//!
//! Nothing here is ever an input to a decision (M 86).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How long an agent's justification may be, in characters, before cleaning.
pub const MAX_JUSTIFICATION_CHARS: usize = 1024;
/// How long an operator's reason may be, in characters, before cleaning.
pub const MAX_REASON_CHARS: usize = 256;

/// The text is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text has more than {limit} characters")]
pub struct TextTooLong {
    /// The most characters that it may have.
    pub limit: usize,
}

/// What an agent says about its request: shown to approvers as untrusted, stripped of control, terminal, bidirectional
/// and invisible characters, and read by nothing that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Justification(String);

/// Why a person did something: cleaned and bounded like a justification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

impl Justification {
    /// Cleans the text.
    ///
    /// # Errors
    /// It has more than [`MAX_JUSTIFICATION_CHARS`] characters.
    pub fn new(text: &str) -> Result<Self, TextTooLong> {
        clean_bounded(text, MAX_JUSTIFICATION_CHARS).map(Self)
    }

    /// The cleaned text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reason {
    /// Cleans the text.
    ///
    /// # Errors
    /// It has more than [`MAX_REASON_CHARS`] characters.
    pub fn new(text: &str) -> Result<Self, TextTooLong> {
        clean_bounded(text, MAX_REASON_CHARS).map(Self)
    }

    /// The cleaned text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = TextTooLong;

            fn try_from(text: String) -> Result<Self, TextTooLong> {
                Self::new(&text)
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

text_conversions!(Justification);
text_conversions!(Reason);

/// Cleans text and cuts it to `limit` characters, for our own messages that quote somebody.
pub(crate) fn bounded(text: &str, limit: usize) -> String {
    let cleaned = clean(text);
    if cleaned.chars().count() <= limit {
        return cleaned;
    }
    let mut cut: String = cleaned.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

fn clean_bounded(text: &str, limit: usize) -> Result<String, TextTooLong> {
    if text.chars().count() > limit { Err(TextTooLong { limit }) } else { Ok(clean(text)) }
}

/// Drops terminal escape sequences, control characters, bidirectional controls, invisible characters and tags; line
/// breaks and tabs become one space.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(character) = chars.next() {
        match character {
            '\u{1b}' | '\u{9b}' => skip_escape(character, &mut chars),
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            other if is_hidden(other) => {}
            other => out.push(other),
        }
    }
    out.trim().to_owned()
}

/// Skips the rest of a terminal escape sequence (ECMA-48): CSI up to its final byte, the string kinds up to their end.
fn skip_escape(first: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let kind = if first == '\u{9b}' { Some('[') } else { chars.next() };
    match kind {
        Some('[') => {
            while let Some(next) = chars.peek().copied() {
                if !(' '..='~').contains(&next) {
                    break;
                }
                chars.next();
                if ('@'..='~').contains(&next) {
                    break;
                }
            }
        }
        Some(']' | 'P' | '^' | '_' | 'X') => {
            while let Some(next) = chars.next() {
                if next == '\u{7}' || next == '\u{9c}' {
                    break;
                }
                if next == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some(_) | None => {}
    }
}

pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_justification_loses_what_could_mislead_an_approver() {
        let cleaned = |text: &str| Justification::new(text).unwrap().as_str().to_owned();
        assert_eq!(cleaned("renew\u{1b}[31m red\u{1b}[0m"), "renew red");
        assert_eq!(cleaned("title\u{1b}]0;approve me\u{7}!"), "title!");
        assert_eq!(cleaned("a\u{202e}txt.exe\u{202c}b"), "atxt.exeb");
        assert_eq!(cleaned("in\u{200b}visi\u{feff}ble\u{e0041}"), "invisible");
        assert_eq!(cleaned("two\r\n\r\nlines\tand\u{2028}more"), "two lines and more");
        assert_eq!(cleaned("bell\u{7}nul\0del\u{7f}c1\u{85}"), "bellnuldelc1");
        assert_eq!(cleaned("\u{9b}2Jclear"), "clear");
    }

    #[test]
    fn one_character_more_than_the_limit_is_refused() {
        let longest = "ä".repeat(MAX_JUSTIFICATION_CHARS);
        assert_eq!(Justification::new(&longest).unwrap().as_str(), longest);
        assert!(Justification::new(&format!("{longest}a")).is_err());
        assert!(Reason::new(&"a".repeat(MAX_REASON_CHARS)).is_ok());
        assert!(Reason::new(&"a".repeat(MAX_REASON_CHARS + 1)).is_err());
    }

    #[test]
    fn our_own_messages_are_cut_rather_than_refused() {
        assert_eq!(bounded("abcdef", 6), "abcdef");
        assert_eq!(bounded("abcdefg", 6), "abcde…");
    }

    proptest! {
        #[test]
        fn cleaned_text_has_nothing_left_to_clean(text in any::<String>()) {
            let once = clean(&text);
            prop_assert!(!once.chars().any(is_hidden));
            prop_assert_eq!(clean(&once), once);
        }
    }
}
