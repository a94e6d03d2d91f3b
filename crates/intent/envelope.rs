//! The identity envelope: on whose behalf, in which session and task, for what purpose and with which tools and resources
//! an agent acts (M 12, M 16–18), as claims of an access token and as a document of its own.
//!
//! An envelope authorises asking a gateway; it opens nothing by itself and holds no credential of anything behind one.
//! Absent: when it ends, which a token says by `exp` and the document by `expires_at`, and whom it is shown to (`aud`).

mod claims;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

pub use self::claims::{Claimed, ClaimsError, RightsClaims};
use crate::grant::Grant;
use crate::rights::{ConstraintError, ConstraintValue, Constraints, Label, Rights, ToolId};

/// The claims of the envelope. Each is absent where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The person who delegated; absent where an agent acts for nobody but its registration.
    #[serde(
        default,
        deserialize_with = "marque_jose::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub delegator_id: Option<String>,
    /// The tenant's label.
    pub tenant_id: String,
    /// What the agent calls its session.
    #[serde(
        default,
        deserialize_with = "marque_jose::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub session_id: Option<Label>,
    /// What the agent calls its task.
    #[serde(
        default,
        deserialize_with = "marque_jose::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub task_id: Option<Label>,
    /// What it is for.
    #[serde(
        default,
        deserialize_with = "marque_jose::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub purpose: Option<String>,
    /// The tools that may be called, each written `server.name`. Absent, none may.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_tools: BTreeSet<ToolId>,
    /// What resources are narrowed to.
    #[serde(default, skip_serializing_if = "ResourceConstraints::is_empty")]
    pub resource_constraints: ResourceConstraints,
}

/// The member `resource_constraints`: the playbook's own constraints, and beside them the most records and the classes
/// of data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, ConstraintValue>", into = "BTreeMap<String, ConstraintValue>")]
pub struct ResourceConstraints {
    /// The playbook's own.
    pub constraints: Constraints,
    /// The most records that may be touched.
    pub max_records: Option<u64>,
    /// The classes of data.
    pub data_classes: BTreeSet<String>,
}

/// Whom an envelope speaks of, beside what may be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bearings {
    /// The person who delegated.
    pub delegator: Option<String>,
    /// What the agent calls its session.
    pub session: Option<Label>,
    /// What the agent calls its task.
    pub task: Option<Label>,
}

impl Bearings {
    /// Those of a grant's own agent, or of whoever it hands on to, with the person at the root if there is one.
    #[must_use]
    pub fn of(grant: &Grant, delegator: Option<String>) -> Self {
        Self { delegator, session: grant.session.clone(), task: grant.task.clone() }
    }
}

impl Envelope {
    /// The envelope of these rights.
    #[must_use]
    pub fn new(rights: &Rights, bearings: Bearings) -> Self {
        let Bearings { delegator, session, task } = bearings;
        Self {
            delegator_id: delegator,
            tenant_id: rights.tenant.clone(),
            session_id: session,
            task_id: task,
            purpose: rights.purpose.clone(),
            allowed_tools: rights.tools.keys().cloned().collect(),
            resource_constraints: ResourceConstraints {
                constraints: rights.constraints.clone(),
                max_records: rights.limits.max_records,
                data_classes: rights.data_classes.clone(),
            },
        }
    }

    /// The envelope as a document of its own.
    #[must_use]
    pub const fn document(self, expires_at: Timestamp) -> EnvelopeDocument {
        EnvelopeDocument { claims: self, expires_at }
    }
}

/// An envelope as a document: the claims, with their end as `expires_at`, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AnyDocument")]
pub struct EnvelopeDocument {
    #[serde(flatten)]
    claims: Envelope,
    /// When it ends: the token's `exp`.
    expires_at: Timestamp,
}

impl EnvelopeDocument {
    /// The claims, and the instant that a token says by `exp`.
    #[must_use]
    pub fn into_claims(self) -> (Envelope, Timestamp) {
        (self.claims, self.expires_at)
    }
}

/// A document before its members are known to be those of an envelope: `deny_unknown_fields` does not go with `flatten`.
#[derive(Deserialize)]
struct AnyDocument {
    #[serde(flatten)]
    claims: Envelope,
    expires_at: Timestamp,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// A document with a member that no envelope has.
#[derive(Debug, thiserror::Error)]
#[error("an envelope has a member that is not known")]
struct UnknownMember;

impl TryFrom<AnyDocument> for EnvelopeDocument {
    type Error = UnknownMember;

    fn try_from(from: AnyDocument) -> Result<Self, UnknownMember> {
        let AnyDocument { claims, expires_at, others } = from;
        if others.is_empty() { Ok(Self { claims, expires_at }) } else { Err(UnknownMember) }
    }
}

const MAX_RECORDS: &str = "max_records";
const DATA_CLASSES: &str = "data_classes";

impl ResourceConstraints {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TryFrom<BTreeMap<String, ConstraintValue>> for ResourceConstraints {
    type Error = ConstraintError;

    fn try_from(mut members: BTreeMap<String, ConstraintValue>) -> Result<Self, ConstraintError> {
        let max_records = match members.remove(MAX_RECORDS) {
            None => None,
            Some(ConstraintValue::Number(most)) => Some(most),
            Some(_) => return Err(ConstraintError::Value),
        };
        let data_classes = match members.remove(DATA_CLASSES) {
            None => BTreeSet::new(),
            Some(ConstraintValue::Among(classes)) if !classes.is_empty() => classes,
            Some(_) => return Err(ConstraintError::Value),
        };
        Ok(Self { constraints: Constraints::new(members)?, max_records, data_classes })
    }
}

impl From<ResourceConstraints> for BTreeMap<String, ConstraintValue> {
    fn from(from: ResourceConstraints) -> Self {
        let ResourceConstraints { constraints, max_records, data_classes } = from;
        let mut members = Self::from(constraints);
        if let Some(most) = max_records {
            members.insert(MAX_RECORDS.to_owned(), ConstraintValue::Number(most));
        }
        if !data_classes.is_empty() {
            members.insert(DATA_CLASSES.to_owned(), ConstraintValue::Among(data_classes));
        }
        members
    }
}

#[cfg(test)]
mod tests;
