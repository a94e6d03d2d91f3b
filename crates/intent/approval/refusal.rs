//! Why an approver refuses: one of a few reasons, which can be counted, and a remark beside it (specs/intents.md 11).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::{Reason, TextTooLong};

/// A preset reason to refuse. Nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenyReason {
    /// Nobody needs this.
    NotNeeded,
    /// It asks for more than the work needs.
    TooBroad,
    /// The parameters are not what they should be.
    WrongTarget,
    /// Not now.
    WrongTime,
    /// The ticket does not say this, or is not approved.
    TicketMismatch,
    /// It looks like an attack, or like a mistake of the agent.
    Suspicious,
    /// Something else, which the remark says.
    Other,
}

/// The text is no preset reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a refusal has one of the reasons `not_needed`, `too_broad`, `wrong_target`, `wrong_time`, `ticket_mismatch`, \
     `suspicious` and `other`; a text is only a remark beside it"
)]
pub struct UnknownDenyReason;

impl DenyReason {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::NotNeeded,
        Self::TooBroad,
        Self::WrongTarget,
        Self::WrongTime,
        Self::TicketMismatch,
        Self::Suspicious,
        Self::Other,
    ];

    /// The name in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotNeeded => "not_needed",
            Self::TooBroad => "too_broad",
            Self::WrongTarget => "wrong_target",
            Self::WrongTime => "wrong_time",
            Self::TicketMismatch => "ticket_mismatch",
            Self::Suspicious => "suspicious",
            Self::Other => "other",
        }
    }

    /// The reason as it is kept: the name, and the remark where there is one.
    ///
    /// # Errors
    /// Both together are longer than [`crate::MAX_REASON_CHARS`].
    pub fn with(self, remark: &str) -> Result<Reason, TextTooLong> {
        match remark.trim() {
            "" => Reason::new(self.as_str()),
            remark => Reason::new(&format!("{self}: {remark}")),
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DenyReason {
    type Err = UnknownDenyReason;

    fn from_str(text: &str) -> Result<Self, UnknownDenyReason> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(UnknownDenyReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_of_the_presets_and_the_error_lists_them() {
        let listed = UnknownDenyReason.to_string();
        for reason in DenyReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert!(listed.contains(&format!("`{reason}`")), "{listed}");
        }
        for other in ["", "because", "Not_Needed", "too-broad"] {
            assert_eq!(other.parse::<DenyReason>(), Err(UnknownDenyReason));
        }
    }

    #[test]
    fn a_remark_stands_beside_the_reason() {
        let kept = |remark: &str| DenyReason::WrongTime.with(remark).map(|kept| kept.to_string());
        assert_eq!(kept(" ").as_deref(), Ok("wrong_time"));
        assert_eq!(kept("a freeze").as_deref(), Ok("wrong_time: a freeze"));
        assert!(kept(&"a".repeat(crate::MAX_REASON_CHARS)).is_err());
    }
}
