//! Orders to stop somebody and to let them go on, and what became of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use super::{KillMode, KillScope};
use crate::digest::Digest;
use crate::text::Reason;

/// An order to stop somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKill {
    /// Whom.
    pub scope: KillScope,
    /// How far.
    #[serde(default, skip_serializing_if = "KillMode::is_default")]
    pub mode: KillMode,
    /// Why.
    pub reason: Reason,
    /// Who ordered it.
    pub actor: String,
    /// When it ends by itself; it stands until it is lifted where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it came of, where the same may come to several replicas at once: of each there is one kill, whoever takes it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Digest>,
    /// The agents that were of its sponsor or its build when it was ordered: they stay stopped whatever becomes of their
    /// entries. Records of before this was kept have none.
    #[serde(default, skip_serializing_if = "is_nobody")]
    pub hits: Arc<BTreeSet<SpiffeId>>,
}

/// An order to let somebody go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLift {
    /// Which kill.
    pub lifts: KillId,
    /// What it is relaxed to; it ends where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<KillMode>,
    /// Why.
    pub reason: Reason,
    /// Who asked for it.
    pub actor: String,
    /// Who confirmed it, another person; nobody where the kill's own time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillOrder {
    /// To stop.
    Kill(NewKill),
    /// To go on.
    Lift(NewLift),
}

/// An order that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Whom.
    pub scope: KillScope,
    /// How far.
    #[serde(default, skip_serializing_if = "KillMode::is_default")]
    pub mode: KillMode,
    /// Why.
    pub reason: Reason,
    /// Who ordered it.
    pub actor: String,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it came of; see [`NewKill::origin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Digest>,
    /// The agents that it stops whatever becomes of their entries; see [`NewKill::hits`].
    #[serde(default, skip_serializing_if = "is_nobody")]
    pub hits: Arc<BTreeSet<SpiffeId>>,
    /// Since when.
    pub at: Timestamp,
    /// The epoch that this kill began.
    pub epoch: u64,
}

/// A lift that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lift {
    /// Which kill.
    pub lifts: KillId,
    /// What it was relaxed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<KillMode>,
    /// Why.
    pub reason: Reason,
    /// Who asked for it.
    pub actor: String,
    /// Who confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The epoch that it began.
    pub epoch: u64,
}

/// One of the two, in the order of their epochs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KillRecord {
    /// A kill, as it was ordered.
    Kill(Kill),
    /// A lift.
    Lift(Lift),
}

fn is_nobody(hits: &Arc<BTreeSet<SpiffeId>>) -> bool {
    hits.is_empty()
}

impl KillOrder {
    /// What becomes of it.
    #[must_use]
    pub fn record(self, at: Timestamp, epoch: u64) -> KillRecord {
        match self {
            Self::Kill(NewKill { scope, mode, reason, actor, expires_at, origin, hits }) => {
                let kill = Kill { scope, mode, reason, actor, expires_at, origin, hits, at, epoch };
                KillRecord::Kill(kill)
            }
            Self::Lift(NewLift { lifts, to, reason, actor, confirmed_by }) => {
                KillRecord::Lift(Lift { lifts, to, reason, actor, confirmed_by, at, epoch })
            }
        }
    }
}

impl KillRecord {
    /// The epoch that it began.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        match self {
            Self::Kill(kill) => kill.epoch,
            Self::Lift(lift) => lift.epoch,
        }
    }

    /// When it was ordered.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Kill(kill) => kill.at,
            Self::Lift(lift) => lift.at,
        }
    }

    /// The order that it was made of.
    #[must_use]
    pub fn order(&self) -> KillOrder {
        match self.clone() {
            Self::Kill(kill) => {
                let Kill { scope, mode, reason, actor, expires_at, origin, hits, at: _, epoch: _ } =
                    kill;
                KillOrder::Kill(NewKill { scope, mode, reason, actor, expires_at, origin, hits })
            }
            Self::Lift(Lift { lifts, to, reason, actor, confirmed_by, at: _, epoch: _ }) => {
                KillOrder::Lift(NewLift { lifts, to, reason, actor, confirmed_by })
            }
        }
    }

    /// Whether it was made of this order, given at this instant. Two equal orders of one instant are one, and so are two of one
    /// origin.
    #[must_use]
    pub fn is_of(&self, order: &KillOrder, at: Timestamp) -> bool {
        if let (Self::Kill(kill), KillOrder::Kill(order)) = (self, order)
            && order.origin.is_some()
        {
            return kill.origin == order.origin;
        }
        self.at() == at && self.order() == *order
    }
}

/// The id of a kill: `kill_` and 24 hexadecimal digits, a digest of whom it stops, why, by whom and since when. It is
/// the same at every replica, before and after the kill is recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KillId(String);

/// The text is not the id of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a kill is `kill_` and 24 lowercase hexadecimal digits")]
pub struct KillIdError;

const ID_PREFIX: &str = "kill_";
const ID_DIGITS: usize = 24;

impl Kill {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> KillId {
        let Self { scope, mode: _, reason, actor, expires_at, origin: _, hits: _, at, epoch: _ } =
            self;
        // Its mode may be relaxed, and its epoch is given late.
        let parts = [
            scope.kind(),
            &scope.selector().unwrap_or_default(),
            reason.as_str(),
            actor,
            &expires_at.map(|end| end.to_string()).unwrap_or_default(),
            &at.to_string(),
        ];
        let digest =
            Digest::of(parts.map(|part| format!("{}:{part}", part.len())).concat().as_bytes());
        KillId(
            digest
                .as_bytes()
                .iter()
                .take(ID_DIGITS / 2)
                .fold(ID_PREFIX.to_owned(), |id, byte| format!("{id}{byte:02x}")),
        )
    }
}

impl KillId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KillId {
    type Err = KillIdError;

    fn from_str(text: &str) -> Result<Self, KillIdError> {
        let digits = text.strip_prefix(ID_PREFIX).ok_or(KillIdError)?;
        let fits = digits.len() == ID_DIGITS
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(KillIdError) }
    }
}

impl TryFrom<String> for KillId {
    type Error = KillIdError;

    fn try_from(text: String) -> Result<Self, KillIdError> {
        text.parse()
    }
}

impl From<KillId> for String {
    fn from(id: KillId) -> Self {
        id.0
    }
}

impl fmt::Display for KillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
