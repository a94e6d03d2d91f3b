//! What is kept between requests: one row for each thing that is counted, each with the instant after which it says nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use super::{Family, Hushed, Repeated};
use crate::denial::{Denial, DenialClass, DenialCode};
use crate::digest::Digest;
use crate::id::IntentId;
use crate::lifecycle::plus;
use crate::playbook::{ExceptionId, PlaybookId};
use crate::rights::Label;
use crate::text::Justification;

/// How long what was asked for is remembered, so that approvers see it.
pub const HISTORY: Duration = Duration::from_hours(30 * 24);
/// How many requests with one key are counted; more are as many.
pub const MAX_COUNTED: usize = 64;
/// How far back cooldowns count.
pub(super) const DAY: Duration = Duration::from_hours(24);

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaceKey {
    /// The standing of a family.
    Family(Family),
    /// How often an agent asked and was refused.
    Agent(SpiffeId),
    /// How often an agent asked for one task.
    Task(SpiffeId, Label),
    /// What an agent has open of one playbook.
    Open(SpiffeId, PlaybookId),
    /// The runs of an exception.
    Runs(ExceptionId),
    /// What was refused to an agent and is told of in sums.
    Hushed(SpiffeId, Repeated),
    /// The same request (K1).
    Request(Digest),
    /// The same target and effect (K2).
    Target(Digest),
}

impl PaceKey {
    /// What the keys of all families begin with.
    pub const FAMILIES: &str = "family ";
    /// The first text that comes after all of those.
    pub const AFTER_FAMILIES: &str = "family!";
    /// What the keys of refusals begin with that are told of in sums.
    pub const HUSHED: &str = "hushed ";
}

impl fmt::Display for PaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family(family) => write!(f, "{}{family}", Self::FAMILIES),
            Self::Agent(agent) => write!(f, "agent {agent}"),
            Self::Task(agent, task) => write!(f, "task {agent} {task}"),
            Self::Open(agent, playbook) => write!(f, "open {agent} {playbook}"),
            Self::Hushed(agent, of) => write!(f, "{}{of} {agent}", Self::HUSHED),
            Self::Runs(exception) => write!(f, "runs {exception}"),
            Self::Request(key) => write!(f, "request {key}"),
            Self::Target(key) => write!(f, "target {key}"),
        }
    }
}

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum PaceRow {
    /// Of [`PaceKey::Family`].
    Family(Standing),
    /// Of [`PaceKey::Agent`].
    Agent(AgentPace),
    /// Of [`PaceKey::Task`].
    Task(TaskPace),
    /// Of [`PaceKey::Open`].
    Open(OpenPace),
    /// Of [`PaceKey::Hushed`].
    Hushed(Hushed),
    /// Of [`PaceKey::Runs`].
    Runs(RunsPace),
    /// Of [`PaceKey::Request`].
    Request(RequestPace),
    /// Of [`PaceKey::Target`].
    Target(TargetPace),
}

impl PaceRow {
    /// The instant after which the row says nothing; none where only a person ends it.
    #[must_use]
    pub fn kept_until(&self) -> Timestamp {
        match self {
            Self::Family(standing) => standing.kept_until(),
            Self::Agent(agent) => agent.kept_until,
            Self::Task(task) => plus(task.last, DAY),
            Self::Open(open) => open.kept_until,
            Self::Runs(runs) => runs.kept_until,
            Self::Hushed(hushed) => hushed.kept_until(),
            Self::Request(request) => {
                let asked = request.asked.last().map(|last| plus(*last, HISTORY));
                let denied = request.denied.as_ref().map(|denied| denied.until);
                asked.max(denied).unwrap_or(Timestamp::MIN)
            }
            Self::Target(target) => {
                let asked = target.asked.last().map(|last| plus(*last, HISTORY));
                let denied = target.denied.as_ref().map(|denied| plus(denied.at, DAY));
                asked.max(denied).unwrap_or(Timestamp::MIN)
            }
        }
    }
}

/// How a family of agents stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The cooldowns of the last day, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cooldowns: Vec<Cooldown>,
    /// Whether the family is in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// What was said for the requests that were refused last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// A while in which nothing is granted to a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// The agent whose refusals were too many.
    pub agent: SpiffeId,
    /// Of which class they were.
    pub class: DenialClass,
}

/// A family that only a person lets ask again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Since when.
    pub at: Timestamp,
    /// The agent whose refusals were too many.
    pub agent: SpiffeId,
    /// Of which class the last of them were.
    pub class: DenialClass,
    /// How many cooldowns there were in the day before.
    pub cooldowns: u32,
}

/// What an agent said for a request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// For which request.
    pub request: Digest,
    /// What.
    pub justification: Justification,
}

impl Standing {
    fn kept_until(&self) -> Timestamp {
        if self.quarantine.is_some() {
            return Timestamp::MAX;
        }
        let cooled = self.cooldowns.iter().map(|one| plus(one.at, DAY).max(one.until)).max();
        let said = self.said.iter().map(|one| plus(one.at, DAY)).max();
        cooled.max(said).unwrap_or(Timestamp::MIN)
    }

    /// The cooldown that runs now, if one does.
    #[must_use]
    pub fn cooling(&self, now: Timestamp) -> Option<&Cooldown> {
        self.cooldowns.iter().find(|one| one.at <= now && now < one.until)
    }
}

/// How often an agent asked and was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentPace {
    /// The requests of the last minute, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Timestamp>,
    /// The refusals that count against a budget still, oldest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub denied: BTreeMap<DenialClass, Vec<Timestamp>>,
    /// See [`PaceRow::kept_until`].
    pub kept_until: Timestamp,
}

impl Default for AgentPace {
    fn default() -> Self {
        Self { asked: Vec::new(), denied: BTreeMap::new(), kept_until: Timestamp::MIN }
    }
}

/// How often an agent asked for one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPace {
    /// How often.
    pub asked: u32,
    /// When it did last.
    pub last: Timestamp,
}

/// The grants in which an exception had a part, as far as is known: some of them may have ended unused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsPace {
    /// Their intents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<IntentId>,
    /// See [`PaceRow::kept_until`].
    pub kept_until: Timestamp,
}

impl Default for RunsPace {
    fn default() -> Self {
        Self { intents: Vec::new(), kept_until: Timestamp::MIN }
    }
}

/// What an agent has open of one playbook, as far as is known: some of it may have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPace {
    /// The intents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<OpenIntent>,
    /// See [`PaceRow::kept_until`].
    pub kept_until: Timestamp,
}

impl Default for OpenPace {
    fn default() -> Self {
        Self { intents: Vec::new(), kept_until: Timestamp::MIN }
    }
}

/// An intent that may be open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIntent {
    /// Which.
    pub id: IntentId,
    /// What it lets happen.
    pub scope: Digest,
}

/// One request, however often it came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestPace {
    /// When it came in the last 30 days, oldest first, the last [`MAX_COUNTED`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Timestamp>,
    /// The refusal that is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<DeniedRequest>,
}

/// A refusal that is given again to the same request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeniedRequest {
    /// The intent that was refused, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// Why.
    pub denial: Denial,
    /// When.
    pub at: Timestamp,
    /// Until when it is repeated.
    pub until: Timestamp,
    /// By which playbook and policies.
    pub basis: Digest,
}

/// One target with one effect, by whatever playbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetPace {
    /// When it was asked for in the last 30 days, oldest first, the last [`MAX_COUNTED`] times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Timestamp>,
    /// The last time that it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<DeniedTarget>,
}

/// A target that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeniedTarget {
    /// When it was first refused, since when other paths are counted.
    pub at: Timestamp,
    /// Why.
    pub code: DenialCode,
    /// The request that was refused.
    pub request: Digest,
    /// Other requests for it since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Digest>,
    /// Whether something was granted since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub followed: bool,
}

/// The rows that are there, of those that were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PaceRows(BTreeMap<PaceKey, PaceRow>);

macro_rules! of_kind {
    ($(#[$doc:meta] $name:ident: $kind:ident -> $row:ty;)+) => {
        $(#[$doc] pub(super) fn $name(&self, key: &PaceKey) -> $row {
            match self.0.get(key) {
                Some(PaceRow::$kind(row)) => row.clone(),
                Some(_) | None => <$row>::default(),
            }
        })+
    };
}

impl PaceRows {
    /// The row under a key.
    #[must_use]
    pub fn get(&self, key: &PaceKey) -> Option<&PaceRow> {
        self.0.get(key)
    }

    /// Takes up a row in place of what was there.
    pub fn insert(&mut self, key: PaceKey, row: PaceRow) {
        self.0.insert(key, row);
    }

    /// Every row.
    pub fn iter(&self) -> impl Iterator<Item = (&PaceKey, &PaceRow)> {
        self.0.iter()
    }

    /// How a family stands.
    #[must_use]
    pub fn standing(&self, family: &Family) -> Standing {
        self.family(&PaceKey::Family(family.clone()))
    }

    /// The intents that may be open.
    pub fn open_intents(&self) -> impl Iterator<Item = &IntentId> {
        self.0
            .values()
            .flat_map(|row| match row {
                PaceRow::Open(open) => open.intents.as_slice(),
                _ => &[],
            })
            .map(|open| &open.id)
    }

    of_kind! {
        /// The standing under a key.
        family: Family -> Standing;
        /// The agent under a key.
        agent: Agent -> AgentPace;
        /// What is open under a key.
        open: Open -> OpenPace;
        /// The request under a key.
        request: Request -> RequestPace;
        /// The target under a key.
        target: Target -> TargetPace;
    }

    /// What was refused under a key and not told of.
    #[must_use]
    pub fn hushed(&self, key: &PaceKey) -> Option<Hushed> {
        match self.0.get(key) {
            Some(PaceRow::Hushed(hushed)) => Some(hushed.clone()),
            Some(_) | None => None,
        }
    }

    /// The runs of an exception.
    #[must_use]
    pub fn runs(&self, exception: &ExceptionId) -> RunsPace {
        match self.0.get(&PaceKey::Runs(exception.clone())) {
            Some(PaceRow::Runs(runs)) => runs.clone(),
            Some(_) | None => RunsPace::default(),
        }
    }

    pub(super) fn task(&self, key: &PaceKey) -> Option<TaskPace> {
        match self.0.get(key) {
            Some(PaceRow::Task(task)) => Some(task.clone()),
            Some(_) | None => None,
        }
    }
}

impl FromIterator<(PaceKey, PaceRow)> for PaceRows {
    fn from_iter<T: IntoIterator<Item = (PaceKey, PaceRow)>>(rows: T) -> Self {
        Self(rows.into_iter().collect())
    }
}
