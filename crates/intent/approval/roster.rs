//! Duty rosters: who is in a group of approvers at which instant, from `rosters/<group>.toml`.
//!
//! A roster adds to a group those who are on duty; whoever the trust domain's document or an identity provider puts in the
//! group is in it anyway. A delegation hands the duty of one over to another for a while: the one who handed it over is not
//! on duty meanwhile, and what was handed over is not handed on. Absent: who somebody is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{GroupName, OPERATORS, Principal, PrincipalKind};
use crate::folder::files_in;
use crate::lifecycle::plus;

/// The most that a roster may have of shifts and of delegations.
const MAX_ROWS: usize = 256;
/// The longest delegation.
const MAX_DELEGATION: Duration = Duration::from_secs(31 * 24 * 60 * 60);
const MAX_ROSTER_BYTES: u64 = 256 * 1024;

/// The roster of one group.
///
/// ```toml
/// apiVersion = "marque/v1"
/// kind = "Roster"
/// group = "platform-sre"               # the file's name, too
/// time_zone = "Europe/Berlin"
///
/// [[shifts]]                           # every week
/// members = ["user:alice", "person:corp:248289"]
/// days = ["mon", "tue", "wed", "thu", "fri"]
/// from = "09:00"
/// to = "17:00"                         # at or before `from`: on the day after
///
/// [[shifts]]                           # once
/// members = ["user:carol"]
/// starts = "2026-12-24T08:00:00Z"
/// ends = "2026-12-25T08:00:00Z"
///
/// [[delegations]]                      # alice's duty is dave's
/// from = "user:alice"
/// to = "user:dave"
/// starts = "2026-12-01T00:00:00Z"
/// ends = "2026-12-08T00:00:00Z"        # at most 31 days later
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Roster {
    group: GroupName,
    time_zone: TimeZone,
    shifts: Vec<Shift>,
    delegations: Vec<Delegation>,
}

/// The rosters of a trust domain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rosters(BTreeMap<GroupName, Roster>);

/// What is wrong with a roster's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterFinding {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Shift {
    members: BTreeSet<Principal>,
    when: When,
}

#[derive(Debug, Clone, PartialEq)]
enum When {
    Weekly { days: Vec<Weekday>, from: Time, to: Time },
    Once(Span),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    starts: Timestamp,
    ends: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
struct Delegation {
    from: Principal,
    to: Principal,
    span: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    group: GroupName,
    time_zone: String,
    shifts: Vec<ShiftRow>,
    #[serde(default)]
    delegations: Vec<DelegationRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShiftRow {
    members: BTreeSet<Principal>,
    #[serde(default)]
    days: Vec<String>,
    from: Option<String>,
    to: Option<String>,
    starts: Option<Timestamp>,
    ends: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DelegationRow {
    from: Principal,
    to: Principal,
    starts: Timestamp,
    ends: Timestamp,
}

impl Span {
    fn new(starts: Timestamp, ends: Timestamp) -> Result<Self, String> {
        if ends > starts {
            Ok(Self { starts, ends })
        } else {
            Err("ends before it starts".to_owned())
        }
    }

    fn has(&self, at: Timestamp) -> bool {
        self.starts <= at && at < self.ends
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.starts < other.ends && other.starts < self.ends
    }
}

impl Shift {
    fn read(row: ShiftRow) -> Result<Self, String> {
        let ShiftRow { members, days, from, to, starts, ends } = row;
        person_names(&members)?;
        let when = match (days.as_slice(), from, to, starts, ends) {
            ([], None, None, Some(starts), Some(ends)) => When::Once(Span::new(starts, ends)?),
            ([_, ..], Some(from), Some(to), None, None) => When::Weekly {
                days: days.iter().map(|day| weekday(day)).collect::<Result<_, _>>()?,
                from: time(&from)?,
                to: time(&to)?,
            },
            _ => {
                let message = "a shift has `days`, `from` and `to`, or `starts` and `ends`";
                return Err(message.to_owned());
            }
        };
        Ok(Self { members, when })
    }

    fn has(&self, at: Timestamp, time_zone: &TimeZone) -> bool {
        let (days, from, to) = match &self.when {
            When::Once(span) => return span.has(at),
            When::Weekly { days, from, to } => (days, *from, *to),
        };
        let here = time_zone.to_datetime(at);
        let (today, time) = (here.date().weekday(), here.time());
        let begins = |day: Weekday| days.contains(&day);
        if from < to {
            begins(today) && from <= time && time < to
        } else {
            (begins(today) && from <= time) || (begins(today.previous()) && time < to)
        }
    }
}

impl Roster {
    /// Reads a roster.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let Document { api_version, kind, group, time_zone, shifts, delegations } = document;
        if api_version != "marque/v1" || kind != "Roster" {
            return Err("is not of `apiVersion` `marque/v1` and `kind` `Roster`".to_owned());
        }
        if group.as_str() == OPERATORS {
            return Err(format!("every local operator is in `{OPERATORS}`, on duty or not"));
        }
        if shifts.len() > MAX_ROWS || delegations.len() > MAX_ROWS {
            return Err(format!("has more than {MAX_ROWS} shifts or delegations"));
        }
        let time_zone = TimeZone::get(&time_zone)
            .map_err(|_unknown| format!("there is no time zone `{time_zone}`"))?;
        let shifts: Vec<Shift> =
            shifts.into_iter().map(Shift::read).collect::<Result<_, String>>()?;
        let roster = Self { group, time_zone, shifts, delegations: Vec::new() };
        let delegations = delegations.into_iter().map(|row| roster.delegation(row));
        let delegations: Vec<Delegation> = delegations.collect::<Result<_, String>>()?;
        for (index, one) in delegations.iter().enumerate() {
            let mut others = delegations.iter().skip(index + 1);
            if others.any(|other| other.from == one.from && other.span.overlaps(&one.span)) {
                return Err(format!("the duty of `{}` is delegated twice at a time", one.from));
            }
        }
        Ok(Self { delegations, ..roster })
    }

    fn delegation(&self, row: DelegationRow) -> Result<Delegation, String> {
        let DelegationRow { from, to, starts, ends } = row;
        person_names([&from, &to])?;
        let span = Span::new(starts, ends)?;
        if ends > plus(starts, MAX_DELEGATION) {
            return Err(format!("the delegation of `{from}` is longer than 31 days"));
        }
        if from == to || !self.shifts.iter().any(|shift| shift.members.contains(&from)) {
            return Err(format!("`{from}` has no duty of their own to delegate"));
        }
        Ok(Delegation { from, to, span })
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &GroupName {
        &self.group
    }

    /// Who is on duty at an instant.
    #[must_use]
    pub fn on_duty(&self, at: Timestamp) -> BTreeSet<&Principal> {
        let shifts = self.shifts.iter().filter(|shift| shift.has(at, &self.time_zone));
        shifts
            .flat_map(|shift| &shift.members)
            .map(|member| {
                let mut handed = self.delegations.iter().filter(|one| one.span.has(at));
                handed.find(|one| one.from == *member).map_or(member, |one| &one.to)
            })
            .collect()
    }

    /// Everybody who is ever on duty.
    #[must_use]
    pub fn everybody(&self) -> BTreeSet<&Principal> {
        let members = self.shifts.iter().flat_map(|shift| &shift.members);
        members.chain(self.delegations.iter().map(|one| &one.to)).collect()
    }
}

impl Rosters {
    /// Reads every `*.toml` in a folder, which may be absent.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(folder: &Path) -> Result<Self, Vec<RosterFinding>> {
        let (mut rosters, mut findings) = (BTreeMap::new(), Vec::new());
        let mut find = |file: &Path, message: String| {
            findings.push(RosterFinding { file: file.to_owned(), message });
        };
        let files = match files_in(folder, "toml") {
            Ok(files) => files,
            Err(error) => {
                find(folder, format!("cannot be read: {error}"));
                return Err(findings);
            }
        };
        for file in files {
            match read(&file) {
                Ok(roster) => drop(rosters.insert(roster.group.clone(), roster)),
                Err(message) => find(&file, message),
            }
        }
        if findings.is_empty() { Ok(Self(rosters)) } else { Err(findings) }
    }

    /// The groups in which somebody with one of these names is on duty now.
    #[must_use]
    pub fn groups_of(&self, names: &BTreeSet<Principal>, now: Timestamp) -> BTreeSet<GroupName> {
        let on_duty = |roster: &&Roster| roster.on_duty(now).iter().any(|one| names.contains(*one));
        self.0.values().filter(on_duty).map(|roster| roster.group.clone()).collect()
    }

    /// The groups in which somebody with one of these names is ever on duty.
    #[must_use]
    pub fn ever_groups_of(&self, names: &BTreeSet<Principal>) -> BTreeSet<GroupName> {
        let ever = |roster: &&Roster| roster.everybody().iter().any(|one| names.contains(*one));
        self.0.values().filter(ever).map(|roster| roster.group.clone()).collect()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Roster> {
        self.0.values()
    }
}

fn read(file: &Path) -> Result<Roster, String> {
    let size = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > MAX_ROSTER_BYTES {
        return Err(format!("has more than {MAX_ROSTER_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let roster = Roster::parse(&text)?;
    let name = file.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    if name != roster.group.as_str() {
        return Err(format!("is the roster of `{}`, so it is called `{0}.toml`", roster.group));
    }
    Ok(roster)
}

fn person_names<'a>(names: impl IntoIterator<Item = &'a Principal>) -> Result<(), String> {
    let mut groups = names.into_iter().filter(|name| name.kind() == PrincipalKind::Group);
    groups
        .next()
        .map_or(Ok(()), |group| Err(format!("`{group}` is a group, and people are on duty")))
}

fn weekday(text: &str) -> Result<Weekday, String> {
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let place = names.iter().position(|name| *name == text);
    let day = place.and_then(|place| i8::try_from(place + 1).ok());
    day.and_then(|day| Weekday::from_monday_one_offset(day).ok())
        .ok_or_else(|| format!("`{text}` is none of {}", names.join(", ")))
}

/// `HH:MM`.
fn time(text: &str) -> Result<Time, String> {
    let wrong = || format!("`{text}` is no time of day such as `09:00`");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| -> Result<i8, String> {
        if digits.len() == 2 { digits.parse().map_err(|_no| wrong()) } else { Err(wrong()) }
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_no| wrong())
}

#[cfg(test)]
mod tests;
