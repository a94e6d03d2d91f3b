//! What somebody may do, in every dimension, and the one function that compares it (specs/intents.md 9).
//!
//! A child never has more than its parent in any dimension; where the order of two values cannot be decided, the child
//! is refused. The same comparison refuses to issue what is wider and to honour it. Total: no input makes it panic or
//! take longer than its size. Absent: the sender's key, which the exchange compares because it holds the proofs, and
//! counting: whatever derives from one intent draws from that intent's counters.

mod behalf;
mod constraint;
mod delegation;
mod details;
mod label;
mod limits;
mod path;
mod tool;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use marque_spiffe::TrustDomain;
use serde::{Deserialize, Serialize};

pub use self::behalf::{MAX_DELEGATION_DEPTH, OnBehalf};
pub(crate) use self::constraint::check_name as check_constraint_name;
pub use self::constraint::{
    ConstraintError, ConstraintValue, Constraints, MAX_CONSTRAINT_TEXT, MAX_CONSTRAINT_VALUES,
    MAX_CONSTRAINTS,
};
pub use self::details::MAX_DETAILS;
pub use self::label::{Label, LabelError, MAX_LABEL_LEN};
pub use self::limits::Limits;
use self::limits::{at_least, at_most};
pub use self::tool::{MAX_ARGUMENT_SCHEMAS, MAX_TOOLS, ToolBounds, ToolId, ToolIdError};
pub use self::wanted::{Wanted, WantedTool};
use crate::approval::ApprovalPlan;
use crate::denial::{Denial, DenialCode};
use crate::grant::{AuthorizationDetail, Delivery, Grant, Scope};

/// What somebody may do. Sets and maps, so that nothing depends on an order in which things were written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// The trust domain; equal along a chain.
    pub trust_domain: TrustDomain,
    /// The tenant's label; equal along a chain.
    pub tenant: String,
    /// Who may be spoken to.
    pub audiences: BTreeSet<String>,
    /// The scopes. None is the least there is.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<Scope>,
    /// The RFC 9396 details.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<AuthorizationDetail>,
    /// The resources that may be touched.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
    /// The tools that may be called. None is the least there is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<ToolId, ToolBounds>,
    /// What resources are narrowed to, by name.
    #[serde(default, skip_serializing_if = "Constraints::is_empty")]
    pub constraints: Constraints,
    /// The classes of data.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub data_classes: BTreeSet<String>,
    /// The numbers.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// How many tokens it gives in all.
    pub uses: u32,
    /// What it is for: a name, or a path in a tree of purposes such as `renewal.review`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Not before this instant.
    pub not_before: Timestamp,
    /// Not at or after this instant.
    pub not_after: Timestamp,
    /// Whether and to whom it may be handed on; absent if not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf: Option<OnBehalf>,
    /// Who has to approve; absent if nobody has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalPlan>,
    /// How it is delivered.
    pub delivery: Delivery,
    /// The highest risk score at which it holds, from 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_ceiling: Option<u32>,
    /// The lowest confidence at which it holds, from 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence_floor: Option<u32>,
}

/// A dimension of [`Rights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The trust domain.
    TrustDomain,
    /// The tenant.
    Tenant,
    /// The audiences.
    Audiences,
    /// The scopes.
    Scopes,
    /// The RFC 9396 details.
    AuthorizationDetails,
    /// The resources.
    Resources,
    /// The tools and how they may be called.
    Tools,
    /// The schemas that a tool's arguments fit.
    ToolArguments,
    /// The constraints on resources.
    Constraints,
    /// The classes of data.
    DataClasses,
    /// The most records.
    MaxRecords,
    /// The most calls.
    MaxCalls,
    /// The most destructive calls.
    MaxDestructive,
    /// The most bytes.
    MaxBytesOut,
    /// The least time between calls.
    MinInterval,
    /// The uses.
    Uses,
    /// The purpose.
    Purpose,
    /// The beginning.
    NotBefore,
    /// The end.
    NotAfter,
    /// How far and to whom it may be handed on.
    Depth,
    /// The approvals.
    Approval,
    /// The delivery.
    Delivery,
    /// The risk ceiling.
    RiskCeiling,
    /// The confidence floor.
    ConfidenceFloor,
}

/// A child would have more than its parent, or it cannot be shown that it would not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code} in {dimension}")]
pub struct Widening {
    /// In which dimension.
    pub dimension: Dimension,
    /// Why, as a stable code.
    pub code: DenialCode,
}

impl Widening {
    pub(crate) const fn exceeds(dimension: Dimension) -> Self {
        let code = match dimension {
            Dimension::TrustDomain => DenialCode::TrustDomainMismatch,
            Dimension::Tenant => DenialCode::TenantMismatch,
            Dimension::Depth => DenialCode::ChainTooDeep,
            _ => DenialCode::ExceedsParentScope,
        };
        Self { dimension, code }
    }

    pub(crate) const fn incomparable(dimension: Dimension) -> Self {
        Self { dimension, code: DenialCode::CannotCompareAttenuation }
    }

    /// The refusal that it is. It names the dimension and no value.
    #[must_use]
    pub fn denial(self) -> Denial {
        Denial::new(self.code, format!("the {} would be wider than the parent's", self.dimension))
    }
}

impl Rights {
    /// What an approved grant permits.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        Self {
            trust_domain: grant.trust_domain.clone(),
            tenant: grant.tenant.clone(),
            audiences: grant.audiences.iter().cloned().collect(),
            scopes: grant.scopes.iter().cloned().collect(),
            authorization_details: grant.authorization_details.clone(),
            resources: grant.resources.iter().cloned().collect(),
            tools: grant.tools.clone(),
            constraints: grant.constraints.clone(),
            data_classes: grant.playbook.data_classes.iter().cloned().collect(),
            limits: grant.limits,
            uses: grant.uses,
            purpose: grant.playbook.purpose.clone(),
            not_before: grant.not_before,
            not_after: grant.not_after,
            on_behalf: grant.on_behalf.clone(),
            approval: grant.approval.clone(),
            delivery: grant.delivery,
            risk_ceiling: None,
            confidence_floor: None,
        }
    }

    /// Whether `child` has no more than `self` in any dimension. Reflexive and transitive.
    ///
    /// # Errors
    /// The first dimension in which it has more, or in which the two cannot be compared.
    pub fn covers(&self, child: &Self) -> Result<(), Widening> {
        if child.trust_domain != self.trust_domain {
            return Err(Widening::exceeds(Dimension::TrustDomain));
        }
        if child.tenant != self.tenant {
            return Err(Widening::exceeds(Dimension::Tenant));
        }
        never_left_out(&self.audiences, &child.audiences, Dimension::Audiences)?;
        if !child.scopes.is_subset(&self.scopes) {
            return Err(Widening::exceeds(Dimension::Scopes));
        }
        details::covers(&self.authorization_details, &child.authorization_details)?;
        never_left_out(&self.resources, &child.resources, Dimension::Resources)?;
        self.covers_tools(&child.tools)?;
        self.constraints.covers(&child.constraints)?;
        never_left_out(&self.data_classes, &child.data_classes, Dimension::DataClasses)?;
        self.limits.covers(&child.limits)?;
        at_most(Some(self.uses), Some(child.uses), Dimension::Uses)?;
        covers_purpose(self.purpose.as_deref(), child.purpose.as_deref())?;
        at_least(Some(self.not_before), Some(child.not_before), Dimension::NotBefore)?;
        at_most(Some(self.not_after), Some(child.not_after), Dimension::NotAfter)?;
        match (&self.on_behalf, &child.on_behalf) {
            (Some(ours), Some(theirs)) => ours.covers(theirs)?,
            (_, None) => {}
            (None, Some(_)) => return Err(Widening::exceeds(Dimension::Depth)),
        }
        covers_approval(self.approval.as_ref(), child.approval.as_ref())?;
        match (self.delivery, child.delivery) {
            // What only the gateway acts under is less than a token; the others are other things.
            (ours, theirs) if ours == theirs => {}
            (Delivery::Token, Delivery::GatewayOnly) => {}
            (Delivery::GatewayOnly, Delivery::Token) => {
                return Err(Widening::exceeds(Dimension::Delivery));
            }
            (_, _) => return Err(Widening::incomparable(Dimension::Delivery)),
        }
        at_most(self.risk_ceiling, child.risk_ceiling, Dimension::RiskCeiling)?;
        at_least(self.confidence_floor, child.confidence_floor, Dimension::ConfidenceFloor)
    }

    fn covers_tools(&self, child: &BTreeMap<ToolId, ToolBounds>) -> Result<(), Widening> {
        child.iter().try_for_each(|(tool, bounds)| match self.tools.get(tool) {
            Some(ours) => ours.covers(bounds),
            None => Err(Widening::exceeds(Dimension::Tools)),
        })
    }
}

/// A subset that is empty only where the parent's is: many a reader takes nothing for no restriction.
fn never_left_out(
    parent: &BTreeSet<String>,
    child: &BTreeSet<String>,
    dimension: Dimension,
) -> Result<(), Widening> {
    let left_out = child.is_empty() && !parent.is_empty();
    if left_out || !child.is_subset(parent) {
        return Err(Widening::exceeds(dimension));
    }
    Ok(())
}

/// Equal, or a descendant: `renewal.review.excerpt` below `renewal.review`.
fn covers_purpose(parent: Option<&str>, child: Option<&str>) -> Result<(), Widening> {
    let plain = |segment: &str| {
        !segment.is_empty()
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    match (parent, child) {
        (None, None) => Ok(()),
        (Some(ours), Some(theirs)) if ours == theirs => Ok(()),
        (Some(ours), Some(theirs)) => {
            match theirs.strip_prefix(ours).and_then(|rest| rest.strip_prefix('.')) {
                Some(below) if !ours.is_empty() && below.split('.').all(plain) => Ok(()),
                Some(_) => Err(Widening::incomparable(Dimension::Purpose)),
                None => Err(Widening::exceeds(Dimension::Purpose)),
            }
        }
        (Some(_), None) => Err(Widening::exceeds(Dimension::Purpose)),
        (None, Some(_)) => Err(Widening::incomparable(Dimension::Purpose)),
    }
}

/// At least the parent's approvals, by no others than the parent's approvers.
fn covers_approval(
    parent: Option<&ApprovalPlan>,
    child: Option<&ApprovalPlan>,
) -> Result<(), Widening> {
    let Some(ours) = parent else { return Ok(()) };
    match child {
        Some(theirs) if theirs.is_at_least(ours) => Ok(()),
        Some(_) | None => Err(Widening::exceeds(Dimension::Approval)),
    }
}

impl Dimension {
    /// Those in which a playbook may let a child equal its parent: the ones that are sets, and so can be narrowed.
    pub const NARROWED_BY_DELEGATION: [Self; 7] = [
        Self::Audiences,
        Self::Scopes,
        Self::AuthorizationDetails,
        Self::Resources,
        Self::Tools,
        Self::Constraints,
        Self::DataClasses,
    ];

    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TrustDomain => "trust_domain",
            Self::Tenant => "tenant",
            Self::Audiences => "audiences",
            Self::Scopes => "scopes",
            Self::AuthorizationDetails => "authorization_details",
            Self::Resources => "resources",
            Self::Tools => "tools",
            Self::ToolArguments => "tool_arguments",
            Self::Constraints => "constraints",
            Self::DataClasses => "data_classes",
            Self::MaxRecords => "max_records",
            Self::MaxCalls => "max_calls",
            Self::MaxDestructive => "max_destructive",
            Self::MaxBytesOut => "max_bytes_out",
            Self::MinInterval => "min_interval",
            Self::Uses => "uses",
            Self::Purpose => "purpose",
            Self::NotBefore => "not_before",
            Self::NotAfter => "not_after",
            Self::Depth => "depth",
            Self::Approval => "approval",
            Self::Delivery => "delivery",
            Self::RiskCeiling => "risk_ceiling",
            Self::ConfidenceFloor => "confidence_floor",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
