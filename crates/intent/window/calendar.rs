//! A blackout calendar of a trust domain: when nothing is done that names it (`calendars/<name>.toml`).
//!
//! A calendar stays in force when its review is overdue: what forbids does not lapse by silence.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;

use super::local::{Zone, date, local_time};
use super::{Interval, Repeated, Window, WindowDocument};
use crate::lifecycle::plus;
use crate::playbook::lines::{Lines, line_at};
use crate::playbook::{PlaybookError, today};
use crate::short_name::short_name;

/// The largest calendar file, in bytes.
pub const MAX_CALENDAR_BYTES: usize = 64 * 1024;
/// How many fixed intervals and how many rules one calendar may have.
const MAX_FIXED: usize = 256;
const MAX_RECURRING: usize = 32;
/// The longest fixed interval: what lasts longer is no blackout but a playbook that is disabled.
const MAX_FIXED_LENGTH: Duration = Duration::from_secs(400 * 24 * 60 * 60);
const MAX_TEXT: usize = 200;

short_name! {
    /// A calendar's name: 1 to 63 of `a-z 0-9 -`.
    CalendarName up to 63;
    /// The text is not the name of a calendar.
    CalendarNameError "a calendar's name has 1 to 63 of the characters `a-z`, `0-9` and `-`"
}

/// A calendar that passed every check.
///
/// ```toml
/// apiVersion = "marque/v1"
/// kind = "Calendar"
/// name = "change-freeze"               # the file is `calendars/change-freeze.toml`
/// owner = "group:change-board"
/// reason = "Nothing changes at the end of the year"
/// review_by = "2027-11-01"
/// emergency = false                    # whether emergency playbooks are let through; may be absent: no
///
/// [[fixed]]                            # local times of `tz`; `until` is not part of it
/// from = "2026-12-18T18:00"
/// until = "2027-01-04T06:00"
/// tz = "Europe/Berlin"
/// reason = "Year end"                  # may be absent: the calendar's
///
/// [[recurring]]                        # as `time.windows` of a playbook
/// rrule = "FREQ=WEEKLY;BYDAY=FR;BYHOUR=18"
/// tz = "Europe/Berlin"
/// duration = "60h"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    name: CalendarName,
    owner: String,
    reason: String,
    review_by: Date,
    emergency: bool,
    fixed: Vec<Fixed>,
    recurring: Vec<Recurring>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fixed {
    interval: Interval,
    reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Recurring {
    window: Window,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    name: String,
    owner: String,
    reason: String,
    review_by: String,
    #[serde(default)]
    emergency: bool,
    #[serde(default)]
    fixed: Vec<FixedDocument>,
    #[serde(default)]
    recurring: Vec<RecurringDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FixedDocument {
    from: String,
    until: String,
    tz: String,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecurringDocument {
    rrule: String,
    tz: String,
    duration: String,
    from: Option<String>,
    reason: Option<String>,
}

impl Calendar {
    /// Reads one calendar.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one thing.
    pub fn parse(text: &str) -> Result<Self, Vec<PlaybookError>> {
        if text.len() > MAX_CALENDAR_BYTES {
            let message = format!("has more than {MAX_CALENDAR_BYTES} bytes");
            return Err(vec![PlaybookError::new(None, message)]);
        }
        let syntax = |error: toml::de::Error| {
            let line = error.span().map(|span| line_at(text, span.start));
            vec![PlaybookError::new(line, error.message().to_owned())]
        };
        let lines = Lines::parse(text).map_err(syntax)?;
        let document: Document = toml::from_str(text).map_err(syntax)?;
        let mut reading = Reading { lines, errors: Vec::new() };
        match reading.calendar(document) {
            Some(calendar) if reading.errors.is_empty() => Ok(calendar),
            _ => Err(reading.errors),
        }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &CalendarName {
        &self.name
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Why it is there.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The day on which its review is due.
    #[must_use]
    pub const fn review_by(&self) -> Date {
        self.review_by
    }

    /// Whether its review is overdue.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        today(now) > self.review_by
    }

    /// Whether it lets emergency playbooks through.
    #[must_use]
    pub const fn lets_emergencies_through(&self) -> bool {
        self.emergency
    }

    /// When the intervals that hold `at` end; the last of them.
    pub(super) fn end_if_held(&self, at: Timestamp) -> Option<Timestamp> {
        self.holding(at).map(|(end, _)| end).max()
    }

    /// Why nothing is done at `at`, if it is so: the interval's reason, else the calendar's.
    #[must_use]
    pub fn reason_at(&self, at: Timestamp) -> Option<&str> {
        let (_, reason) = self.holding(at).max_by_key(|(end, _)| *end)?;
        Some(reason.unwrap_or(&self.reason))
    }

    fn holding(&self, at: Timestamp) -> impl Iterator<Item = (Timestamp, Option<&str>)> {
        let fixed = self.fixed.iter().filter_map(move |fixed| {
            let Interval { start, end } = fixed.interval;
            (start <= at && at < end).then_some((end, fixed.reason.as_deref()))
        });
        let recurring = self.recurring.iter().filter_map(move |recurring| {
            let end = recurring.window.end_if_open(at, Repeated::Both)?;
            Some((end, recurring.reason.as_deref()))
        });
        fixed.chain(recurring)
    }

    /// When its next interval begins, after `after` and before `before`.
    pub(super) fn next_start(&self, after: Timestamp, before: Timestamp) -> Option<Timestamp> {
        let fixed = self.fixed.iter().map(|fixed| fixed.interval.start);
        let fixed = fixed.filter(|start| *start > after && *start < before);
        let recurring = self.recurring.iter();
        let next = |one: &Recurring| one.window.next_start(after, before, Repeated::Both);
        fixed.chain(recurring.filter_map(next)).min()
    }
}

/// A calendar being read.
struct Reading<'a> {
    lines: Lines<'a>,
    errors: Vec<PlaybookError>,
}

impl Reading<'_> {
    fn calendar(&mut self, document: Document) -> Option<Calendar> {
        self.require(document.api_version == "marque/v1", "apiVersion", "is `marque/v1`");
        self.require(document.kind == "Calendar", "kind", "is `Calendar`");
        for (path, text) in [("owner", &document.owner), ("reason", &document.reason)] {
            self.text(path, text);
        }
        let owner = "is written `kind:name`, such as `group:change-board`";
        self.require(document.owner.contains(':'), "owner", owner);
        let name = self.keep("name", document.name.parse::<CalendarName>());
        let review_by = date(&document.review_by).ok_or("is a date, such as `2027-11-01`");
        let review_by = self.keep("review_by", review_by);
        let (many, rules) = (document.fixed.len(), document.recurring.len());
        self.require(many + rules > 0, "name", "has no interval: add [[fixed]] or [[recurring]]");
        self.require(many <= MAX_FIXED, "fixed", format!("has more than {MAX_FIXED} intervals"));
        let message = format!("has more than {MAX_RECURRING} rules");
        self.require(rules <= MAX_RECURRING, "recurring", message);
        if !self.errors.is_empty() {
            return None;
        }
        let fixed = document.fixed.into_iter().enumerate();
        let fixed = fixed.filter_map(|(at, one)| self.fixed(at, one)).collect();
        let recurring = document.recurring.into_iter().enumerate();
        let recurring = recurring.filter_map(|(at, one)| self.recurring(at, one)).collect();
        let Document { owner, reason, emergency, .. } = document;
        Some(Calendar {
            name: name?,
            owner,
            reason,
            review_by: review_by?,
            emergency,
            fixed,
            recurring,
        })
    }

    fn fixed(&mut self, at: usize, document: FixedDocument) -> Option<Fixed> {
        let path = format!("fixed.{at}");
        let FixedDocument { from, until, tz, reason } = document;
        self.reason(&path, reason.as_deref());
        let zone: Zone = self.keep(&format!("{path}.tz"), tz.parse())?;
        let shape = "is a local time, such as `2026-12-18T18:00`";
        let start = local_time(&from).and_then(|from| zone.first(from)).ok_or(shape);
        let end = local_time(&until).and_then(|until| zone.last(until)).ok_or(shape);
        let start = self.keep(&format!("{path}.from"), start);
        let end = self.keep(&format!("{path}.until"), end);
        let (start, end) = (start?, end?);
        self.require(start < end, &path, "ends before it begins");
        let message = format!("is longer than {} days", MAX_FIXED_LENGTH.as_secs() / 86_400);
        self.require(end <= plus(start, MAX_FIXED_LENGTH), &path, message);
        Some(Fixed { interval: Interval { start, end }, reason })
    }

    fn recurring(&mut self, at: usize, document: RecurringDocument) -> Option<Recurring> {
        let path = format!("recurring.{at}");
        let RecurringDocument { rrule, tz, duration, from, reason } = document;
        self.reason(&path, reason.as_deref());
        let window = WindowDocument { rrule, tz, duration, from };
        let window = self.keep(&path, Window::try_from(window))?;
        Some(Recurring { window, reason })
    }

    fn reason(&mut self, path: &str, reason: Option<&str>) {
        if let Some(reason) = reason {
            self.text(&format!("{path}.reason"), reason);
        }
    }

    fn text(&mut self, path: &str, text: &str) {
        let fits = !text.trim().is_empty()
            && text.chars().count() <= MAX_TEXT
            && !text.chars().any(char::is_control);
        self.require(fits, path, format!("has 1 to {MAX_TEXT} characters on one line"));
    }

    fn require(&mut self, holds: bool, path: &str, message: impl fmt::Display) {
        if !holds {
            let message = format!("`{path}`: {message}");
            self.errors.push(PlaybookError::new(self.lines.of(path), message));
        }
    }

    fn keep<T, E: fmt::Display>(&mut self, path: &str, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.require(false, path, error);
                None
            }
        }
    }
}
