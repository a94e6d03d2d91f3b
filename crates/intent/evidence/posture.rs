//! Posture: how alert operators or guardians are about an agent, a playbook or the whole trust domain (M 39, M 92).
//!
//! A signal only ever raises: the highest that holds counts, and one that ends by itself says when. Absent: storage.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use crate::playbook::PlaybookId;
use crate::text::Reason;

/// How alert somebody is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Posture {
    /// Nothing out of the ordinary.
    #[default]
    Normal,
    /// Something is worth watching.
    Elevated,
    /// Something is wrong.
    High,
    /// Nothing new is to begin, and what runs is to stop.
    Critical,
}

/// The text is no posture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a posture is `normal`, `elevated`, `high` or `critical`")]
pub struct PostureError;

impl Posture {
    /// Every posture, lowest first.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Elevated, Self::High, Self::Critical];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// As a number: 0 to 3.
    #[must_use]
    pub const fn level(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::Elevated => 1,
            Self::High => 2,
            Self::Critical => 3,
        }
    }

    /// Whether it is the ordinary one.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Posture {
    type Err = PostureError;

    fn from_str(text: &str) -> Result<Self, PostureError> {
        Self::ALL.into_iter().find(|posture| posture.as_str() == text).ok_or(PostureError)
    }
}

/// What a signal is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", content = "selector", rename_all = "snake_case", deny_unknown_fields)]
pub enum PostureScope {
    /// One agent.
    Agent(SpiffeId),
    /// One playbook, in any version.
    Playbook(PlaybookId),
    /// The whole trust domain.
    TrustDomain,
}

impl PostureScope {
    fn covers(&self, agent: &SpiffeId, playbook: &PlaybookId) -> bool {
        match self {
            Self::Agent(one) => one == agent,
            Self::Playbook(one) => one == playbook,
            Self::TrustDomain => true,
        }
    }
}

impl fmt::Display for PostureScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Playbook(id) => write!(f, "playbook {id}"),
            Self::TrustDomain => f.write_str("trust-domain"),
        }
    }
}

/// A signal that somebody set. One for each scope stands: the next takes the place of the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostureSignal {
    /// What it is about.
    pub scope: PostureScope,
    /// How alert; [`Posture::Normal`] takes an earlier signal back.
    pub posture: Posture,
    /// Why, in a person's words.
    pub reason: Reason,
    /// Who set it.
    pub actor: String,
    /// Since when.
    pub at: Timestamp,
    /// When it ends by itself; absent if somebody has to end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl PostureSignal {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        !self.posture.is_normal() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Every signal that was set and not taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PostureState(Vec<PostureSignal>);

impl PostureState {
    /// These signals.
    #[must_use]
    pub const fn new(signals: Vec<PostureSignal>) -> Self {
        Self(signals)
    }

    /// The state with one more signal in the place of the last of its scope.
    #[must_use]
    pub fn after(&self, signal: PostureSignal) -> Self {
        let mut signals: Vec<PostureSignal> =
            self.0.iter().filter(|one| one.scope != signal.scope).cloned().collect();
        if !signal.posture.is_normal() {
            signals.push(signal);
        }
        Self(signals)
    }

    /// The signals, ended ones too.
    #[must_use]
    pub fn signals(&self) -> &[PostureSignal] {
        &self.0
    }

    /// The highest posture that holds for this agent in running this playbook.
    #[must_use]
    pub fn of(&self, agent: &SpiffeId, playbook: &PlaybookId, now: Timestamp) -> Posture {
        let holding = self.0.iter().filter(|signal| signal.holds(now));
        holding
            .filter(|signal| signal.scope.covers(agent, playbook))
            .map(|signal| signal.posture)
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(scope: PostureScope, posture: Posture, end: Option<&str>) -> PostureSignal {
        PostureSignal {
            scope,
            posture,
            reason: Reason::new("drill").unwrap(),
            actor: "operator:alice(1000)".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            expires_at: end.map(|end| end.parse().unwrap()),
        }
    }

    fn agent(name: &str) -> SpiffeId {
        format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
    }

    fn seen(state: &PostureState, name: &str, playbook: &str, now: &str) -> Posture {
        state.of(&agent(name), &playbook.parse().unwrap(), now.parse().unwrap())
    }

    const NOW: &str = "2026-03-10T09:00:00Z";

    #[test]
    fn the_highest_signal_that_holds_counts() {
        let state = [
            signal(PostureScope::TrustDomain, Posture::Elevated, None),
            signal(PostureScope::Agent(agent("a")), Posture::High, None),
            signal(PostureScope::Playbook("p".parse().unwrap()), Posture::Critical, Some(NOW)),
        ]
        .into_iter()
        .fold(PostureState::default(), |state, signal| state.after(signal));
        assert_eq!(seen(&state, "a", "p", "2026-03-10T08:59:59Z"), Posture::Critical);
        // It ends at its very end.
        assert_eq!(seen(&state, "a", "p", NOW), Posture::High);
        assert_eq!(seen(&state, "b", "q", NOW), Posture::Elevated);
        assert_eq!(seen(&PostureState::default(), "b", "q", NOW), Posture::Normal);
    }

    #[test]
    fn a_signal_takes_the_place_of_the_last_of_its_scope_and_normal_takes_it_back() {
        let high = signal(PostureScope::TrustDomain, Posture::High, None);
        let state = PostureState::default()
            .after(high.clone())
            .after(PostureSignal { posture: Posture::Elevated, ..high.clone() });
        assert_eq!((state.signals().len(), seen(&state, "a", "p", NOW)), (1, Posture::Elevated));
        let state = state.after(PostureSignal { posture: Posture::Normal, ..high });
        assert!(state.signals().is_empty());
    }

    #[test]
    fn a_posture_reads_back_by_its_name() {
        for posture in Posture::ALL {
            assert_eq!(posture.to_string().parse::<Posture>().unwrap(), posture);
        }
        assert!("calm".parse::<Posture>().is_err());
        assert!(Posture::ALL.is_sorted_by_key(|posture| posture.level()));
    }
}
