//! Who approves, and what an approval is bound to.
//!
//! An approver is a principal of its own: nothing here turns a SPIFFE ID into one. How a grant is approved is its
//! [`ApprovalPlan`]: levels one after the other, and in each of them rules of which one is enough. Absent: how an approver
//! proves who it is, which the edges do before they build a [`Decider`].

mod decider;
mod fatigue;
mod mfa;
mod plan;
mod principal;
mod progress;
mod reach;
mod refusal;
mod roster;
mod rule;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::decider::{Decider, Objection};
pub(crate) use self::fatigue::MAX_WAITING;
pub use self::fatigue::{
    ApprovalLimits, ApprovalQueue, DecisionMark, DecisionRecord, DecisionSummary, RUBBER_STAMP_MS,
};
pub use self::mfa::{MFA_MAX_AGE, MfaEvidence, MfaMethod};
pub use self::plan::{
    ApprovalLevel, ApprovalPlan, Exclusion, MAX_ALTERNATIVES, MAX_LEVELS, PlanError,
    UnknownExclusion,
};
pub use self::principal::{Principal, PrincipalError, PrincipalKind};
pub use self::reach::KnownApprovers;
pub use self::refusal::{DenyReason, UnknownDenyReason};
pub use self::roster::{Roster, RosterFinding, Rosters};
pub use self::rule::ApprovalRule;
use crate::digest::Digest;

/// The group of every local operator.
pub const OPERATORS: &str = "operators";
/// The most approvals that a playbook may ask for.
pub const MAX_APPROVALS: u32 = 16;
const MAX_NAME_LEN: usize = 256;

/// A person who may approve. It is never built from a SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Approver {
    /// A local user whom the trust domain's document names as an operator.
    Operator {
        /// The user's number, which is who it is.
        uid: u32,
        /// The user's name, for people to read.
        user: String,
    },
    /// Somebody who logged in.
    Person(Person),
}

impl Approver {
    /// Whether both are the same person, whatever they are called.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Operator { uid: one, .. }, Self::Operator { uid: two, .. }) => one == two,
            (Self::Person(one), Self::Person(two)) => one == two,
            (Self::Operator { .. }, Self::Person(_)) | (Self::Person(_), Self::Operator { .. }) => {
                false
            }
        }
    }
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator { uid, user } => write!(f, "operator:{user}({uid})"),
            Self::Person(person) => write!(f, "person:{}#{}", person.issuer, person.subject),
        }
    }
}

/// Somebody who logged in at an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "PersonParts", into = "PersonParts")]
pub struct Person {
    issuer: String,
    subject: String,
}

/// A person's issuer and subject do not name a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PersonError {
    /// The issuer is no `https` URL.
    #[error("a person's issuer is an https URL of at most 256 bytes")]
    Issuer,
    /// The subject is empty, too long or not printable.
    #[error("a person's subject has 1 to 256 printable characters")]
    Subject,
    /// A workload is not a person.
    #[error("a workload identity is never an approver")]
    Workload,
}

impl Person {
    /// A person by login.
    ///
    /// # Errors
    /// Either part does not name a person; a SPIFFE ID names a workload.
    pub fn new(issuer: &str, subject: &str) -> Result<Self, PersonError> {
        if [issuer, subject].iter().any(|part| part.to_ascii_lowercase().contains("spiffe://")) {
            return Err(PersonError::Workload);
        }
        if !issuer.starts_with("https://") || issuer.len() > MAX_NAME_LEN || !is_graphic(issuer) {
            return Err(PersonError::Issuer);
        }
        if subject.is_empty()
            || subject.len() > MAX_NAME_LEN
            || subject.chars().any(char::is_control)
        {
            return Err(PersonError::Subject);
        }
        Ok(Self { issuer: issuer.to_owned(), subject: subject.to_owned() })
    }

    /// The identity provider.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The person, by the identity provider's stable name.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonParts {
    issuer: String,
    subject: String,
}

impl TryFrom<PersonParts> for Person {
    type Error = PersonError;

    fn try_from(PersonParts { issuer, subject }: PersonParts) -> Result<Self, PersonError> {
        Self::new(&issuer, &subject)
    }
}

impl From<Person> for PersonParts {
    fn from(Person { issuer, subject }: Person) -> Self {
        Self { issuer, subject }
    }
}

/// A group of approvers: 1 to 63 of `a-z 0-9 - _ .`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

/// The text is not the name of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group's name has 1 to 63 of the characters `a-z`, `0-9`, `-`, `_` and `.`")]
pub struct GroupNameError;

impl GroupName {
    /// The group's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = GroupNameError;

    fn from_str(text: &str) -> Result<Self, GroupNameError> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if (1..=63).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(GroupNameError)
        }
    }
}

impl TryFrom<String> for GroupName {
    type Error = GroupNameError;

    fn try_from(text: String) -> Result<Self, GroupNameError> {
        text.parse()
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One approver's word for one grant, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    approver: Approver,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    groups: BTreeSet<GroupName>,
    digest: Digest,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    known_as: BTreeSet<Principal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mfa: Option<MfaEvidence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(default, skip_serializing_if = "is_first")]
    level: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
}

impl Approval {
    /// An approval of the grant with this digest, by somebody of whom nothing else is known.
    #[must_use]
    pub fn new(approver: Approver, digest: Digest, at: Timestamp) -> Self {
        Self::by(Decider::from(approver), digest, at)
    }

    /// An approval of the grant with this digest.
    #[must_use]
    pub fn by(decider: Decider, digest: Digest, at: Timestamp) -> Self {
        let Decider { approver, groups, known_as, mfa, client } = decider;
        Self { approver, groups, digest, at, known_as, mfa, client, level: 0, took_ms: None }
    }

    /// Names the groups that the edge found the approver in.
    #[must_use]
    pub fn in_groups(mut self, groups: impl IntoIterator<Item = GroupName>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// Says how long the approver had it before their eyes, in milliseconds.
    #[must_use]
    pub const fn after(mut self, took_ms: Option<u64>) -> Self {
        self.took_ms = took_ms;
        self
    }

    /// The same word for another grant.
    #[must_use]
    pub(crate) fn of(mut self, digest: Digest) -> Self {
        self.digest = digest;
        self
    }

    /// The same word, counted at this level.
    #[must_use]
    pub(crate) const fn at_level(mut self, level: usize) -> Self {
        self.level = level;
        self
    }

    /// Who approved, with all that was known of them.
    #[must_use]
    pub fn decider(&self) -> Decider {
        let Self { approver, groups, known_as, mfa, client, .. } = self.clone();
        Decider { approver, groups, known_as, mfa, client }
    }

    /// Who approved.
    #[must_use]
    pub const fn approver(&self) -> &Approver {
        &self.approver
    }

    /// The groups that the approver was in.
    #[must_use]
    pub const fn groups(&self) -> &BTreeSet<GroupName> {
        &self.groups
    }

    /// What was approved.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// When.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// How the approver had shown more than one factor, if they had.
    #[must_use]
    pub const fn mfa(&self) -> Option<&MfaEvidence> {
        self.mfa.as_ref()
    }

    /// What they used.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// The level of the plan that it counts at, from 0.
    #[must_use]
    pub const fn level(&self) -> usize {
        self.level
    }

    /// How long the approver had it before their eyes, in milliseconds, where that is known.
    #[must_use]
    pub const fn took_ms(&self) -> Option<u64> {
        self.took_ms
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_first(level: &usize) -> bool {
    *level == 0
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(uid: u32, user: &str) -> Approver {
        Approver::Operator { uid, user: user.to_owned() }
    }

    #[test]
    fn an_operator_is_known_by_number_and_not_by_name() {
        assert!(operator(1000, "alice").is(&operator(1000, "root")));
        assert!(!operator(1000, "alice").is(&operator(1001, "alice")));
    }

    #[test]
    fn a_workload_is_never_a_person() {
        for (issuer, subject) in [
            ("https://idp.example.org", "spiffe://prod.example.org/agent/a"),
            ("spiffe://prod.example.org", "a"),
            ("https://idp.example.org", "SPIFFE://prod.example.org/agent/a"),
        ] {
            assert_eq!(Person::new(issuer, subject), Err(PersonError::Workload));
        }
        assert!(Person::new("https://idp.example.org", "248289761001").is_ok());
        assert_eq!(Person::new("http://idp.example.org", "1"), Err(PersonError::Issuer));
        assert_eq!(Person::new("https://idp.example.org", ""), Err(PersonError::Subject));
        let smuggled = serde_json::json!({"kind": "person", "issuer": "https://idp.example.org", "subject": "spiffe://a/b"});
        assert!(serde_json::from_value::<Approver>(smuggled).is_err());
    }

    #[test]
    fn a_group_name_has_its_limits() {
        assert!("a".repeat(63).parse::<GroupName>().is_ok());
        for bad in ["", "A", "a b", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<GroupName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_approver_reads_back_from_json() {
        let person = Approver::Person(Person::new("https://idp.example.org", "1").unwrap());
        for approver in [operator(1000, "alice"), person] {
            let json = serde_json::to_string(&approver).unwrap();
            assert_eq!(serde_json::from_str::<Approver>(&json).unwrap(), approver);
        }
    }
}
