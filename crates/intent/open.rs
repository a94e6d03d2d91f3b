//! Grants that are open at once: what each counts against, how many there may be, and what storage tells of them (M 75).
//!
//! Open is what may still be used: pending, approved and active, and consumed as long as a token lives. Absent: engines.

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::denial::{Denial, DenialCode};
use crate::id::IntentId;
use crate::lifecycle::{Intent, State};
use crate::store::IntentStoreError;

/// How many names one overview may have.
pub const MAX_OPEN_NAMES: usize = 1000;

/// What open grants are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenBy {
    /// Their agent.
    Agent,
    /// The person on whose behalf a token of theirs was given.
    Delegator,
    /// A resource that they touch.
    Target,
}

impl OpenBy {
    /// Everything that they are counted by.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Delegator, Self::Target];

    /// The name in documents, storage and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Delegator => "delegator",
            Self::Target => "target",
        }
    }
}

/// The text is none of the things that open grants are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is `agent`, `delegator` or `target`")]
pub struct UnknownOpenBy;

impl std::str::FromStr for OpenBy {
    type Err = UnknownOpenBy;

    fn from_str(text: &str) -> Result<Self, UnknownOpenBy> {
        Self::ALL.into_iter().find(|by| by.as_str() == text).ok_or(UnknownOpenBy)
    }
}

/// One thing that open grants count against, such as one agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// What it is.
    pub by: OpenBy,
    /// Its name.
    pub name: String,
}

/// How many grants are open against one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCount {
    /// Its name.
    pub name: String,
    /// How many.
    pub grants: u64,
}

/// How many grants may be open at once; what is absent is not capped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Of one agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_agent: Option<u32>,
    /// On behalf of one person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_delegator: Option<u32>,
    /// Touching one resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_target: Option<u32>,
}

impl Caps {
    const fn of(&self, by: OpenBy) -> Option<u32> {
        match by {
            OpenBy::Agent => self.per_agent,
            OpenBy::Delegator => self.per_delegator,
            OpenBy::Target => self.per_target,
        }
    }
}

/// The caps that were in force when an intent was asked for: all of the trust domain's grants, and those of its playbook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapsInForce {
    /// Over all playbooks.
    #[serde(default)]
    pub trust_domain: Caps,
    /// Over the grants of its own playbook.
    #[serde(default)]
    pub playbook: Caps,
}

impl CapsInForce {
    /// Whether nothing is capped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether one more may be open against `holding`, of which so many are, and so many of the same playbook.
    ///
    /// # Errors
    /// `concurrent_grant_limit`.
    pub fn admit(&self, holding: &Holding, open: u32, of_playbook: u32) -> Result<(), Denial> {
        let capped = [
            (self.trust_domain.of(holding.by), open, "of the trust domain"),
            (self.playbook.of(holding.by), of_playbook, "of the playbook"),
        ];
        for (cap, open, whose) in capped {
            if let Some(cap) = cap.filter(|cap| open >= *cap) {
                let by = holding.by.as_str();
                let detail = format!("{open} grants {whose} are open for one {by}, at most {cap}");
                return Err(Denial::new(DenialCode::ConcurrentGrantLimit, detail));
            }
        }
        Ok(())
    }
}

impl Intent {
    /// What it counts against while it is open; nothing once it has ended.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        if self.state().is_terminal() {
            return Vec::new();
        }
        let holding = |by, name: &str| Holding { by, name: name.to_owned() };
        let targets: std::collections::BTreeSet<&String> = self.grant().resources.iter().collect();
        std::iter::once(holding(OpenBy::Agent, self.agent().as_str()))
            .chain(self.delegators_served().map(|person| holding(OpenBy::Delegator, person)))
            .chain(targets.into_iter().map(|target| holding(OpenBy::Target, target)))
            .collect()
    }

    /// Whether it ends with `parent`, which it was asked for under and which has ended: always where that was taken away,
    /// else where its playbook says so.
    #[must_use]
    pub fn ends_with(&self, parent: &Self) -> bool {
        let below = self
            .grant()
            .parent
            .as_ref()
            .is_some_and(|nearest| nearest.chain().any(|ancestor| ancestor.id == *parent.id()));
        let ended = parent.state().is_terminal() && !self.state().is_terminal();
        let taken = parent.state() == State::Revoked;
        below && ended && (taken || self.grant().conditions.ends.with_parent)
    }
}

/// What storage tells of open intents.
pub trait OpenIntents: std::fmt::Debug + Send + Sync {
    /// Intents of which a clock has run out and nobody has said so yet, at most so many.
    fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Intent>, IntentStoreError>>;

    /// Intents that have not ended, with one above them that has, at most so many: with the one above.
    fn orphans(
        &self,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Intent, Intent)>, IntentStoreError>>;

    /// How many are open now by agent, delegator or target, the most first.
    fn open_counts(
        &self,
        by: OpenBy,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OpenCount>, IntentStoreError>>;

    /// How many grants are open now that count against any of these names, without one intent's own; a thousand for each
    /// name are as good as more.
    fn open_for(
        &self,
        by: OpenBy,
        names: Vec<String>,
        without: Option<IntentId>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<u32, IntentStoreError>>;

    /// Every intent that has not ended and counts against one thing, at most [`crate::MAX_LISTED`].
    fn held(&self, holding: Holding) -> BoxFuture<'_, Result<Vec<Intent>, IntentStoreError>>;

    /// Every intent that has not ended, in the order of ids, after `after`, at most so many.
    fn unended(
        &self,
        after: Option<IntentId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<UnendedPage, IntentStoreError>>;
}

/// A part of all intents that have not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct UnendedPage {
    /// In the order of ids. One that ended while they were read is not among them, nor one that does not read.
    pub intents: Vec<Intent>,
    /// The last that was looked at, after which to go on; absent where there is nothing left.
    pub last: Option<IntentId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{approved, at, pending};

    fn agent(open: u32, of_playbook: u32) -> Result<(), Denial> {
        let caps = CapsInForce {
            trust_domain: Caps { per_agent: Some(3), ..Caps::default() },
            playbook: Caps { per_agent: Some(2), ..Caps::default() },
        };
        let holding = Holding { by: OpenBy::Agent, name: "a".to_owned() };
        caps.admit(&holding, open, of_playbook)
    }

    #[test]
    fn a_cap_is_reached_by_what_is_open_already() {
        assert!(agent(2, 1).is_ok());
        for (open, of_playbook) in [(3, 0), (2, 2)] {
            let refused = agent(open, of_playbook).unwrap_err();
            assert_eq!(refused.code(), DenialCode::ConcurrentGrantLimit);
        }
        let target = Holding { by: OpenBy::Target, name: "t".to_owned() };
        assert!(CapsInForce::default().admit(&target, u32::MAX, u32::MAX).is_ok());
    }

    #[test]
    fn an_open_intent_counts_against_its_agent_and_each_target_once() {
        let names = |intent: &Intent| -> Vec<&'static str> {
            intent.holdings().iter().map(|holding| holding.by.as_str()).collect()
        };
        assert_eq!(names(&pending(1, 1)), ["agent", "target"]);
        let (cancelled, _) = approved(1).cancel(approved(1).agent(), at(70)).unwrap();
        assert!(cancelled.holdings().is_empty());
        for by in OpenBy::ALL {
            assert_eq!(by.as_str().parse::<OpenBy>().unwrap(), by);
        }
        assert!("playbook".parse::<OpenBy>().is_err());
    }
}
