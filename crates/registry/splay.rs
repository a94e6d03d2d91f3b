use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// How far a change that concerns every open stream is spread, as people write it: `0s`, `250ms`, `5s`. At most
/// [`Splay::MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Splay(Duration);

/// Why a text is not a splay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplayError {
    /// Not a number with a unit.
    #[error("is not a duration such as \"0s\", \"250ms\" or \"5s\"")]
    Malformed,
    /// Longer than [`Splay::MAX`].
    #[error("is longer than {} seconds", Splay::MAX.as_secs())]
    TooLong,
}

impl Splay {
    /// A verifier that hears of a new authority later than this would refuse what is signed by it.
    pub const MAX: Duration = Duration::from_secs(10);

    /// The splay as the rest of the code has it.
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Splay {
    type Err = SplayError;

    fn from_str(text: &str) -> Result<Self, SplayError> {
        // Only the friendly form: it starts with a digit, so no sign and no ISO 8601.
        if text.len() > 64 || !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(SplayError::Malformed);
        }
        let splay = text
            .parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
            .map_err(|_refused| SplayError::Malformed)?;
        let splay = Duration::try_from(splay).map_err(|_negative| SplayError::Malformed)?;
        if splay > Self::MAX { Err(SplayError::TooLong) } else { Ok(Self(splay)) }
    }
}

impl fmt::Display for Splay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_millis(), self.0.as_secs(), self.0.subsec_nanos()) {
            (_, seconds, 0) => write!(f, "{seconds}s"),
            (millis, _, _) => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splay_reads_as_people_write_it_up_to_its_limit() {
        for (text, millis) in [("0s", 0), ("250ms", 250), ("5s", 5_000), ("10s", 10_000)] {
            let splay: Splay = text.parse().unwrap();
            assert_eq!((splay.0.as_millis(), splay.to_string()), (millis, text.to_owned()));
        }
        for text in ["10s 1ms", "11s", "1h"] {
            assert_eq!(text.parse::<Splay>(), Err(SplayError::TooLong), "{text}");
        }
        for text in ["", "5", "-5s", "PT5S", "5s ago", "soon", "1mo"] {
            assert_eq!(text.parse::<Splay>(), Err(SplayError::Malformed), "{text}");
        }
    }
}
