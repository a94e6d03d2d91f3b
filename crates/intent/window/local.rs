//! Local time: zones by their names, and which instant a local time is where the clock is put forward or back.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// The longest name of a zone.
const MAX_NAME: usize = 64;

/// A time zone of the IANA database, by its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// There is no such time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no time zone of the IANA database, such as `Europe/Berlin` or `UTC`")]
pub struct ZoneError;

impl Zone {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The local day of an instant.
    pub(super) fn day_of(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// The instant of a local time: the first where it comes twice, and where it never comes the time by the clock as it was
    /// before (RFC 5545 section 3.3.5).
    pub(super) fn first(&self, local: DateTime) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(local).compatible().ok()
    }

    /// The last instant that has this local time, or would have it.
    pub(super) fn last(&self, local: DateTime) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(local).later().ok()
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return Err(ZoneError);
        }
        let zone = TimeZone::get(name).map_err(|_source| ZoneError)?;
        // Not another spelling, and nothing that depends on the host.
        if zone.iana_name() == Some(name) || (name == "UTC" && zone == TimeZone::UTC) {
            Ok(Self { name: name.to_owned(), zone })
        } else {
            Err(ZoneError)
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A date as `2027-01-04` and in no other spelling.
pub(super) fn date(text: &str) -> Option<Date> {
    text.parse().ok().filter(|date: &Date| date.to_string() == text)
}

/// A local time as `2027-01-04T18:00` and in no other spelling.
pub(super) fn local_time(text: &str) -> Option<DateTime> {
    let (day, time) = text.split_once('T')?;
    let (hour, minute) = time.split_once(':')?;
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i8>().ok().filter(|_number| plain)
    };
    let time = jiff::civil::Time::new(number(hour)?, number(minute)?, 0, 0).ok()?;
    Some(date(day)?.to_datetime(time))
}
