//! An intent as it stands, with what an approver is told beside it: whether they may approve, and what the agent may do
//! already.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_intent::{Decider, Denial, GroupName, Intent, IntentId, Scope, ToolId};

use crate::irrevocable::Irrevocable;

/// An intent as it stands.
#[derive(Debug, Clone)]
pub struct Told {
    /// The intent.
    pub intent: Intent,
    /// Who answers for the agent, as far as it has an entry.
    pub owner: Option<String>,
    /// Whether whoever asks may approve it; only where it waits, and somebody asks for a review.
    pub you: Option<Eligibility>,
    /// What the agent may do already; only in a review.
    pub held: Option<Held>,
    /// Where its tokens stay good whatever is done.
    pub irrevocable: Option<Irrevocable>,
}

/// Whether somebody may approve, and why.
#[derive(Debug, Clone)]
pub struct Eligibility {
    /// The groups that they are in now.
    pub groups: BTreeSet<GroupName>,
    /// Why they may not.
    pub refused: Option<Denial>,
}

/// What an agent may do by grants that it has, whether it uses them or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The grants.
    pub intents: Vec<IntentId>,
    /// Whom it may speak to.
    pub audiences: BTreeSet<String>,
    /// Its scopes.
    pub scopes: BTreeSet<Scope>,
    /// What it may touch.
    pub resources: BTreeSet<String>,
    /// The tools that it may call.
    pub tools: BTreeSet<ToolId>,
}

impl Eligibility {
    /// Of somebody at the level at which the intent waits.
    pub(super) fn of(intent: &Intent, level: usize, decider: &Decider, now: Timestamp) -> Self {
        let refused = intent.may_approve_now(decider, level, now).err();
        Self { groups: decider.groups.clone(), refused }
    }
}

impl Held {
    pub(super) fn of(grants: &[Intent]) -> Self {
        let mut held = Self::default();
        for intent in grants {
            let grant = intent.grant();
            held.intents.push(intent.id().clone());
            held.audiences.extend(grant.audiences.iter().cloned());
            held.scopes.extend(grant.scopes.iter().cloned());
            held.resources.extend(grant.resources.iter().cloned());
            held.tools.extend(grant.tools.keys().cloned());
        }
        held
    }
}
