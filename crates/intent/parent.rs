//! The chain of intent: from which live intent of another agent a grant was asked for (M 23).
//!
//! A grant pins every intent above it by digest, nearest first, so that whoever approves or uses it sees the whole chain
//! and none of it can be exchanged later. Absent: whether those intents are still live, which the store looks at in the
//! transaction that counts.

use std::collections::BTreeSet;

use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::grant::Grant;
use crate::id::IntentId;
use crate::playbook::PlaybookId;
use crate::rights::{Label, ToolId};

/// The intent that a grant descends from, with all above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentIntent {
    /// The intent.
    pub id: IntentId,
    /// The digest of its grant.
    pub digest: Digest,
    /// Its agent, who asked for the one below.
    pub agent: SpiffeId,
    /// Its playbook.
    pub playbook: PlaybookId,
    /// The playbook's version. What was pinned before this was kept has none, nor any of the following.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The session of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Label>,
    /// The task of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Label>,
    /// The tools that it permits.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tools: BTreeSet<ToolId>,
    /// The intent that it descends from itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<Self>>,
}

impl ParentIntent {
    /// The parent that this grant would be.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        Self {
            id: grant.intent_id.clone(),
            digest: *grant.digest(),
            agent: grant.agent.clone(),
            playbook: grant.playbook.id.clone(),
            version: Some(grant.playbook.version),
            session: grant.session.clone(),
            task: grant.task.clone(),
            tools: grant.tools.keys().cloned().collect(),
            parent: grant.parent.clone().map(Box::new),
        }
    }

    /// Every intent of the chain, the nearest first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |one| one.parent.as_deref())
    }
}
