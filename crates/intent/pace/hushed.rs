//! Refusals that an agent brings on again and again, told of in sums: the log grows with time, and not with how fast somebody
//! hammers. Every one of them is on record, by itself or in a count (M 46).

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use crate::denial::{Denial, DenialClass, DenialCode};
use crate::lifecycle::plus;

/// How long refusals are counted after one that the log was told of.
pub const HUSHED_FOR: Duration = Duration::from_mins(1);

/// What is refused again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeated {
    /// Requests for an intent, by an agent that has to wait.
    Request,
    /// Words about an intent that has ended.
    Change,
    /// Requests for a token, by an agent in quarantine.
    Token,
}

impl Repeated {
    /// Whether refusals of this kind with this code are told of in sums: those that the agent was given before, and that
    /// nothing but time or a person changes.
    #[must_use]
    pub fn is_hushed(self, code: DenialCode) -> bool {
        use DenialCode::{CooldownAfterDenial, Quarantined, RateLimited};
        match self {
            Self::Request => matches!(code, Quarantined | CooldownAfterDenial | RateLimited),
            Self::Change => code.class() == DenialClass::Grant,
            Self::Token => code == Quarantined,
        }
    }

    const fn kind(self) -> EventKind {
        match self {
            Self::Request => EventKind::IntentDenied,
            Self::Change => EventKind::ChangeRefused,
            Self::Token => EventKind::TokenRefused,
        }
    }
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Change => "change",
            Self::Token => "token",
        })
    }
}

/// What was refused to one agent since the log was told of it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hushed {
    /// Who asks.
    pub agent: SpiffeId,
    /// What for.
    pub what: Repeated,
    /// When the log was told.
    pub since: Timestamp,
    /// How many came after that.
    pub untold: u64,
    /// The code of the last one.
    pub code: String,
    /// Its class.
    pub class: String,
}

/// One more refusal.
#[derive(Debug, Clone, PartialEq)]
pub enum Again {
    /// The log is told of it, and of those before it that it was not told of.
    Told(Vec<Event>),
    /// It is counted.
    Counted,
}

impl Hushed {
    /// The row after one more refusal, and what the log is told beside that refusal itself.
    #[must_use]
    pub fn after(
        before: Option<Self>,
        (agent, what): (&SpiffeId, Repeated),
        denial: &Denial,
        now: Timestamp,
    ) -> (Self, Again) {
        let next = Self {
            agent: agent.clone(),
            what,
            since: now,
            untold: 0,
            code: denial.code().as_str().to_owned(),
            class: denial.class().as_str().to_owned(),
        };
        match before {
            Some(before) if before.since <= now && now < plus(before.since, HUSHED_FOR) => {
                let untold = before.untold.saturating_add(1);
                (Self { since: before.since, untold, ..next }, Again::Counted)
            }
            before => {
                let told = before.and_then(|before| before.told(now));
                (next, Again::Told(told.into_iter().collect()))
            }
        }
    }

    /// What the log is told of those that it was not told of, if there are any.
    #[must_use]
    pub fn told(&self, now: Timestamp) -> Option<Event> {
        (self.untold > 0).then(|| {
            Event::new(self.what.kind(), now)
                .with_agent(self.agent.clone())
                .with_denial(&self.code, &self.class)
                .with_detail("repeated", self.untold)
                .with_detail("since", self.since.to_string())
        })
    }

    /// The instant after which what was not told of is told by whoever forgets the row.
    pub(super) fn kept_until(&self) -> Timestamp {
        plus(self.since, HUSHED_FOR)
    }
}
