//! A recurrence rule: the part of RFC 5545 section 3.3.10 that says of one day whether it is on it.
//!
//! Absent, and refused: `COUNT`, `BYSETPOS`, `BYWEEKNO`, `BYYEARDAY`, `BYSECOND`, another week than from Monday, and rules by
//! the hour or less, which a list of hours says as well.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};

/// The longest rule, in bytes.
const MAX_RULE_BYTES: usize = 256;
/// How many times of a day a rule may have.
const MAX_TIMES: usize = 24;
/// The largest `INTERVAL`; by years, the largest is [`MAX_YEARS`].
const MAX_INTERVAL: u16 = 99;
const MAX_YEARS: u16 = 4;

/// A recurrence rule such as `FREQ=WEEKLY;BYDAY=TU,TH;BYHOUR=9,10,11`.
///
/// Parts: `FREQ` (`DAILY`, `WEEKLY`, `MONTHLY`, `YEARLY`), `BYHOUR` (must be there), `BYMINUTE` (else 0), `BYDAY` (with a
/// number, such as `2TU` or `-1FR`, by the month), `BYMONTHDAY`, `BYMONTH`, `INTERVAL`, `UNTIL` (a local date, the last one),
/// `WKST=MO`. Nothing is taken from a beginning: a weekly rule names its days, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    text: String,
    frequency: Frequency,
    interval: u16,
    until: Option<Date>,
    months: BTreeSet<i8>,
    month_days: BTreeSet<i8>,
    days: Vec<Day>,
    times: Vec<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A day of the week: each of the period, or the one of that number in the month, from its end where that is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Day {
    number: Option<i8>,
    weekday: Weekday,
}

/// The text is no rule that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceError {
    /// Longer than 256 bytes.
    #[error("is longer than {MAX_RULE_BYTES} bytes")]
    TooLong,
    /// Something that is not `NAME=VALUE`.
    #[error("is written `FREQ=…;NAME=VALUE;…`, in capitals and without blanks")]
    Syntax,
    /// A part comes twice.
    #[error("a part comes twice")]
    Twice,
    /// A part that RFC 5545 has and that is not read here, or that it does not have.
    #[error("`{0}` is not supported")]
    Unsupported(&'static str),
    /// A part with a name that is not known.
    #[error("has a part with an unknown name")]
    UnknownPart,
    /// A value that the part cannot have.
    #[error("`{0}` has a value that it cannot have")]
    Value(&'static str),
    /// A part that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// More times of a day than the limit.
    #[error("has more than {MAX_TIMES} times of a day")]
    TooManyTimes,
}

impl Recurrence {
    /// The rule as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it leaves out periods, and so has to count from somewhere.
    pub(super) const fn skips(&self) -> bool {
        self.interval > 1
    }

    /// The times of a day, in order.
    pub(super) fn times(&self) -> &[Time] {
        &self.times
    }

    /// A day from which on a rule without a beginning comes true within the horizon, if it ever does.
    pub(super) fn early_enough(&self) -> Date {
        let leap_year = Date::constant(2000, 1, 1);
        let before = self.until.and_then(|until| Date::new(until.year() - 8, 1, 1).ok());
        before.map_or(leap_year, |before| before.min(leap_year))
    }

    /// Whether this day is one of the rule's; periods are counted from `from`.
    pub(super) fn is_on(&self, day: Date, from: Option<Date>) -> bool {
        self.until.is_none_or(|until| day <= until)
            && (self.months.is_empty() || self.months.contains(&day.month()))
            && (self.month_days.is_empty() || self.is_on_month_day(day))
            && (self.days.is_empty() || self.days.iter().any(|one| one.is(day)))
            && self.is_in_period(day, from)
    }

    fn is_on_month_day(&self, day: Date) -> bool {
        let from_the_end = day.day() - day.days_in_month() - 1;
        self.month_days.contains(&day.day()) || self.month_days.contains(&from_the_end)
    }

    fn is_in_period(&self, day: Date, from: Option<Date>) -> bool {
        let Some(from) = from.filter(|_from| self.skips()) else { return true };
        let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
        let periods = match self.frequency {
            Frequency::Daily => days(day) - days(from),
            // The first day of the count was a Monday's: see `days`.
            Frequency::Weekly => days(day).div_euclid(7) - days(from).div_euclid(7),
            Frequency::Monthly => months(day) - months(from),
            Frequency::Yearly => i64::from(day.year()) - i64::from(from.year()),
        };
        periods.rem_euclid(i64::from(self.interval)) == 0
    }
}

/// Days since a Monday.
fn days(date: Date) -> i64 {
    const MONDAY: Date = Date::constant(2001, 1, 1);
    date.duration_since(MONDAY).as_hours() / 24
}

impl Day {
    fn is(self, day: Date) -> bool {
        self.weekday == day.weekday()
            && self.number.is_none_or(|number| {
                let from_the_start = (day.day() - 1) / 7 + 1;
                let from_the_end = -((day.days_in_month() - day.day()) / 7 + 1);
                number == from_the_start || number == from_the_end
            })
    }
}

/// The parts as they are written.
#[derive(Default)]
struct Parts<'a> {
    frequency: Option<&'a str>,
    interval: Option<&'a str>,
    until: Option<&'a str>,
    months: Option<&'a str>,
    month_days: Option<&'a str>,
    days: Option<&'a str>,
    hours: Option<&'a str>,
    minutes: Option<&'a str>,
    week_start: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, RecurrenceError> {
        let mut parts = Self::default();
        for part in text.split(';') {
            let (name, value) = part.split_once('=').ok_or(RecurrenceError::Syntax)?;
            if value.is_empty() {
                return Err(RecurrenceError::Syntax);
            }
            let place = match name {
                "FREQ" => &mut parts.frequency,
                "INTERVAL" => &mut parts.interval,
                "UNTIL" => &mut parts.until,
                "BYMONTH" => &mut parts.months,
                "BYMONTHDAY" => &mut parts.month_days,
                "BYDAY" => &mut parts.days,
                "BYHOUR" => &mut parts.hours,
                "BYMINUTE" => &mut parts.minutes,
                "WKST" => &mut parts.week_start,
                "COUNT" => return Err(RecurrenceError::Unsupported("COUNT")),
                "BYSETPOS" => return Err(RecurrenceError::Unsupported("BYSETPOS")),
                "BYWEEKNO" => return Err(RecurrenceError::Unsupported("BYWEEKNO")),
                "BYYEARDAY" => return Err(RecurrenceError::Unsupported("BYYEARDAY")),
                "BYSECOND" => return Err(RecurrenceError::Unsupported("BYSECOND")),
                _ => return Err(RecurrenceError::UnknownPart),
            };
            if place.replace(value).is_some() {
                return Err(RecurrenceError::Twice);
            }
        }
        Ok(parts)
    }
}

impl FromStr for Recurrence {
    type Err = RecurrenceError;

    fn from_str(text: &str) -> Result<Self, RecurrenceError> {
        if text.len() > MAX_RULE_BYTES {
            return Err(RecurrenceError::TooLong);
        }
        let parts = Parts::parse(text)?;
        let frequency = parts.frequency.ok_or(RecurrenceError::Missing("FREQ"))?.parse()?;
        if parts.week_start.is_some_and(|start| start != "MO") {
            return Err(RecurrenceError::Unsupported("WKST"));
        }
        let most = if frequency == Frequency::Yearly { MAX_YEARS } else { MAX_INTERVAL };
        let interval = match parts.interval {
            None => 1,
            Some(text) => {
                let number = number("INTERVAL", text)?;
                let number = u16::try_from(number).ok().filter(|n| (1..=most).contains(n));
                number.ok_or(RecurrenceError::Value("INTERVAL"))?
            }
        };
        let rule = Self {
            text: text.to_owned(),
            frequency,
            interval,
            until: parts.until.map(until).transpose()?,
            months: numbers("BYMONTH", parts.months, 1, 12, false)?,
            month_days: numbers("BYMONTHDAY", parts.month_days, 1, 31, true)?,
            days: parts.days.map(|days| weekdays(days, frequency)).transpose()?.unwrap_or_default(),
            times: times(parts.hours, parts.minutes)?,
        };
        rule.says_its_days()?;
        Ok(rule)
    }
}

impl Recurrence {
    /// Nothing is taken from a beginning, so each rule has to say on which days of its period it is.
    fn says_its_days(&self) -> Result<(), RecurrenceError> {
        let by_day = !self.days.is_empty();
        let by_month_day = !self.month_days.is_empty();
        match self.frequency {
            Frequency::Daily => Ok(()),
            // RFC 5545 section 3.3.10 forbids it.
            Frequency::Weekly if by_month_day => Err(RecurrenceError::Value("BYMONTHDAY")),
            Frequency::Weekly if !by_day => Err(RecurrenceError::Missing("BYDAY")),
            Frequency::Yearly if self.months.is_empty() => Err(RecurrenceError::Missing("BYMONTH")),
            Frequency::Monthly | Frequency::Yearly if !by_day && !by_month_day => {
                Err(RecurrenceError::Missing("BYMONTHDAY"))
            }
            Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => Ok(()),
        }
    }
}

impl FromStr for Frequency {
    type Err = RecurrenceError;

    fn from_str(text: &str) -> Result<Self, RecurrenceError> {
        match text {
            "DAILY" => Ok(Self::Daily),
            "WEEKLY" => Ok(Self::Weekly),
            "MONTHLY" => Ok(Self::Monthly),
            "YEARLY" => Ok(Self::Yearly),
            "HOURLY" => Err(RecurrenceError::Unsupported("HOURLY")),
            "MINUTELY" => Err(RecurrenceError::Unsupported("MINUTELY")),
            "SECONDLY" => Err(RecurrenceError::Unsupported("SECONDLY")),
            _ => Err(RecurrenceError::Value("FREQ")),
        }
    }
}

impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One to three digits.
fn number(part: &'static str, text: &str) -> Result<i8, RecurrenceError> {
    let plain = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_number| plain).ok_or(RecurrenceError::Value(part))
}

/// A number, from the end where there is a minus and that may be.
fn signed(part: &'static str, text: &str, may_be: bool) -> Result<i8, RecurrenceError> {
    match text.strip_prefix('-') {
        Some(digits) if may_be => Ok(-number(part, digits)?),
        _ => number(part, text),
    }
}

fn numbers(
    part: &'static str,
    list: Option<&str>,
    least: i8,
    most: i8,
    from_the_end: bool,
) -> Result<BTreeSet<i8>, RecurrenceError> {
    let mut numbers = BTreeSet::new();
    for text in list.into_iter().flat_map(|list| list.split(',')) {
        let number = signed(part, text, from_the_end)?;
        if !(least..=most).contains(&number.abs()) || !numbers.insert(number) {
            return Err(RecurrenceError::Value(part));
        }
    }
    Ok(numbers)
}

fn weekdays(list: &str, frequency: Frequency) -> Result<Vec<Day>, RecurrenceError> {
    const REFUSED: RecurrenceError = RecurrenceError::Value("BYDAY");
    let mut days = Vec::new();
    for text in list.split(',') {
        let at = text.len().checked_sub(2).ok_or(REFUSED)?;
        let (number, name) = text.split_at_checked(at).ok_or(REFUSED)?;
        let weekday = match name {
            "MO" => Weekday::Monday,
            "TU" => Weekday::Tuesday,
            "WE" => Weekday::Wednesday,
            "TH" => Weekday::Thursday,
            "FR" => Weekday::Friday,
            "SA" => Weekday::Saturday,
            "SU" => Weekday::Sunday,
            _ => return Err(REFUSED),
        };
        let number = match number {
            "" => None,
            // By the year, RFC 5545 counts in the year or the month, as other parts have it.
            _ if frequency != Frequency::Monthly => return Err(REFUSED),
            digits => Some(signed("BYDAY", digits, true)?),
        };
        let day = Day { number, weekday };
        if number.is_some_and(|number| !(1..=5).contains(&number.abs())) || days.contains(&day) {
            return Err(REFUSED);
        }
        days.push(day);
    }
    Ok(days)
}

fn times(hours: Option<&str>, minutes: Option<&str>) -> Result<Vec<Time>, RecurrenceError> {
    let hours = hours.ok_or(RecurrenceError::Missing("BYHOUR"))?;
    let hours = numbers("BYHOUR", Some(hours), 0, 23, false)?;
    let minutes = numbers("BYMINUTE", Some(minutes.unwrap_or("0")), 0, 59, false)?;
    if hours.len() * minutes.len() > MAX_TIMES {
        return Err(RecurrenceError::TooManyTimes);
    }
    let times = hours.iter().flat_map(|hour| minutes.iter().map(|minute| (*hour, *minute)));
    let time = |(hour, minute)| {
        Time::new(hour, minute, 0, 0).map_err(|_source| RecurrenceError::Value("BYHOUR"))
    };
    times.map(time).collect()
}

/// `UNTIL=20270104`: the last local day.
fn until(text: &str) -> Result<Date, RecurrenceError> {
    const REFUSED: RecurrenceError = RecurrenceError::Value("UNTIL");
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(REFUSED);
    }
    let part = |from: usize, to: usize| text.get(from..to).ok_or(REFUSED);
    let year: i16 = part(0, 4)?.parse().map_err(|_source| REFUSED)?;
    let (month, day) = (number("UNTIL", part(4, 6)?)?, number("UNTIL", part(6, 8)?)?);
    if year < 1970 {
        return Err(REFUSED);
    }
    Date::new(year, month, day).map_err(|_source| REFUSED)
}
