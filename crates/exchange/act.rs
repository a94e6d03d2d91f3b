//! Delegation: who acts for whom (`act`, RFC 8693 §4.1), and who may (`may_act`, §4.4).
//!
//! A chain begins at a root, which never changes, and ends at the holder of the token. Of `act` only the outermost member
//! counts for access; the inner ones are information. Deliberately absent: `exp`, `nbf` and `aud` inside of `act`, where
//! they have no meaning, and actors that are no agents.

use std::{collections::BTreeSet, fmt, str::FromStr};

use marque_intent::{Denial, DenialCode};
use marque_spiffe::{SpiffeId, SpiffeIdError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{TokenRecord, authentication::Authentication};

/// How deep `act` may nest.
pub const MAX_ACT_DEPTH: usize = 8;
/// The largest `act`, in bytes of JSON.
pub const MAX_ACT_BYTES: usize = 8 * 1024;

/// On whose behalf everything along a chain happens: the claim `sub`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// An agent that acts for itself.
    Agent(SpiffeId),
    /// A person, as `<name of the issuer>:<sub of the ID token>`.
    Person(String),
}

impl Principal {
    /// The value of `sub`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Agent(id) => id.as_str(),
            Self::Person(name) => name,
        }
    }
}

impl FromStr for Principal {
    type Err = SpiffeIdError;

    /// What begins like a SPIFFE ID is one or nothing.
    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let spiffe = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"));
        if spiffe || !text.contains(':') {
            text.parse().map(Self::Agent)
        } else {
            Ok(Self::Person(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = SpiffeIdError;

    fn try_from(text: String) -> Result<Self, SpiffeIdError> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.as_str().to_owned()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The claim `act`: the agent that acts, and inside of it those that acted before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The agent.
    pub sub: SpiffeId,
    /// Who vouches for it: the issuer of the token.
    pub iss: String,
    /// The one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Self>>,
}

/// The claim `may_act`: whom the subject lets act for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MayAct(Map<String, Value>);

impl MayAct {
    /// Lets one agent act, as `issuer` names it.
    pub fn agent(agent: &SpiffeId, issuer: &str) -> Self {
        let members = [("sub", agent.as_str()), ("iss", issuer)];
        Self(members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }

    /// Whether this agent may act. Every member has to fit; one that nobody here knows fits nobody.
    pub fn permits(&self, agent: &SpiffeId, issuer: &str) -> bool {
        let fits = |(name, value): (&String, &Value)| match name.as_str() {
            "sub" | "client_id" => value.as_str() == Some(agent.as_str()),
            "iss" => value.as_str() == Some(issuer),
            _ => false,
        };
        self.0.contains_key("sub") && self.0.iter().all(fits)
    }
}

/// A root and the agents through whose hands a token went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    root: Principal,
    holder: SpiffeId,
    /// Newest first.
    through: Vec<SpiffeId>,
    /// How the person at its root logged in.
    authentication: Authentication,
}

impl Chain {
    /// An agent that acts for itself.
    pub(crate) fn of_agent(agent: SpiffeId) -> Self {
        Self::of(Principal::Agent(agent.clone()), agent, Vec::new())
    }

    /// An agent that acts for a person.
    pub(crate) const fn of_person(person: String, agent: SpiffeId) -> Self {
        Self::of(Principal::Person(person), agent, Vec::new())
    }

    /// The chain of a token that is kept.
    pub(crate) fn of_token(root: Principal, record: &TokenRecord) -> Self {
        Self::of(root, record.client.clone(), record.through.clone())
    }

    const fn of(root: Principal, holder: SpiffeId, through: Vec<SpiffeId>) -> Self {
        Self { root, holder, through, authentication: Authentication::UNSAID }
    }

    /// The same, of somebody who logged in like this.
    pub(crate) fn authenticated(self, authentication: Authentication) -> Self {
        Self { authentication, ..self }
    }

    /// How the person at its root logged in.
    pub(crate) const fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// The value of `sub`.
    pub(crate) const fn root(&self) -> &Principal {
        &self.root
    }

    /// The person on whose behalf it is, if there is one.
    pub(crate) const fn person(&self) -> Option<&str> {
        match &self.root {
            Principal::Person(person) => Some(person.as_str()),
            Principal::Agent(_) => None,
        }
    }

    /// Who holds the token.
    pub(crate) const fn holder(&self) -> &SpiffeId {
        &self.holder
    }

    /// Who held those that it derives from, the newest first.
    pub(crate) fn through(&self) -> &[SpiffeId] {
        &self.through
    }

    /// How often it was delegated.
    pub(crate) fn delegations(&self) -> usize {
        self.through.len()
    }

    /// The chain after a delegation to `actor`.
    pub(crate) fn delegated(&self, actor: SpiffeId, issuer: &str) -> Result<Self, Denial> {
        let through = std::iter::once(&self.holder).chain(&self.through).cloned().collect();
        let next =
            Self::of(self.root.clone(), actor, through).authenticated(self.authentication.clone());
        let mut seen = BTreeSet::from([&next.holder]);
        if !next.through.iter().all(|agent| seen.insert(agent)) {
            return Err(Denial::new(
                DenialCode::ChainInvalid,
                "an agent would be in the chain twice",
            ));
        }
        let bytes = serde_json::to_vec(&next.act(issuer)).map_or(usize::MAX, |json| json.len());
        if next.acting().count() > MAX_ACT_DEPTH || bytes > MAX_ACT_BYTES {
            return Err(Denial::new(
                DenialCode::ChainTooDeep,
                format!("act would be {} deep and of {bytes} bytes", next.acting().count()),
            ));
        }
        Ok(next)
    }

    /// The claim `act`; none where the root itself holds the token.
    pub(crate) fn act(&self, issuer: &str) -> Option<Act> {
        let oldest_first = self.acting().collect::<Vec<_>>().into_iter().rev();
        oldest_first.fold(None, |act, agent| {
            Some(Act { sub: agent.clone(), iss: issuer.to_owned(), act: act.map(Box::new) })
        })
    }

    /// Those who act for the root, the newest first.
    fn acting(&self) -> impl Iterator<Item = &SpiffeId> {
        let all = self.through.len() + 1;
        let roots = usize::from(matches!(self.root, Principal::Agent(_)));
        std::iter::once(&self.holder).chain(&self.through).take(all - roots)
    }
}

#[cfg(test)]
mod tests;
