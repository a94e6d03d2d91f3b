use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Serialize};

/// A lifetime as people write it: `30s`, `5m`, `1h 30m`, `30d` (a day is 24 hours). Whole
/// seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lifetime(Duration);

/// Why a text is not a lifetime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// Not a number with a unit.
    #[error("is not a lifetime such as \"30s\", \"5m\" or \"1h\"")]
    Malformed,
    /// Zero, negative, or not whole seconds.
    #[error("must be at least one second, in whole seconds")]
    NotWholeSeconds,
}

impl Lifetime {
    /// The lifetime as the rest of the code has it.
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<Duration> for Lifetime {
    type Error = LifetimeError;

    fn try_from(duration: Duration) -> Result<Self, LifetimeError> {
        if duration.is_zero() || duration.subsec_nanos() != 0 {
            return Err(LifetimeError::NotWholeSeconds);
        }
        Ok(Self(duration))
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        // Only the friendly form: it starts with a digit, so no sign and no ISO 8601.
        if text.len() > 64 || !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(LifetimeError::Malformed);
        }
        let duration = text
            .parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
            .map_err(|_refused| LifetimeError::Malformed)?;
        let duration =
            Duration::try_from(duration).map_err(|_negative| LifetimeError::NotWholeSeconds)?;
        Self::try_from(duration)
    }
}

impl TryFrom<String> for Lifetime {
    type Error = LifetimeError;

    fn try_from(text: String) -> Result<Self, LifetimeError> {
        text.parse()
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> Self {
        lifetime.to_string()
    }
}

/// In the largest unit that fits without remainder: `30d`, `1h`, `90s`.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (unit, name) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
            if seconds.is_multiple_of(unit) {
                return write!(f, "{}{name}", seconds / unit);
            }
        }
        write!(f, "{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> u64 {
        text.parse::<Lifetime>().unwrap().as_duration().as_secs()
    }

    #[test]
    fn lifetimes_read_as_people_write_them() {
        assert_eq!(seconds("1s"), 1);
        assert_eq!(seconds("5m"), 300);
        assert_eq!(seconds("1h"), 3_600);
        assert_eq!(seconds("1h 30m"), 5_400);
        assert_eq!(seconds("30d"), 30 * 86_400);
    }

    #[test]
    fn a_lifetime_is_written_as_it_can_be_read() {
        for text in ["1s", "90s", "5m", "1h", "36h", "30d"] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!(lifetime.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_lifetime_is_refused() {
        for text in ["", "5", "m", "-5m", "+5m", "PT5M", "1mo", "1y", "five minutes", " 5m"] {
            assert_eq!(text.parse::<Lifetime>().unwrap_err(), LifetimeError::Malformed, "{text}");
        }
        for text in ["0s", "500ms", "1s 1ms", "5m ago"] {
            let error = text.parse::<Lifetime>().unwrap_err();
            assert_eq!(error, LifetimeError::NotWholeSeconds, "{text}");
        }
    }
}
