//! The kill switch: who is stopped, and the epoch that rises with every kill (specs/intents.md 8).
//!
//! A kill stops the issuing and the use of every grant in its scope at once. Absent: undoing one; that will take two
//! people. Absent too: how a kill travels.

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use crate::denial::DenialCode;
use crate::grant::Grant;
use crate::parent::ParentIntent;
use crate::playbook::PlaybookId;
use crate::text::Reason;

/// Whom a kill stops, within one trust domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", content = "selector", rename_all = "snake_case", deny_unknown_fields)]
pub enum KillScope {
    /// One agent.
    Agent(SpiffeId),
    /// Every grant of one playbook, in any version.
    Playbook(PlaybookId),
    /// The whole trust domain.
    TrustDomain,
    /// Everything that this installation issues.
    All,
}

impl KillScope {
    /// The code that a stopped caller is told.
    #[must_use]
    pub const fn code(&self) -> DenialCode {
        match self {
            Self::Agent(_) => DenialCode::KillSwitchAgent,
            Self::Playbook(_) => DenialCode::KillSwitchPlaybook,
            Self::TrustDomain => DenialCode::KillSwitchTrustDomain,
            Self::All => DenialCode::KillSwitchGlobal,
        }
    }

    fn stops_agent(&self, agent: &SpiffeId) -> bool {
        match self {
            Self::Agent(stopped) => stopped == agent,
            Self::Playbook(_) => false,
            Self::TrustDomain | Self::All => true,
        }
    }

    fn stops_playbook(&self, playbook: &PlaybookId) -> bool {
        match self {
            Self::Playbook(stopped) => stopped == playbook,
            Self::Agent(_) => false,
            Self::TrustDomain | Self::All => true,
        }
    }
}

/// An order to stop somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKill {
    /// Whom.
    pub scope: KillScope,
    /// Why.
    pub reason: Reason,
    /// Who ordered it.
    pub actor: String,
}

/// An order that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Whom.
    pub scope: KillScope,
    /// Why.
    pub reason: Reason,
    /// Who ordered it.
    pub actor: String,
    /// Since when.
    pub at: Timestamp,
    /// The epoch that this kill began.
    pub epoch: u64,
}

/// Every kill that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillState {
    /// Rises by one with every kill.
    pub epoch: u64,
    /// The kills, oldest first.
    pub kills: Vec<Kill>,
}

impl KillState {
    /// The state after one more kill.
    #[must_use]
    pub fn after(&self, order: NewKill, now: Timestamp) -> Self {
        let epoch = self.epoch.saturating_add(1);
        let NewKill { scope, reason, actor } = order;
        let mut kills = self.kills.clone();
        kills.push(Kill { scope, reason, actor, at: now, epoch });
        Self { epoch, kills }
    }

    /// The code of the widest kill that stops this grant, or one of those that it descends from.
    #[must_use]
    pub fn stops_grant(&self, grant: &Grant) -> Option<DenialCode> {
        let above = grant.parent.iter().flat_map(ParentIntent::chain);
        self.stops(&grant.agent, Some(&grant.playbook.id))
            .or_else(|| above.filter_map(|one| self.stops(&one.agent, Some(&one.playbook))).next())
    }

    /// The code of the widest kill that stops this agent.
    #[must_use]
    pub fn stops_agent(&self, agent: &SpiffeId) -> Option<DenialCode> {
        self.stops(agent, None)
    }

    /// The code of the widest kill that would stop this agent in running this playbook.
    #[must_use]
    pub fn stops_request(&self, agent: &SpiffeId, playbook: &PlaybookId) -> Option<DenialCode> {
        self.stops(agent, Some(playbook))
    }

    fn stops(&self, agent: &SpiffeId, playbook: Option<&PlaybookId>) -> Option<DenialCode> {
        self.kills
            .iter()
            .map(|kill| &kill.scope)
            .filter(|scope| {
                scope.stops_agent(agent) || playbook.is_some_and(|id| scope.stops_playbook(id))
            })
            .max()
            .map(KillScope::code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(scopes: &[KillScope]) -> KillState {
        scopes.iter().fold(KillState::default(), |state, scope| {
            let order = NewKill {
                scope: scope.clone(),
                reason: Reason::new("drill").unwrap(),
                actor: "operator:alice(1000)".to_owned(),
            };
            state.after(order, Timestamp::UNIX_EPOCH)
        })
    }

    fn agent(name: &str) -> SpiffeId {
        format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
    }

    fn playbook(id: &str) -> PlaybookId {
        id.parse().unwrap()
    }

    #[test]
    fn a_killed_agent_is_stopped_and_its_neighbour_is_not() {
        let kills = state(&[KillScope::Agent(agent("one"))]);
        assert_eq!(kills.stops_agent(&agent("one")), Some(DenialCode::KillSwitchAgent));
        assert_eq!(kills.stops_agent(&agent("one-more")), None);
        assert_eq!(kills.stops_request(&agent("two"), &playbook("p")), None);
    }

    #[test]
    fn a_killed_playbook_stops_its_grants_and_no_agent() {
        let kills = state(&[KillScope::Playbook(playbook("p"))]);
        assert_eq!(
            kills.stops_request(&agent("one"), &playbook("p")),
            Some(DenialCode::KillSwitchPlaybook)
        );
        assert_eq!(kills.stops_request(&agent("one"), &playbook("q")), None);
        assert_eq!(kills.stops_agent(&agent("one")), None);
    }

    #[test]
    fn the_widest_kill_gives_the_code() {
        let kills = state(&[KillScope::TrustDomain, KillScope::Agent(agent("one"))]);
        assert_eq!(kills.stops_agent(&agent("one")), Some(DenialCode::KillSwitchTrustDomain));
        assert_eq!(kills.stops_agent(&agent("two")), Some(DenialCode::KillSwitchTrustDomain));
        for order in
            [[KillScope::All, KillScope::TrustDomain], [KillScope::TrustDomain, KillScope::All]]
        {
            assert_eq!(
                state(&order).stops_agent(&agent("two")),
                Some(DenialCode::KillSwitchGlobal)
            );
        }
    }

    #[test]
    fn a_kill_of_anybody_above_stops_what_descends() {
        let above = crate::fixtures::grant();
        let mut terms = above.terms().clone();
        terms.agent = agent("below");
        terms.playbook.id = playbook("other");
        terms.parent = Some(ParentIntent::of(&above));
        let below = Grant::seal(terms).unwrap();
        for scope in
            [KillScope::Agent(above.agent.clone()), KillScope::Playbook(above.playbook.id.clone())]
        {
            assert_eq!(state(std::slice::from_ref(&scope)).stops_grant(&below), Some(scope.code()));
        }
        assert_eq!(state(&[KillScope::Agent(agent("another"))]).stops_grant(&below), None);
    }

    #[test]
    fn every_kill_begins_an_epoch() {
        let kills = state(&[KillScope::All, KillScope::All]);
        assert_eq!(kills.epoch, 2);
        assert_eq!(kills.kills.iter().map(|kill| kill.epoch).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_state_reads_back_from_json() {
        let kills = state(&[
            KillScope::Agent(agent("one")),
            KillScope::Playbook(playbook("p")),
            KillScope::TrustDomain,
            KillScope::All,
        ]);
        let json = serde_json::to_string(&kills).unwrap();
        assert_eq!(serde_json::from_str::<KillState>(&json).unwrap(), kills);
    }
}
