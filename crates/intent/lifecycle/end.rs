//! Why an intent ended, where its state alone does not say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why an intent expired, was revoked or was closed without a report (specs/intents.md 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Nobody approved it in time.
    RequestTtl,
    /// Its first use did not come in time after the approval.
    StartWithin,
    /// The longest time from its first use was over.
    MaxDuration,
    /// The end that was set whatever the other clocks say.
    NotAfter,
    /// Nothing was heard of it for longer than the playbook allows.
    Idle,
    /// The last process that was attested as its agent ended.
    AgentLost,
    /// The intent that it was asked for under ended.
    ParentEnded,
    /// Every use was spent and no report came in time.
    ReportWithin,
    /// A person ended it.
    Operator,
    /// The playbook or the policy changed so that it would not be given any more.
    PolicyDrift,
    /// Its change ticket was closed.
    TicketClosed,
    /// A blackout began that was not known when it was given.
    Blackout,
    /// The kill switch was thrown.
    Kill,
    /// Its agent was put into quarantine.
    Quarantine,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::RequestTtl,
        Self::StartWithin,
        Self::MaxDuration,
        Self::NotAfter,
        Self::Idle,
        Self::AgentLost,
        Self::ParentEnded,
        Self::ReportWithin,
        Self::Operator,
        Self::PolicyDrift,
        Self::TicketClosed,
        Self::Blackout,
        Self::Kill,
        Self::Quarantine,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestTtl => "request_ttl",
            Self::StartWithin => "start_within",
            Self::MaxDuration => "max_duration",
            Self::NotAfter => "not_after",
            Self::Idle => "idle",
            Self::AgentLost => "agent_lost",
            Self::ParentEnded => "parent_ended",
            Self::ReportWithin => "report_within",
            Self::Operator => "operator",
            Self::PolicyDrift => "policy_drift",
            Self::TicketClosed => "ticket_closed",
            Self::Blackout => "blackout",
            Self::Kill => "kill",
            Self::Quarantine => "quarantine",
        }
    }

    /// Whether it takes a grant away, rather than letting it run out.
    #[must_use]
    pub const fn revokes(self) -> bool {
        match self {
            Self::Operator
            | Self::PolicyDrift
            | Self::TicketClosed
            | Self::Blackout
            | Self::Kill
            | Self::Quarantine => true,
            Self::RequestTtl
            | Self::StartWithin
            | Self::MaxDuration
            | Self::NotAfter
            | Self::Idle
            | Self::AgentLost
            | Self::ParentEnded
            | Self::ReportWithin => false,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reason for which an intent ends")]
pub struct UnknownEndReason;

impl FromStr for EndReason {
    type Err = UnknownEndReason;

    fn from_str(text: &str) -> Result<Self, UnknownEndReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownEndReason)
    }
}
