//! The states of an intent, and how it went.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an intent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for approvers.
    Pending,
    /// May be used, and was not yet.
    Approved,
    /// May be used, and was: from its first use on, as long as a use is left.
    Active,
    /// Every use is spent; tokens that are out live until they expire.
    Consumed,
    /// Refused, by policy or by an approver.
    Denied,
    /// The agent withdrew it before any use.
    Cancelled,
    /// One of its clocks ran out, or what it hung on ended ([`super::EndReason`] says which).
    Expired,
    /// The agent reported the outcome.
    Completed,
    /// Every use was spent, and nobody reported the outcome in time: it is unknown.
    ClosedUnreported,
    /// Somebody ended it, or the rules that it was given under changed.
    Revoked,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Approved,
        Self::Active,
        Self::Consumed,
        Self::Denied,
        Self::Cancelled,
        Self::Expired,
        Self::Completed,
        Self::ClosedUnreported,
        Self::Revoked,
    ];

    /// Whether no edge leaves it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Approved | Self::Active | Self::Consumed => false,
            Self::Denied
            | Self::Cancelled
            | Self::Expired
            | Self::Completed
            | Self::ClosedUnreported
            | Self::Revoked => true,
        }
    }

    /// Whether a use may be redeemed in it, as far as the state alone says.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Approved | Self::Active)
    }

    /// The states that are no ends.
    pub fn open() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|state| !state.is_terminal())
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Consumed => "consumed",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Completed => "completed",
            Self::ClosedUnreported => "closed_unreported",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state of an intent")]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// How it went, by the agent's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Success,
    /// Not done.
    Failure,
    /// Done in part.
    Partial,
    /// The agent cannot tell.
    Unknown,
}

impl Outcome {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}
