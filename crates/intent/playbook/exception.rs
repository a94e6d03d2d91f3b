//! An exception to a playbook: one agent, fixed parameters, few runs, an end of its own (M 43).
//!
//! It relaxes what it lists and nothing else, and never what is not on that list: blackouts, the form of tickets, the hard
//! policies and the scopes stay as they are. It is part of the grant, and so of what approvers are shown and sign. Past its
//! end it does nothing. Absent: counting its runs, which takes a store.

mod read;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Playbook, PlaybookError, PlaybookId};
use crate::digest::Digest;
use crate::lifecycle::{Intent, State};
use crate::request::IntentRequest;
use crate::short_name::short_name;

/// The longest that an exception may hold.
pub const MAX_EXCEPTION: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// The most runs that an exception may give.
pub const MAX_EXCEPTION_RUNS: u32 = 10;

short_name! {
    /// An exception's id: 1 to 63 of `a-z 0-9 -`.
    ExceptionId up to 63;
    /// The text is not the id of an exception.
    ExceptionIdError "an exception's id has 1 to 63 of the characters `a-z`, `0-9` and `-`"
}

/// An exception that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    id: ExceptionId,
    digest: Digest,
    playbook: PlaybookId,
    version: u64,
    agent: SpiffeId,
    parameters: Map<String, Value>,
    owner: String,
    reason: String,
    review_by: Date,
    from: Timestamp,
    expires_at: Timestamp,
    runs: NonZeroU32,
    relaxes: Relaxed,
}

/// What an exception relaxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relaxed {
    /// So many approvals are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<NonZeroU32>,
}

/// An exception by content, as a grant carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedException {
    /// The id.
    pub id: ExceptionId,
    /// The digest of its document.
    pub digest: Digest,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there, in its owner's words.
    pub reason: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How many grants it may have a part in, this one among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<NonZeroU32>,
    /// What it relaxes.
    pub relaxes: Relaxed,
}

impl PinnedException {
    /// Whether an intent is a run of it. One that was refused, or that nobody used before it was withdrawn or ran out, is
    /// none.
    #[must_use]
    pub fn has_run(&self, intent: &Intent) -> bool {
        let under = intent.grant().conditions.provisions.exception.as_ref();
        let unused = matches!(intent.state(), State::Denied | State::Cancelled | State::Expired)
            && intent.uses().is_empty();
        under.is_some_and(|under| under.id == self.id) && !unused
    }
}

impl fmt::Display for PinnedException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.digest)
    }
}

/// Where an exception stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExceptionStanding {
    /// It has not begun.
    NotBegun,
    /// It holds.
    Live,
    /// It holds, and its review is overdue.
    ReviewOverdue,
    /// It has ended, and does nothing.
    Ended,
}

impl Exception {
    /// Reads one exception.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one thing.
    pub fn parse(text: &str) -> Result<Self, Vec<PlaybookError>> {
        read::parse(text)
    }

    /// What keeps it from ever having an effect on its playbook, or makes it wider than one thing.
    #[must_use]
    pub fn check(&self, playbook: Option<&Playbook>) -> Vec<String> {
        let Some(playbook) = playbook else {
            return vec![format!("there is no playbook `{}`", self.playbook)];
        };
        let mut wrong = Vec::new();
        let mut require = |holds: bool, message: String| {
            if !holds {
                wrong.push(message);
            }
        };
        let version = playbook.version();
        require(
            self.version == version,
            format!("is for version {}, current is {version}; review it again", self.version),
        );
        require(
            playbook.agents().iter().any(|pattern| pattern.matches(&self.agent)),
            format!("`{}` may not ask for the playbook", self.agent),
        );
        if let Err(why) = playbook.parameters.check(&self.parameters) {
            require(false, format!("`parameters` has to fix every one that is required: {why}"));
        }
        if let Some(enough) = self.relaxes.approvals {
            let fewer = playbook
                .approval()
                .is_some_and(|plan| plan.rules().any(|rule| enough < rule.approve));
            require(fewer, "`relaxes.approvals` is no fewer than the playbook wants".to_owned());
        }
        wrong
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> &ExceptionId {
        &self.id
    }

    /// SHA-256 over the canonical JSON of the document.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The playbook that it is for.
    #[must_use]
    pub const fn playbook(&self) -> &PlaybookId {
        &self.playbook
    }

    /// The version of the playbook that it is for, and no other.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The agent that it is for, and no other.
    #[must_use]
    pub const fn agent(&self) -> &SpiffeId {
        &self.agent
    }

    /// The parameters that a request has to have.
    #[must_use]
    pub const fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
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

    /// When it ends.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// How many grants it may have a part in.
    #[must_use]
    pub const fn runs(&self) -> NonZeroU32 {
        self.runs
    }

    /// What it relaxes.
    #[must_use]
    pub const fn relaxes(&self) -> &Relaxed {
        &self.relaxes
    }

    /// Where it stands at an instant.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> ExceptionStanding {
        if now >= self.expires_at {
            ExceptionStanding::Ended
        } else if now < self.from {
            ExceptionStanding::NotBegun
        } else if today(now) > self.review_by {
            ExceptionStanding::ReviewOverdue
        } else {
            ExceptionStanding::Live
        }
    }

    /// Whether a request is the one that it is for, and it holds: this agent, this playbook and version, these parameters.
    #[must_use]
    pub fn is_for(
        &self,
        agent: &SpiffeId,
        playbook: &Playbook,
        request: &IntentRequest,
        now: Timestamp,
    ) -> bool {
        let live = match self.standing(now) {
            ExceptionStanding::Live | ExceptionStanding::ReviewOverdue => true,
            ExceptionStanding::NotBegun | ExceptionStanding::Ended => false,
        };
        live && self.agent == *agent
            && self.playbook == *playbook.id()
            && self.version == playbook.version()
            && self
                .parameters
                .iter()
                .all(|(name, value)| request.parameters().get(name) == Some(value))
    }

    /// What a grant carries of it.
    #[must_use]
    pub fn pin(&self) -> PinnedException {
        PinnedException {
            id: self.id.clone(),
            digest: self.digest,
            owner: self.owner.clone(),
            reason: self.reason.clone(),
            expires_at: self.expires_at,
            runs: Some(self.runs),
            relaxes: self.relaxes,
        }
    }
}

impl Playbook {
    /// The playbook as it is under an exception.
    #[must_use]
    pub fn under(&self, exception: &Exception) -> Self {
        let approval = self.approval.clone().map(|plan| match exception.relaxes.approvals {
            Some(few) => plan.with_at_most(few),
            None => plan,
        });
        Self { approval, exception: Some(exception.pin()), ..self.clone() }
    }

    /// The exception that it is under.
    #[must_use]
    pub const fn exception(&self) -> Option<&PinnedException> {
        self.exception.as_ref()
    }
}

/// The day in UTC.
pub(crate) fn today(now: Timestamp) -> Date {
    now.to_zoned(jiff::tz::TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
