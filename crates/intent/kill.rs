//! The kill switch: who is stopped, how far, and the epoch that rises with every kill and every lift (specs/intents.md 8).
//!
//! A kill stops what is in its scope at once, and everything that descends from it. Absent: who may order one, and how a
//! kill travels.

mod mode;
mod order;
mod scope;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;

use crate::denial::DenialCode;
use crate::digest::Digest;
use crate::grant::Grant;
use crate::id::IntentId;
use crate::parent::ParentIntent;
use crate::playbook::PlaybookId;
use crate::rights::{Label, ToolId};

pub use self::mode::{KillMode, KillModeError, StopPoint};
pub use self::order::{Kill, KillId, KillIdError, KillOrder, KillRecord, Lift, NewKill, NewLift};
pub use self::scope::{
    KillName, KillScope, KillScopeError, MAX_KILL_NAME, PlaybookVersion, SelectorSyntaxError,
    ToolScope,
};

/// What the registry knows of agents and a kill may go by.
pub trait Agents: Debug + Send + Sync {
    /// Whether this person answers for the agent.
    fn has_sponsor(&self, agent: &SpiffeId, sponsor: &str) -> bool;

    /// Whether the agent is of this build.
    fn is_of_build(&self, agent: &SpiffeId, build: &Digest) -> bool;

    /// Every agent that is of the sponsor or the build of a scope now; nobody for a scope that goes by neither.
    fn within(&self, scope: &KillScope) -> BTreeSet<SpiffeId>;
}

/// A token, as far as a kill may go by it.
#[derive(Debug, Clone, Copy)]
pub struct CredentialFacts<'a> {
    /// Its `jti`, and those of the tokens that it derives from.
    pub ids: &'a [&'a str],
    /// The thumbprints of the key that it is bound to, and of those of the tokens that it derives from.
    pub keys: &'a [&'a str],
    /// The person on whose behalf it is.
    pub delegator: Option<&'a str>,
    /// Who holds it, and whom it came through.
    pub holders: &'a [&'a SpiffeId],
}

/// Every kill that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KillState {
    /// Rises by one with every kill and every lift.
    pub epoch: u64,
    /// The kills that stand, oldest first, each as far as it still goes.
    pub kills: Vec<Kill>,
    /// Shared, because every transaction works on a state of its own.
    history: Arc<Vec<KillRecord>>,
    agents: Directory,
}

/// Which is no part of what a state says.
#[derive(Debug, Clone, Default)]
struct Directory(Option<Arc<dyn Agents>>);

impl PartialEq for Directory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Directory {}

impl KillState {
    /// The state after one more kill.
    #[must_use]
    pub fn after(&self, order: NewKill, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.take(KillOrder::Kill(order), now);
        next
    }

    /// Takes up one more order, which begins an epoch; what became of it.
    pub fn take(&mut self, order: KillOrder, at: Timestamp) -> KillRecord {
        self.epoch = self.epoch.saturating_add(1);
        let record = order.record(at, self.epoch);
        match &record {
            KillRecord::Kill(kill) => {
                let mut kill = kill.clone();
                // What was lifted stays so, should the two come in the other order after a fail-over.
                if self.relax(&mut kill) {
                    self.kills.push(kill);
                }
            }
            KillRecord::Lift(lift) => match lift.to {
                None => self.kills.retain(|kill| kill.id() != lift.lifts),
                Some(to) => {
                    let lifted = self.kills.iter_mut().filter(|kill| kill.id() == lift.lifts);
                    lifted.for_each(|kill| kill.mode = to);
                }
            },
        }
        Arc::make_mut(&mut self.history).push(record.clone());
        record
    }

    /// Applies the lifts that there are of a kill; whether it still stands.
    fn relax(&self, kill: &mut Kill) -> bool {
        let lifts = self.history.iter().filter_map(|record| match record {
            KillRecord::Lift(lift) => Some(lift),
            KillRecord::Kill(_) => None,
        });
        let mut id = None;
        for lift in lifts {
            if *id.get_or_insert_with(|| kill.id()) == lift.lifts {
                match lift.to {
                    Some(to) => kill.mode = to,
                    None => return false,
                }
            }
        }
        true
    }

    /// Every kill and every lift, in the order of their epochs.
    #[must_use]
    pub fn history(&self) -> &[KillRecord] {
        &self.history
    }

    /// The kill of this id, if it stands.
    #[must_use]
    pub fn find(&self, id: &KillId) -> Option<&Kill> {
        self.kills.iter().find(|kill| kill.id() == *id)
    }

    /// The state if this kill were the only one.
    #[must_use]
    pub fn only(&self, kill: &Kill) -> Self {
        let (kills, history) = (vec![kill.clone()], Arc::default());
        Self { epoch: self.epoch, kills, history, agents: self.agents.clone() }
    }

    /// The state with what the registry knows of agents.
    #[must_use]
    pub fn with_agents(mut self, agents: Option<Arc<dyn Agents>>) -> Self {
        self.agents = Directory(agents);
        self
    }

    /// Whether a token may be stopped that was not when it was issued under these very kills: a kill stops its use alone, or
    /// goes by what a registration entry says of its agent now.
    #[must_use]
    pub fn may_stop_what_was_issued_since(&self) -> bool {
        self.kills.iter().filter(|kill| kill.mode.stops(StopPoint::Use)).any(|kill| {
            kill.mode == KillMode::StopUse
                || matches!(kill.scope, KillScope::Sponsor(_) | KillScope::Build(_))
        })
    }

    /// The code of the widest kill that stops this grant at this point, or one of those that it descends from.
    #[must_use]
    pub fn stops_grant(&self, grant: &Grant, point: StopPoint) -> Option<DenialCode> {
        self.widest(point, |kill| {
            let scope = &kill.scope;
            Links::of(grant).any(|link| self.stops_link(kill, &link))
                || matches!(scope, KillScope::Tenant(tenant) if tenant.as_str() == grant.tenant)
                || matches!(scope, KillScope::Sponsor(sponsor) if sponsored(grant, sponsor))
        })
    }

    /// The code of the widest kill that stops this agent at this point.
    #[must_use]
    pub fn stops_agent(&self, agent: &SpiffeId, point: StopPoint) -> Option<DenialCode> {
        self.widest(point, |kill| self.has_agent(kill, agent))
    }

    /// The code of the widest kill that stops this token at this point. Its grant is looked at by [`Self::stops_grant`].
    #[must_use]
    pub fn stops_credential(
        &self,
        facts: &CredentialFacts<'_>,
        point: StopPoint,
    ) -> Option<DenialCode> {
        self.widest(point, |kill| match &kill.scope {
            KillScope::Credential(id) => facts.ids.contains(&id.as_str()),
            KillScope::Key(key) => facts.keys.contains(&key.as_str()),
            KillScope::Delegator(person) => facts.delegator == Some(person.as_str()),
            _ => facts.holders.iter().any(|agent| self.has_agent(kill, agent)),
        })
    }

    /// The builds that are stopped at this point.
    pub fn builds(&self, point: StopPoint) -> impl Iterator<Item = &Digest> {
        let at = self.kills.iter().filter(move |kill| kill.mode.stops(point));
        at.filter_map(|kill| match &kill.scope {
            KillScope::Build(build) => Some(build),
            _ => None,
        })
    }

    fn widest(&self, point: StopPoint, stops: impl Fn(&Kill) -> bool) -> Option<DenialCode> {
        let kills = self.kills.iter().filter(|kill| kill.mode.stops(point));
        kills.filter(|kill| stops(kill)).map(|kill| &kill.scope).max().map(KillScope::code)
    }

    fn stops_link(&self, kill: &Kill, link: &Links<'_>) -> bool {
        match &kill.scope {
            KillScope::Grant(id) => id == link.id,
            KillScope::Task(task) => link.task == Some(task),
            KillScope::Session(session) => link.session == Some(session),
            KillScope::Playbook(playbook) => playbook == link.playbook,
            KillScope::PlaybookVersion(one) => {
                one.id == *link.playbook && link.version == Some(one.version)
            }
            KillScope::Tool(tool) => link.tools.iter().any(|permitted| tool.has(permitted)),
            _ => self.has_agent(kill, link.agent),
        }
    }

    fn has_agent(&self, kill: &Kill, agent: &SpiffeId) -> bool {
        if kill.hits.contains(agent) {
            return true;
        }
        let Directory(known) = &self.agents;
        let known = known.as_deref();
        match &kill.scope {
            KillScope::Agent(stopped) => stopped == agent,
            KillScope::Sponsor(sponsor) => {
                known.is_some_and(|known| known.has_sponsor(agent, sponsor.as_str()))
            }
            KillScope::Build(build) => known.is_some_and(|known| known.is_of_build(agent, build)),
            KillScope::TrustDomain | KillScope::All => true,
            KillScope::Credential(_)
            | KillScope::Key(_)
            | KillScope::Grant(_)
            | KillScope::Task(_)
            | KillScope::Session(_)
            | KillScope::PlaybookVersion(_)
            | KillScope::Playbook(_)
            | KillScope::Tool(_)
            | KillScope::Delegator(_)
            | KillScope::Tenant(_) => false,
        }
    }
}

/// Who answered for the agent when it asked, where the log has to say so.
fn sponsored(grant: &Grant, sponsor: &KillName) -> bool {
    grant.conditions.provisions.sponsor.as_deref() == Some(sponsor.as_str())
}

/// A grant, or one above it, as far as a kill may go by it.
struct Links<'a> {
    id: &'a IntentId,
    agent: &'a SpiffeId,
    playbook: &'a PlaybookId,
    /// Not of one above that was granted before this was pinned.
    version: Option<u64>,
    session: Option<&'a Label>,
    task: Option<&'a Label>,
    tools: BTreeSet<&'a ToolId>,
}

impl<'a> Links<'a> {
    fn of(grant: &'a Grant) -> impl Iterator<Item = Self> {
        let own = Self {
            id: &grant.intent_id,
            agent: &grant.agent,
            playbook: &grant.playbook.id,
            version: Some(grant.playbook.version),
            session: grant.session.as_ref(),
            task: grant.task.as_ref(),
            tools: grant.tools.keys().collect(),
        };
        let above = grant.parent.iter().flat_map(ParentIntent::chain).map(|one| Self {
            id: &one.id,
            agent: &one.agent,
            playbook: &one.playbook,
            version: one.version,
            session: one.session.as_ref(),
            task: one.task.as_ref(),
            tools: one.tools.iter().collect(),
        });
        std::iter::once(own).chain(above)
    }
}

#[cfg(test)]
mod tests;
