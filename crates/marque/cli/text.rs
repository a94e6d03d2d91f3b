//! How instants, lifetimes and lists read.

use std::time::Duration;

use jiff::Timestamp;

/// An instant to the second, in UTC.
pub(super) fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// An instant, and how far away it is.
pub(super) fn moment_from(at: Option<Timestamp>, now: Timestamp) -> String {
    let Some(instant) = at else { return "-".to_owned() };
    let away = match Duration::try_from(instant.duration_since(now)) {
        Ok(ahead) => format!("in {}", length(ahead.as_secs())),
        Err(_) => format!("{} ago", length(now.duration_since(instant).unsigned_abs().as_secs())),
    };
    format!("{} ({away})", moment(at))
}

/// Seconds as `2d 3h`, `1h 5m`, `4m 10s` or `9s`.
pub(super) fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let parts = match (days, hours, minutes) {
        (0, 0, 0) => [(seconds, "s"), (0, "")],
        (0, 0, minutes) => [(minutes, "m"), (seconds % 60, "s")],
        (0, hours, minutes) => [(hours, "h"), (minutes, "m")],
        (days, hours, _) => [(days, "d"), (hours, "h")],
    };
    let [(first, unit), (second, small)] = parts;
    if second == 0 { format!("{first}{unit}") } else { format!("{first}{unit} {second}{small}") }
}

/// A lifetime in seconds, where there is one.
pub(super) fn lifetime(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), length)
}

/// Values one under the other, `-` for none.
pub(super) fn lines(values: &[String]) -> String {
    if values.is_empty() { "-".to_owned() } else { values.join("\n") }
}

/// A text, `-` when it is empty.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// The first digits of a digest, for people to compare at a glance.
pub(super) fn short_digest(digest: &str) -> String {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_reads_in_its_two_largest_units() {
        let read = [0, 9, 60, 250, 3_600, 3_905, 86_400, 180_000].map(length);
        assert_eq!(read, ["0s", "9s", "1m", "4m 10s", "1h", "1h 5m", "1d", "2d 2h"]);
    }

    #[test]
    fn an_instant_says_how_far_away_it_is() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let later = now + Duration::from_secs(90);
        assert_eq!(moment_from(Some(later), now), "2026-11-22 03:01:30 UTC (in 1m 30s)");
        assert_eq!(moment_from(Some(now), later), "2026-11-22 03:00:00 UTC (1m 30s ago)");
        assert_eq!(moment_from(None, now), "-");
    }
}
