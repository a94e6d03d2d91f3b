//! When work may be done: recurring change windows, blackout calendars, and the two together.
//!
//! Rules are a bounded part of RFC 5545: each says of one local day whether it is on that day, without knowing the days before
//! it, so nothing is ever expanded from a beginning and every search has an end. Absent: the clock, and who is held to it.

mod calendar;
mod local;
mod recurrence;
mod schedule;
mod set;

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use self::calendar::{Calendar, CalendarName, CalendarNameError, MAX_CALENDAR_BYTES};
pub use self::local::{Zone, ZoneError};
pub use self::recurrence::{Recurrence, RecurrenceError};
pub use self::schedule::{Schedule, Standing};
pub use self::set::CalendarSet;
use crate::lifecycle::plus;
use crate::playbook::duration;

/// The shortest and the longest that one occurrence may last.
const MIN_LENGTH: Duration = Duration::from_secs(60);
const MAX_LENGTH: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How far ahead an occurrence is looked for: a 29th of February is never further away.
const HORIZON_DAYS: u32 = 8 * 366 + 1;

/// A recurring interval of time: a rule, the time zone that it is read in, and how long each occurrence lasts.
///
/// ```toml
/// { rrule = "FREQ=WEEKLY;BYDAY=TU,TH;BYHOUR=9,10,11", tz = "Europe/Berlin", duration = "1h" }
/// ```
///
/// `from`, a local date, is where the rule begins; a rule with an `INTERVAL` counts from there and needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WindowDocument", into = "WindowDocument")]
pub struct Window {
    recurrence: Recurrence,
    zone: Zone,
    length: Duration,
    from: Option<Date>,
}

/// A window as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowDocument {
    rrule: String,
    tz: String,
    duration: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

/// The text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The rule is none, or none that is read here.
    #[error("`rrule`: {0}")]
    Rule(RecurrenceError),
    /// There is no such time zone.
    #[error("`tz`: {0}")]
    Zone(ZoneError),
    /// The length is none.
    #[error("`duration`: {0}")]
    Length(&'static str),
    /// The length is out of bounds.
    #[error("`duration` is one minute to seven days")]
    OutOfBounds,
    /// The beginning is no date.
    #[error("`from` is a date, such as `2027-01-04`")]
    From,
    /// The rule skips, and nothing says what it counts from.
    #[error("`from` is missing: a rule with an INTERVAL counts from a date")]
    NothingToCountFrom,
    /// No day fits the rule.
    #[error("the rule never comes true")]
    Never,
}

/// An interval of time, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
}

/// What becomes of an occurrence where the clock is put back and an hour comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// It begins with the first passage and lasts for its length, as RFC 5545 has it: what permits is no longer.
    First,
    /// It covers both passages: what forbids is no shorter.
    Both,
}

impl Window {
    /// A window of a rule.
    ///
    /// # Errors
    /// The length is out of bounds, the rule has nothing to count from, or never comes true.
    pub fn new(
        recurrence: Recurrence,
        zone: Zone,
        length: Duration,
        from: Option<Date>,
    ) -> Result<Self, WindowError> {
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
            return Err(WindowError::OutOfBounds);
        }
        if recurrence.skips() && from.is_none() {
            return Err(WindowError::NothingToCountFrom);
        }
        let window = Self { recurrence, zone, length, from };
        if window.comes_true() { Ok(window) } else { Err(WindowError::Never) }
    }

    /// The rule as it is written.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.recurrence.as_str()
    }

    /// The name of the time zone that it is read in.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.as_str()
    }

    /// How long each occurrence lasts.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// Whether each occurrence of the other is within one of these: the same rule, for as long or longer.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let Self { recurrence, zone, length, from } = other;
        self.recurrence == *recurrence
            && self.zone == *zone
            && self.from == *from
            && self.length >= *length
    }

    /// When the occurrences that hold `at` end; the last of them.
    pub(crate) fn end_if_open(&self, at: Timestamp, repeated: Repeated) -> Option<Timestamp> {
        // A day more, for what the clock of a zone may be put forward or back.
        let days = 2 + self.length.as_secs().div_ceil(24 * 60 * 60);
        let mut day = self.zone.day_of(at).tomorrow().ok()?;
        let mut end = None;
        for _day in 0..=days {
            for Interval { end: ends, .. } in
                self.on(day, repeated).filter(|one| one.start <= at && at < one.end)
            {
                end = end.max(Some(ends));
            }
            let Ok(before) = day.yesterday() else { break };
            day = before;
        }
        end
    }

    /// The first beginning after `after` and before `before`.
    pub(crate) fn next_start(
        &self,
        after: Timestamp,
        before: Timestamp,
        repeated: Repeated,
    ) -> Option<Timestamp> {
        let last = self.zone.day_of(before).tomorrow().ok()?;
        let mut day = self.zone.day_of(after).yesterday().ok()?;
        for _day in 0..HORIZON_DAYS + 2 {
            if day > last {
                break;
            }
            let starts = self.on(day, repeated).map(|one| one.start);
            let next = starts.filter(|start| *start > after && *start < before).min();
            if next.is_some() {
                return next;
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// The occurrences that begin on a local day.
    fn on(&self, day: Date, repeated: Repeated) -> impl Iterator<Item = Interval> + '_ {
        let times = if self.is_on(day) { self.recurrence.times() } else { &[] };
        times.iter().filter_map(move |time| {
            let begins = day.to_datetime(*time);
            let start = self.zone.first(begins)?;
            let end = plus(start, self.length);
            let end = match repeated {
                Repeated::First => end,
                Repeated::Both => end.max(self.zone.last(begins.checked_add(self.length).ok()?)?),
            };
            Some(Interval { start, end })
        })
    }

    fn is_on(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.recurrence.is_on(day, self.from)
    }

    /// Whether any day fits, from where the rule begins; a rule that ended long ago did come true.
    fn comes_true(&self) -> bool {
        let mut day = self.from.unwrap_or_else(|| self.recurrence.early_enough());
        for _day in 0..HORIZON_DAYS {
            if self.is_on(day) {
                return true;
            }
            let Ok(next) = day.tomorrow() else { return false };
            day = next;
        }
        false
    }
}

impl TryFrom<WindowDocument> for Window {
    type Error = WindowError;

    fn try_from(document: WindowDocument) -> Result<Self, WindowError> {
        let WindowDocument { rrule, tz, duration: length, from } = document;
        let recurrence = rrule.parse().map_err(WindowError::Rule)?;
        let zone = tz.parse().map_err(WindowError::Zone)?;
        let length = duration(&length).map_err(WindowError::Length)?;
        let from = from.map(|from| local::date(&from).ok_or(WindowError::From)).transpose()?;
        Self::new(recurrence, zone, length, from)
    }
}

impl From<Window> for WindowDocument {
    fn from(window: Window) -> Self {
        Self {
            rrule: window.recurrence.as_str().to_owned(),
            tz: window.zone.as_str().to_owned(),
            duration: format!("{}s", window.length.as_secs()),
            from: window.from.map(|from| from.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
