//! What of its scope a kill stops (specs/intents.md 8).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where something may be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopPoint {
    /// A new intent is asked for or approved.
    Ask,
    /// A credential is issued: a token is redeemed or derived, an SVID is minted.
    Issue,
    /// A credential that is out is used: introspection, status lists, the doors of this service.
    Use,
}

/// How far a kill goes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum KillMode {
    /// Nothing new begins: no intent is asked for or approved. What is granted may finish.
    Drain,
    /// Nothing is issued, nor asked for or approved. Tokens that are out live to their end.
    StopIssuance,
    /// Every token reads as inactive, and nothing derives from it. What may be asked for and redeemed stays so, and reads as
    /// inactive too.
    StopUse,
    /// Issuance and use.
    #[default]
    Stop,
    /// Issuance and use, and what was obtained upstream is revoked there. This version obtains nothing upstream, so that
    /// there is nothing to revoke.
    StopAndRevokeUpstream,
}

/// The text names no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mode is `stop`, `stop_issuance`, `stop_use`, `drain` or `stop_and_revoke_upstream`")]
pub struct KillModeError;

impl KillMode {
    /// Every mode.
    pub const ALL: [Self; 5] =
        [Self::Drain, Self::StopIssuance, Self::StopUse, Self::Stop, Self::StopAndRevokeUpstream];

    /// The name in documents and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::StopIssuance => "stop_issuance",
            Self::StopUse => "stop_use",
            Self::Stop => "stop",
            Self::StopAndRevokeUpstream => "stop_and_revoke_upstream",
        }
    }

    /// Whether it stops at this point.
    #[must_use]
    pub const fn stops(self, point: StopPoint) -> bool {
        match point {
            StopPoint::Ask => !matches!(self, Self::StopUse),
            StopPoint::Issue => !matches!(self, Self::StopUse | Self::Drain),
            StopPoint::Use => {
                matches!(self, Self::StopUse | Self::Stop | Self::StopAndRevokeUpstream)
            }
        }
    }

    /// Whether this stops nothing that `other` does not, and less than it: a step of a recovery.
    #[must_use]
    pub fn relaxes(self, other: Self) -> bool {
        let points = [StopPoint::Ask, StopPoint::Issue, StopPoint::Use];
        points.iter().all(|point| other.stops(*point) || !self.stops(*point))
            && points.iter().any(|point| other.stops(*point) && !self.stops(*point))
    }

    /// Whether it is the default, which older journals and rows leave out.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for KillMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KillMode {
    type Err = KillModeError;

    fn from_str(text: &str) -> Result<Self, KillModeError> {
        let named = |mode: &Self| mode.as_str() == text || mode.as_str().replace('_', "-") == text;
        Self::ALL.into_iter().find(named).ok_or(KillModeError)
    }
}
