//! A grant: exactly what an approved intent permits, pinned by a digest (specs/intents.md 3).
//!
//! Everything that is enforced is part of the digest. Absent: how a grant comes to be ([`crate::resolve()`]) and how it is
//! used up ([`crate::Intent`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use marque_spiffe::{SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::approval::ApprovalPlan;
use crate::conditions::Conditions;
use crate::delegators::Delegators;
use crate::digest::{CanonicalError, Digest};
use crate::emergency::Emergency;
use crate::evidence::Evidence;
use crate::id::IntentId;
use crate::parent::ParentIntent;
use crate::playbook::PlaybookId;
use crate::request::TicketRef;
use crate::rights::{Constraints, Label, Limits, OnBehalf, ToolBounds, ToolId};

/// The domain tag of a grant's digest.
pub const APPROVAL_TAG: &str = "marque/approval/v1";
/// The largest grant, in bytes of canonical JSON: a record of the log, of 64 KiB at most, has room for all that it says.
pub const MAX_GRANT_BYTES: usize = 32 * 1024;

/// What a grant says. Build one, then seal it into a [`Grant`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantTerms {
    /// The intent that it is for.
    pub intent_id: IntentId,
    /// The trust domain, and with it the environment.
    pub trust_domain: TrustDomain,
    /// The tenant's label.
    pub tenant: String,
    /// The only agent that may use it.
    pub agent: SpiffeId,
    /// The digest of what the agent attested as, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Digest>,
    /// The playbook, by content.
    pub playbook: PinnedPlaybook,
    /// The parameters, as checked.
    pub parameters: Map<String, Value>,
    /// Who may be spoken to.
    pub audiences: Vec<String>,
    /// The scopes.
    pub scopes: Vec<Scope>,
    /// The RFC 9396 details, with every value filled in.
    pub authorization_details: Vec<AuthorizationDetail>,
    /// The resources that may be touched, with every value filled in.
    pub resources: Vec<String>,
    /// The tools that may be called, and how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<ToolId, ToolBounds>,
    /// What resources are narrowed to, with every value filled in.
    #[serde(default, skip_serializing_if = "Constraints::is_empty")]
    pub constraints: Constraints,
    /// The numbers that bound it in all.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Whether and to whom it may be handed on; absent if not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf: Option<OnBehalf>,
    /// On whose behalf it may be used; absent if on nobody's but its own agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegators: Option<Delegators>,
    /// The live intent of another agent that it was asked for from; absent if its own agent asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentIntent>,
    /// What holds for it as a break-glass grant; absent if it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// What the agent calls its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Label>,
    /// What the agent calls its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Label>,
    /// How it is delivered.
    pub delivery: Delivery,
    /// How many tokens it gives.
    pub uses: u32,
    /// Whether each of them is used up by the first resource server that introspects it, or by being exchanged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_use_tokens: bool,
    /// How long one token lives at most: expected run time plus retry buffer.
    #[serde(rename = "token_lifetime_s", with = "seconds")]
    pub token_lifetime: Duration,
    /// How long it may wait for approval.
    #[serde(rename = "request_ttl_s", with = "seconds")]
    pub request_ttl: Duration,
    /// How long after approval its first use may be.
    #[serde(rename = "start_within_s", with = "seconds")]
    pub start_within: Duration,
    /// How long after its first use everything ends.
    #[serde(rename = "max_duration_s", with = "seconds")]
    pub max_duration: Duration,
    /// Not before this instant.
    pub not_before: Timestamp,
    /// Not at or after this instant, whatever the other clocks say.
    pub not_after: Timestamp,
    /// The change ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRef>,
    /// How a person approves it; absent if nobody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalPlan>,
    /// The digest of the policy set in force.
    pub policy_set_digest: Digest,
    /// The risk score that policy saw, from 0 to 100.
    pub risk: u32,
    /// What was found out about the request.
    #[serde(default, skip_serializing_if = "Evidence::is_empty")]
    pub evidence: Evidence,
    /// What it is bound to beside its clocks.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
}

/// A playbook by content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedPlaybook {
    /// Its id.
    pub id: PlaybookId,
    /// Its version.
    pub version: u64,
    /// SHA-256 over its canonical document.
    pub digest: Digest,
    /// Its title, for people.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// The classes of data that it touches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_classes: Vec<String>,
    /// What it is for, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// Sealed terms: they read like [`GrantTerms`] and cannot be changed, so the digest stays theirs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "GrantTerms")]
pub struct Grant {
    terms: GrantTerms,
    digest: Digest,
}

/// The terms make no grant.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// They cannot be written canonically.
    #[error("the grant has no canonical form")]
    Canonical(#[source] CanonicalError),
    /// It would permit nothing, or end before it begins.
    #[error("the grant has {0}")]
    Empty(&'static str),
    /// It is larger than [`MAX_GRANT_BYTES`].
    #[error("the grant would have {length} bytes, more than {MAX_GRANT_BYTES}")]
    TooLarge {
        /// How many it has.
        length: usize,
    },
}

impl Grant {
    /// Seals the terms and computes their digest.
    ///
    /// # Errors
    /// The terms permit nothing, are too large or have no canonical form.
    pub fn seal(terms: GrantTerms) -> Result<Self, GrantError> {
        if terms.audiences.is_empty() {
            return Err(GrantError::Empty("no audience"));
        }
        if terms.uses == 0 {
            return Err(GrantError::Empty("no use"));
        }
        if terms.token_lifetime.is_zero() || terms.not_after <= terms.not_before {
            return Err(GrantError::Empty("no time"));
        }
        let (digest, length) =
            Digest::and_length(APPROVAL_TAG, &terms).map_err(GrantError::Canonical)?;
        if length > MAX_GRANT_BYTES {
            return Err(GrantError::TooLarge { length });
        }
        Ok(Self { terms, digest })
    }

    /// `SHA-256("marque/approval/v1" ‖ JCS(terms))`: what approvals and tokens are bound to.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What it says.
    #[must_use]
    pub const fn terms(&self) -> &GrantTerms {
        &self.terms
    }

    /// The scopes as one OAuth `scope` value.
    #[must_use]
    pub fn scope(&self) -> String {
        self.terms.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl Deref for Grant {
    type Target = GrantTerms;

    fn deref(&self) -> &GrantTerms {
        &self.terms
    }
}

impl TryFrom<GrantTerms> for Grant {
    type Error = GrantError;

    fn try_from(terms: GrantTerms) -> Result<Self, GrantError> {
        Self::seal(terms)
    }
}

/// Written as its terms; whoever reads it seals them again.
impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.terms.serialize(serializer)
    }
}

impl From<Grant> for GrantTerms {
    fn from(grant: Grant) -> Self {
        grant.terms
    }
}

/// One OAuth scope (RFC 6749 section 3.3), of at most 128 bytes and without a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// The text is not a scope that may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It stands for more than itself.
    #[error("a scope with a wildcard is never granted")]
    Wildcard,
    /// It is no scope.
    #[error("a scope has 1 to 128 printable ASCII characters without space, `\"` and `\\`")]
    Syntax,
}

impl Scope {
    /// The scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.contains('*') {
            return Err(ScopeError::Wildcard);
        }
        let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if (1..=128).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ScopeError::Syntax)
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One object of `authorization_details` (RFC 9396 section 2), with the common members only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetail {
    /// The type, which the resource server defines.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub locations: BTreeSet<String>,
    /// What may be done.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub actions: BTreeSet<String>,
    /// To what kinds of data.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub datatypes: BTreeSet<String>,
    /// To which one thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// With which privileges.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub privileges: BTreeSet<String>,
}

/// How a grant reaches the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// As an access token, at the token endpoint.
    Token,
    /// By the gateway alone: it acts under the grant, and the agent is given nothing that acts elsewhere.
    GatewayOnly,
    /// As a certificate of a key of the agent's own.
    Certificate,
    /// As a session of a cloud provider.
    CloudSession,
}

impl Delivery {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::GatewayOnly => "gateway_only",
            Self::Certificate => "certificate",
            Self::CloudSession => "cloud_session",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Durations as whole seconds.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests;
