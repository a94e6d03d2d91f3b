//! Regular expressions that match in linear time and only whole values.

use std::fmt;

use regex_syntax::hir::Look;

/// The most memory that one compiled pattern may take, in bytes.
pub(super) const PATTERN_SIZE_LIMIT: usize = 256 * 1024;
const MAX_PATTERN_LEN: usize = 512;

/// A compiled pattern that is anchored at both ends.
#[derive(Clone)]
pub(crate) struct LinearPattern(regex::Regex);

impl LinearPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        check_anchored(text)?;
        regex::RegexBuilder::new(text)
            .size_limit(PATTERN_SIZE_LIMIT)
            .build()
            .map(Self)
            .map_err(|error| format!("is not a usable pattern: {}", first_line(&error.to_string())))
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for LinearPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinearPattern({})", self.as_str())
    }
}

/// Refuses a pattern that could match a part of a value: each alternative begins with `^` and ends with `$`.
pub(super) fn check_anchored(text: &str) -> Result<(), String> {
    if text.len() > MAX_PATTERN_LEN {
        return Err(format!("has more than {MAX_PATTERN_LEN} bytes"));
    }
    let hir = regex_syntax::parse(text).map_err(|error| {
        let problem = first_line(&error.to_string());
        format!("is not a linear-time pattern (no look-around, no back-references): {problem}")
    })?;
    let properties = hir.properties();
    if properties.look_set_prefix().contains(Look::Start)
        && properties.look_set_suffix().contains(Look::End)
    {
        Ok(())
    } else {
        Err("must be anchored by `^` and `$`, or it would match a part of a value".to_owned())
    }
}

/// The last line of a message of the regex crates says what is wrong; the others draw the pattern.
fn first_line(message: &str) -> String {
    message.lines().last().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_values_only() {
        for loose in ["CHG-[0-9]+", "^a", "a$", "^a|b$", "(?m)^a$", "^a$|b", ""] {
            assert!(LinearPattern::parse(loose).is_err(), "{loose}");
        }
        for tight in ["^CHG-[0-9]{3,8}$", "^(a|b)$", "^a$|^b$", "^(?:x)$"] {
            assert!(LinearPattern::parse(tight).is_ok(), "{tight}");
        }
        assert!(!LinearPattern::parse("^a$").unwrap().is_match("a\n"));
    }

    #[test]
    fn a_pattern_that_needs_backtracking_is_refused() {
        for pattern in ["^(?=a)a$", r"^(a)\1$", "^(?<!a)b$"] {
            let error = LinearPattern::parse(pattern).unwrap_err();
            assert!(error.contains("linear-time"), "{error}");
        }
    }

    #[test]
    fn a_pattern_has_its_limits() {
        assert!(LinearPattern::parse(&format!("^{}$", "a".repeat(MAX_PATTERN_LEN - 2))).is_ok());
        assert!(LinearPattern::parse(&format!("^{}$", "a".repeat(MAX_PATTERN_LEN - 1))).is_err());
        assert!(LinearPattern::parse("^((a{100}){100}){100}$").is_err());
    }
}
