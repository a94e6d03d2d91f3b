//! What a request wants of its parent's rights: in each dimension either nothing said, which means all of the parent's,
//! or exactly what is listed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Constraints, Dimension, Limits, MAX_ARGUMENT_SCHEMAS, MAX_DETAILS, MAX_TOOLS, Rights,
    ToolBounds, ToolId, Widening,
};
use crate::approval::ApprovalPlan;
use crate::grant::{AuthorizationDetail, Scope};
use crate::playbook::is_bounded_schema;

/// What is wanted. What is `None` is wanted as the parent has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// These audiences.
    pub audiences: Option<BTreeSet<String>>,
    /// These scopes.
    pub scopes: Option<BTreeSet<Scope>>,
    /// These details.
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
    /// These resources.
    pub resources: Option<BTreeSet<String>>,
    /// These tools.
    pub tools: Option<BTreeMap<ToolId, WantedTool>>,
    /// These constraints in place of the ones of the same names; the others stay.
    pub constraints: Constraints,
    /// These classes of data.
    pub data_classes: Option<BTreeSet<String>>,
    /// These numbers in place of the ones of the same names; the others stay.
    pub limits: Limits,
    /// So many uses.
    pub uses: Option<u32>,
    /// For this purpose.
    pub purpose: Option<String>,
    /// Not before this instant.
    pub not_before: Option<Timestamp>,
    /// Not at or after this instant.
    pub not_after: Option<Timestamp>,
    /// To be handed on so many more times at most.
    pub depth: Option<u8>,
    /// With these approvals.
    pub approval: Option<ApprovalPlan>,
    /// At this risk at most.
    pub risk_ceiling: Option<u32>,
    /// At this confidence at least.
    pub confidence_floor: Option<u32>,
}

/// How a tool is wanted: at least as narrow as the parent has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WantedTool {
    /// To be decided anew at each call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
    /// To be counted as destructive.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub destructive: bool,
    /// So many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// With arguments that also fit this JSON Schema, which is bounded like a playbook's parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
}

impl Rights {
    /// What is wanted of these rights, and no more.
    ///
    /// # Errors
    /// The first dimension in which more is wanted than there is, or in which the two cannot be compared.
    pub fn narrowed(&self, wanted: &Wanted) -> Result<Self, Widening> {
        let Wanted {
            audiences,
            scopes,
            authorization_details,
            resources,
            tools,
            constraints,
            data_classes,
            limits,
            uses,
            purpose,
            not_before,
            not_after,
            depth,
            approval,
            risk_ceiling,
            confidence_floor,
        } = wanted;
        let child = Self {
            trust_domain: self.trust_domain.clone(),
            tenant: self.tenant.clone(),
            audiences: audiences.as_ref().unwrap_or(&self.audiences).clone(),
            scopes: scopes.as_ref().unwrap_or(&self.scopes).clone(),
            authorization_details: match authorization_details {
                Some(details) if details.len() > MAX_DETAILS => {
                    return Err(Widening::incomparable(Dimension::AuthorizationDetails));
                }
                Some(details) => distinct(details),
                None => self.authorization_details.clone(),
            },
            resources: resources.as_ref().unwrap_or(&self.resources).clone(),
            tools: match tools {
                Some(tools) => self.narrowed_tools(tools)?,
                None => self.tools.clone(),
            },
            constraints: self.constraints.overlaid(constraints),
            data_classes: data_classes.as_ref().unwrap_or(&self.data_classes).clone(),
            limits: self.limits.overlaid(*limits),
            uses: uses.unwrap_or(self.uses),
            purpose: purpose.clone().or_else(|| self.purpose.clone()),
            not_before: not_before.unwrap_or(self.not_before),
            not_after: not_after.unwrap_or(self.not_after),
            on_behalf: self.narrowed_depth(*depth)?,
            approval: approval.clone().or_else(|| self.approval.clone()),
            delivery: self.delivery,
            risk_ceiling: risk_ceiling.or(self.risk_ceiling),
            confidence_floor: confidence_floor.or(self.confidence_floor),
        };
        self.covers(&child)?;
        Ok(child)
    }

    fn narrowed_depth(&self, depth: Option<u8>) -> Result<Option<super::OnBehalf>, Widening> {
        let Some(depth) = depth else { return Ok(self.on_behalf.clone()) };
        match &self.on_behalf {
            Some(ours) if depth <= ours.max_depth => {
                Ok((depth > 0).then(|| super::OnBehalf { max_depth: depth, ..ours.clone() }))
            }
            None if depth == 0 => Ok(None),
            Some(_) | None => Err(Widening::exceeds(Dimension::Depth)),
        }
    }

    fn narrowed_tools(
        &self,
        wanted: &BTreeMap<ToolId, WantedTool>,
    ) -> Result<BTreeMap<ToolId, ToolBounds>, Widening> {
        if wanted.len() > MAX_TOOLS {
            return Err(Widening::exceeds(Dimension::Tools));
        }
        let mut narrowed = BTreeMap::new();
        for (tool, wanted) in wanted {
            let ours = self.tools.get(tool).ok_or_else(|| Widening::exceeds(Dimension::Tools))?;
            let mut arguments = ours.arguments.clone();
            if let Some(schema) = &wanted.arguments
                && !arguments.contains(schema)
            {
                if arguments.len() >= MAX_ARGUMENT_SCHEMAS || !is_bounded_schema(schema) {
                    return Err(Widening::incomparable(Dimension::ToolArguments));
                }
                arguments.push(schema.clone());
            }
            let bounds = ToolBounds {
                sensitive: ours.sensitive || wanted.sensitive,
                destructive: ours.destructive || wanted.destructive,
                max_calls: wanted.max_calls.or(ours.max_calls),
                arguments,
            };
            narrowed.insert(tool.clone(), bounds);
        }
        Ok(narrowed)
    }
}

/// Each entry once, in the order in which they came.
fn distinct(details: &[AuthorizationDetail]) -> Vec<AuthorizationDetail> {
    let mut seen: Vec<AuthorizationDetail> = Vec::new();
    for detail in details {
        if !seen.contains(detail) {
            seen.push(detail.clone());
        }
    }
    seen
}
