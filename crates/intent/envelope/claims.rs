//! Rights as the claims of a token: `aud`, `scope`, `authorization_details`, `nbf`, `exp`, the envelope, and `rights` for
//! the dimensions that none of them says.
//!
//! Absent: what is spent when a token is issued (uses, approvals, delivery). Tokens say nothing about it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use marque_spiffe::TrustDomain;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Envelope;
use crate::grant::{AuthorizationDetail, Delivery, Scope};
use crate::rights::{Limits, OnBehalf, Rights, ToolBounds, ToolId};

/// The `type` of the detail that names the intent and limits nothing.
const INTENT_DETAIL: &str = "marque_intent";

/// The claim `rights`. A member that is not known here is refused: it might be a limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightsClaims {
    /// The resources that may be touched.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
    /// How the tools of `allowed_tools` may be called, where there is something to say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<ToolId, ToolBounds>,
    /// The numbers but `max_records`, which stands in `resource_constraints`.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Whether and to whom the token may be handed on.
    #[serde(
        default,
        deserialize_with = "marque_jose::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub on_behalf: Option<OnBehalf>,
    /// The highest risk score at which it holds.
    #[serde(
        default,
        deserialize_with = "marque_jose::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub risk_ceiling: Option<u32>,
    /// The lowest confidence at which it holds.
    #[serde(
        default,
        deserialize_with = "marque_jose::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub confidence_floor: Option<u32>,
}

impl RightsClaims {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The claims of a verified token that say what it permits.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'a> {
    /// The trust domain of its issuer.
    pub trust_domain: &'a TrustDomain,
    /// `aud`.
    pub audiences: &'a [String],
    /// `scope`; empty if there is none.
    pub scope: &'a str,
    /// `authorization_details`.
    pub authorization_details: &'a [Value],
    /// `nbf`, or else `iat`.
    pub not_before: Timestamp,
    /// `exp`.
    pub not_after: Timestamp,
    /// The envelope.
    pub envelope: &'a Envelope,
    /// `rights`.
    pub rights: &'a RightsClaims,
}

/// The claims say nothing that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// `scope` is no list of scopes.
    #[error("scope is not a list of scopes")]
    Scope,
    /// An entry of `authorization_details` has another shape than the common members of RFC 9396.
    #[error("an authorization detail cannot be compared")]
    Detail,
    /// `rights` speaks of a tool that `allowed_tools` does not have, or of records, which it may not.
    #[error("the claim rights contradicts the envelope")]
    Contradiction,
}

impl Rights {
    /// What a token with these rights can say of them: all but what its issue has spent.
    #[must_use]
    pub fn in_token(&self) -> Self {
        Self { uses: 0, approval: None, ..self.clone() }
    }

    /// The claim `rights` of a token with these rights.
    #[must_use]
    pub fn claims(&self) -> RightsClaims {
        let bounds = self.tools.iter().filter(|(_, bounds)| **bounds != ToolBounds::default());
        RightsClaims {
            resources: self.resources.clone(),
            tools: bounds.map(|(tool, bounds)| (tool.clone(), bounds.clone())).collect(),
            limits: Limits { max_records: None, ..self.limits },
            on_behalf: self.on_behalf.clone(),
            risk_ceiling: self.risk_ceiling,
            confidence_floor: self.confidence_floor,
        }
    }

    /// The rights that a token's claims say, so that they can be compared again where it is used: they are equal to
    /// [`Self::in_token`] of what it was issued with.
    ///
    /// # Errors
    /// Something in them is not known, and so might be a limit.
    pub fn from_claims(claimed: &Claimed<'_>) -> Result<Self, ClaimsError> {
        let Claimed { trust_domain, audiences, envelope, rights, .. } = *claimed;
        let Envelope { tenant_id, purpose, allowed_tools, resource_constraints, .. } = envelope;
        let stray = rights.tools.keys().any(|tool| !allowed_tools.contains(tool));
        if stray || rights.limits.max_records.is_some() {
            return Err(ClaimsError::Contradiction);
        }
        let bounds = |tool: &ToolId| rights.tools.get(tool).cloned().unwrap_or_default();
        let scopes = claimed.scope.split(' ').filter(|scope| !scope.is_empty());
        Ok(Self {
            trust_domain: trust_domain.clone(),
            tenant: tenant_id.clone(),
            audiences: audiences.iter().cloned().collect(),
            scopes: scopes
                .map(str::parse::<Scope>)
                .collect::<Result<_, _>>()
                .map_err(|_source| ClaimsError::Scope)?,
            authorization_details: details(claimed.authorization_details)?,
            resources: rights.resources.clone(),
            tools: allowed_tools.iter().map(|tool| (tool.clone(), bounds(tool))).collect(),
            constraints: resource_constraints.constraints.clone(),
            data_classes: resource_constraints.data_classes.clone(),
            limits: Limits { max_records: resource_constraints.max_records, ..rights.limits },
            uses: 0,
            purpose: purpose.clone(),
            not_before: claimed.not_before,
            not_after: claimed.not_after,
            on_behalf: rights.on_behalf.clone(),
            approval: None,
            delivery: Delivery::Token,
            risk_ceiling: rights.risk_ceiling,
            confidence_floor: rights.confidence_floor,
        })
    }
}

fn details(values: &[Value]) -> Result<Vec<AuthorizationDetail>, ClaimsError> {
    values
        .iter()
        .filter(|value| value.get("type").and_then(Value::as_str) != Some(INTENT_DETAIL))
        .map(|value| AuthorizationDetail::deserialize(value).map_err(|_source| ClaimsError::Detail))
        .collect()
}
