//! Risk as a sum that anybody can add up: a base, and for each named factor its weight times what was found out.
//!
//! Weights are the playbook's, inputs are facts that the product found out by itself. Absent: text of anybody's, and every
//! judgement that is not a number here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The highest score: everything above counts as this.
pub const MAX_RISK: u32 = 100;

/// Something that makes a request riskier. Each has one input, a whole number that is never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskName {
    /// 1 outside of the playbook's working hours.
    OffHours,
    /// 1 if no earlier grant of the agent was approved for what it attests as now.
    NewAgentBuild,
    /// How many grants of the agent are open.
    OpenGrants,
    /// How many requests of the agent were denied of late.
    RecentDenials,
    /// 1 in production.
    Production,
    /// How many of the playbook's data classes are on its list of sensitive ones.
    SensitiveData,
    /// How many tools are sensitive.
    SensitiveTool,
    /// How many tools destroy.
    DestructiveTool,
    /// 1 if the request names no ticket.
    NoTicket,
    /// The posture: 0 normal, 1 elevated, 2 high, 3 critical.
    Posture,
    /// 1 for every ten points that the agent's stated confidence lacks to 100; 10 if it states none.
    LowConfidence,
}

/// The name is of no factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no factor `{name}`; there are {}", RiskName::ALL.map(RiskName::as_str).join(", "))]
pub struct UnknownRiskName {
    name: String,
}

impl RiskName {
    /// Every factor, by name.
    pub const ALL: [Self; 11] = [
        Self::OffHours,
        Self::NewAgentBuild,
        Self::OpenGrants,
        Self::RecentDenials,
        Self::Production,
        Self::SensitiveData,
        Self::SensitiveTool,
        Self::DestructiveTool,
        Self::NoTicket,
        Self::Posture,
        Self::LowConfidence,
    ];

    /// The name in playbooks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OffHours => "off_hours",
            Self::NewAgentBuild => "new_agent_build",
            Self::OpenGrants => "open_grants",
            Self::RecentDenials => "recent_denials",
            Self::Production => "production",
            Self::SensitiveData => "sensitive_data",
            Self::SensitiveTool => "sensitive_tool",
            Self::DestructiveTool => "destructive_tool",
            Self::NoTicket => "no_ticket",
            Self::Posture => "posture",
            Self::LowConfidence => "low_confidence",
        }
    }
}

impl fmt::Display for RiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RiskName {
    type Err = UnknownRiskName;

    fn from_str(text: &str) -> Result<Self, UnknownRiskName> {
        let found = Self::ALL.into_iter().find(|factor| factor.as_str() == text);
        found.ok_or_else(|| UnknownRiskName { name: text.chars().take(64).collect() })
    }
}

/// What was found out, for each factor that somebody looked at.
pub type RiskInputs = BTreeMap<RiskName, u64>;

/// One reason why a request is riskier than its playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskFactor {
    /// Its name, as in the playbook's weights.
    pub name: String,
    /// What it added: weight times input, at most [`MAX_RISK`].
    pub points: u32,
    /// The input that it was computed from, as text.
    pub input: String,
    /// What one of the input weighs, by the playbook.
    pub weight: u32,
}

/// A score with everything that it is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskAssessment {
    /// From 0 to [`MAX_RISK`]: the base and all points, cut there.
    pub score: u32,
    /// What the playbook starts from.
    pub base: u32,
    /// Each factor that the playbook weighs, those that added nothing too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<RiskFactor>,
}

impl RiskAssessment {
    /// Whether nothing was assessed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for RiskAssessment {
    /// The sum in one line: `65 = 40 base + 15 off_hours + 10 open_grants (2 × 5)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} base", self.score, self.base)?;
        for RiskFactor { name, input, weight, points } in &self.factors {
            write!(f, " + {points} {name}")?;
            if input != "1" {
                write!(f, " ({input} × {weight})")?;
            }
        }
        let sum = u64::from(self.base)
            + self.factors.iter().map(|factor| u64::from(factor.points)).sum::<u64>();
        if sum > u64::from(self.score) { write!(f, ", at most {MAX_RISK}") } else { Ok(()) }
    }
}

/// How a playbook counts risk, and what follows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskRules {
    /// Where the sum starts, 0 to [`MAX_RISK`].
    pub base: u32,
    /// From this score on the request is refused (`risk_too_high`).
    pub deny_at: Option<u32>,
    /// From this score on a person approves, whatever policy says.
    pub approve_at: Option<u32>,
    /// What one of each factor's input weighs.
    pub weights: BTreeMap<RiskName, u32>,
    /// The data classes that [`RiskName::SensitiveData`] counts.
    pub sensitive_classes: BTreeSet<String>,
    /// What [`RiskName::OffHours`] looks at.
    pub hours: Option<WorkingHours>,
}

impl RiskRules {
    /// Rules with a base alone.
    #[must_use]
    pub const fn of_base(base: u32) -> Self {
        Self {
            base,
            deny_at: None,
            approve_at: None,
            weights: BTreeMap::new(),
            sensitive_classes: BTreeSet::new(),
            hours: None,
        }
    }

    /// Whether the playbook weighs this factor.
    #[must_use]
    pub fn weighs(&self, factor: RiskName) -> bool {
        self.weights.contains_key(&factor)
    }

    /// Adds up. A factor without an input has the input 0.
    #[must_use]
    pub fn assess(&self, inputs: &RiskInputs) -> RiskAssessment {
        let factor = |(name, weight): (&RiskName, &u32)| {
            let input = inputs.get(name).copied().unwrap_or_default();
            let points = u64::from(*weight).saturating_mul(input).min(u64::from(MAX_RISK));
            let points = u32::try_from(points).unwrap_or(MAX_RISK);
            let (name, input) = (name.to_string(), input.to_string());
            RiskFactor { name, points, input, weight: *weight }
        };
        let factors: Vec<RiskFactor> = self.weights.iter().map(factor).collect();
        let sum = factors.iter().fold(self.base, |sum, one| sum.saturating_add(one.points));
        RiskAssessment { score: sum.min(MAX_RISK), base: self.base, factors }
    }

    /// Whether a score is refused.
    #[must_use]
    pub fn refuses(&self, score: u32) -> bool {
        self.deny_at.is_some_and(|limit| score >= limit)
    }

    /// Whether a score needs a person.
    #[must_use]
    pub fn wants_a_person(&self, score: u32) -> bool {
        self.approve_at.is_some_and(|limit| score >= limit)
    }
}

/// Hours of a working day in one time zone. A day's hours end on the day on which they begin.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkingHours {
    /// Where.
    pub zone: TimeZone,
    /// On which days.
    pub days: BTreeSet<WorkingDay>,
    /// From this time on.
    pub from: Time,
    /// Before this time.
    pub until: Time,
}

/// A day of the week, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkingDay(u8);

/// The text is not one of `mon` to `sun`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day is one of `mon`, `tue`, `wed`, `thu`, `fri`, `sat` and `sun`")]
pub struct WorkingDayError;

impl FromStr for WorkingDay {
    type Err = WorkingDayError;

    fn from_str(text: &str) -> Result<Self, WorkingDayError> {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let place = NAMES.iter().position(|name| *name == text).ok_or(WorkingDayError)?;
        u8::try_from(place).map(Self).map_err(|_more| WorkingDayError)
    }
}

impl From<Weekday> for WorkingDay {
    fn from(day: Weekday) -> Self {
        Self(day.to_monday_zero_offset().unsigned_abs())
    }
}

impl WorkingHours {
    /// Whether an instant is in them.
    #[must_use]
    pub fn contain(&self, now: Timestamp) -> bool {
        let local = now.to_zoned(self.zone.clone());
        let time = local.time();
        self.days.contains(&local.weekday().into()) && self.from <= time && time < self.until
    }
}

#[cfg(test)]
mod tests;
