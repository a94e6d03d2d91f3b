//! Agents that are one another's like: what they do counts together.

use std::fmt;
use std::str::FromStr;

use marque_spiffe::{SpiffeId, SpiffeIdError};
use serde::{Deserialize, Serialize};

/// An agent's SPIFFE ID without the last segment of its path, which names the instance. At least two segments stay: what
/// comes after the first alone, such as `/agent`, would be the family of everybody.
///
/// `spiffe://prod.example.org/agent/cert-rotator/one` and `…/cert-rotator/two` are of one family,
/// `spiffe://prod.example.org/agent/cert-rotator` is its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Family(SpiffeId);

impl Family {
    const LEAST_SEGMENTS: usize = 2;

    /// The family of an agent.
    #[must_use]
    pub fn of(agent: &SpiffeId) -> Self {
        let segments = agent.path().split('/').filter(|segment| !segment.is_empty()).count();
        let parent = agent.as_str().rsplit_once('/').map(|(parent, _)| parent);
        match parent.and_then(|parent| parent.parse().ok()) {
            Some(parent) if segments > Self::LEAST_SEGMENTS => Self(parent),
            Some(_) | None => Self(agent.clone()),
        }
    }

    /// The part that all of its agents share.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether an agent is of it.
    #[must_use]
    pub fn has(&self, agent: &SpiffeId) -> bool {
        Self::of(agent) == *self
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As it is written, or as a pattern that ends with `/*`. An agent's own id is not its family.
impl FromStr for Family {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        text.strip_suffix("/*").unwrap_or(text).parse().map(Self)
    }
}
