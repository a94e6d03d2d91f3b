//! Somebody who approves or refuses, with what the edge found out about them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Approver, GroupName, MfaEvidence, OPERATORS, Principal, PrincipalKind};
use crate::digest::Digest;
use crate::text::Reason;

/// Somebody who decides about a grant. The edge that knows them says the rest: it is true at the instant of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decider {
    /// Who.
    pub approver: Approver,
    /// The groups that they are in now: by the trust domain's document, its rosters, or their identity provider.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// What else they are called, so that nobody counts twice or approves their own: beside the names that the approver
    /// has by itself ([`Approver::names`]).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub known_as: BTreeSet<Principal>,
    /// How they have shown more than one factor, if they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa: Option<MfaEvidence>,
    /// What they use, for the record, such as `admin socket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Decider {
    /// Every name that they have.
    #[must_use]
    pub fn names(&self) -> BTreeSet<Principal> {
        self.approver.names().into_iter().chain(self.known_as.iter().cloned()).collect()
    }

    /// The one name under which what they do is counted, whichever door they came through. It does not change: the number
    /// of the local user that they are, the lowest if they are several, or else issuer and subject of their login.
    #[must_use]
    pub fn key(&self) -> String {
        let linked = self.known_as.iter().filter(|name| name.kind() == PrincipalKind::Uid);
        let numbers = linked.filter_map(|name| name.name().parse::<u32>().ok());
        let own = match &self.approver {
            Approver::Operator { uid, .. } => Some(*uid),
            Approver::Person(_) => None,
        };
        match numbers.chain(own).min() {
            Some(uid) => format!("uid:{uid}"),
            None => self.approver.to_string(),
        }
    }

    /// Whether they are in the group; a local operator is always in [`OPERATORS`].
    #[must_use]
    pub fn is_in(&self, group: &GroupName) -> bool {
        let local = matches!(self.approver, Approver::Operator { .. });
        self.groups.contains(group) || (local && group.as_str() == OPERATORS)
    }

    /// Whether the name is theirs, or that of a group that they are in.
    #[must_use]
    pub fn is_named(&self, name: &Principal) -> bool {
        match name.kind() {
            PrincipalKind::Group => {
                name.name().parse().is_ok_and(|group: GroupName| self.is_in(&group))
            }
            PrincipalKind::User
            | PrincipalKind::Uid
            | PrincipalKind::Person
            | PrincipalKind::Email => self.names().iter().any(|own| own.is(name)),
        }
    }

    /// Whether both are the same human being, whichever door they came through.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let (own, theirs) = (self.names(), other.names());
        let shared = own.iter().any(|one| theirs.iter().any(|other| one.is(other)));
        self.approver.is(&other.approver) || shared
    }
}

impl From<Approver> for Decider {
    fn from(approver: Approver) -> Self {
        Self {
            approver,
            groups: BTreeSet::new(),
            known_as: BTreeSet::new(),
            mfa: None,
            client: None,
        }
    }
}

/// One approver's refusal of one grant, by its digest. It ends the intent once a rule's `deny` is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objection {
    /// Who.
    pub decider: Decider,
    /// Why.
    pub reason: Reason,
    /// What was refused.
    pub digest: Digest,
    /// When.
    pub at: Timestamp,
}
