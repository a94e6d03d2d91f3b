//! Cedar as the decision point: two small sets, checked strictly when they are loaded.
//!
//! Cedar answers yes or no; three answers come of two sets. A forbid in `hard.cedar` ends it with its `@code`. Else a
//! permit in `gate.cedar` with `@tier("auto")` approves, unless the playbook always wants a person; one with
//! `@tier("ask")` asks; and what nothing permits is refused. A policy that fails to evaluate refuses everything.

mod load;
mod question;
mod statements;

use std::collections::BTreeMap;
use std::path::Path;

use cedar_policy::{Authorizer, Entities, PolicySet, Request, Response, Schema};
use marque_intent::{ApprovalMode, DenialCode, Digest, Ruling};

use crate::decision::{DecisionPoint, PolicyError, Question};
use crate::finding::PolicyFinding;

/// The policies of one trust domain's folder.
#[derive(Debug)]
pub struct CedarDecisionPoint {
    schema: Schema,
    hard: HardSet,
    gate: GateSet,
    digest: Digest,
    authorizer: Authorizer,
}

/// Forbids, each with the code that it gives and its place in the file.
#[derive(Debug)]
struct HardSet {
    policies: PolicySet,
    codes: BTreeMap<String, (usize, DenialCode)>,
}

/// Permits, each with its tier.
#[derive(Debug)]
struct GateSet {
    policies: PolicySet,
    tiers: BTreeMap<String, Tier>,
}

/// What a permit permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    /// To go ahead.
    Auto,
    /// To ask a person.
    Ask,
}

impl CedarDecisionPoint {
    /// Reads `schema.cedarschema`, `hard.cedar` and `gate.cedar`.
    ///
    /// # Errors
    /// Everything that is wrong in the folder, with file and line. A policy that does not validate strictly, or has no
    /// `@id` of its own, refuses the whole folder.
    pub fn load(dir: &Path) -> Result<Self, Vec<PolicyFinding>> {
        load::load(dir)
    }

    /// The ids of every policy, in the order of the files' names.
    pub fn policy_ids(&self) -> impl Iterator<Item = &str> {
        self.gate.tiers.keys().chain(self.hard.codes.keys()).map(String::as_str)
    }
}

impl DecisionPoint for CedarDecisionPoint {
    fn decide(&self, question: &Question<'_>) -> Result<Ruling, PolicyError> {
        let (request, entities) = question::build(question, &self.schema)?;
        let forbidding = self.determining(&self.hard.policies, &request, &entities)?;
        // The first in the file gives the code, whatever order Cedar reports them in.
        let first = forbidding
            .iter()
            .filter_map(|id| self.hard.codes.get(id))
            .min_by_key(|(place, _)| *place);
        if let Some((_, code)) = first {
            return Ok(Ruling::Deny { code: *code, rules: forbidding });
        }
        let permitting = self.determining(&self.gate.policies, &request, &entities)?;
        let of = |tier: Tier| -> Vec<String> {
            permitting
                .iter()
                .filter(|id| self.gate.tiers.get(*id) == Some(&tier))
                .cloned()
                .collect()
        };
        let (auto, ask) = (of(Tier::Auto), of(Tier::Ask));
        let policy_may_approve = match question.playbook.approval_mode() {
            ApprovalMode::Auto | ApprovalMode::Rule => true,
            ApprovalMode::Always => false,
        };
        if !auto.is_empty() && policy_may_approve {
            Ok(Ruling::Approve { rules: auto })
        } else if !permitting.is_empty() {
            Ok(Ruling::AskApproval { rules: if ask.is_empty() { auto } else { ask } })
        } else {
            Ok(Ruling::Deny { code: DenialCode::AgentNotAllowed, rules: Vec::new() })
        }
    }

    fn set_digest(&self) -> &Digest {
        &self.digest
    }
}

impl CedarDecisionPoint {
    /// The policies of a set that hold for a request, sorted. One that fails to evaluate is an error, although Cedar
    /// would leave it out: a forbid that is left out permits.
    fn determining(
        &self,
        policies: &PolicySet,
        request: &Request,
        entities: &Entities,
    ) -> Result<Vec<String>, PolicyError> {
        let response: Response = self.authorizer.is_authorized(request, policies, entities);
        let errors: Vec<String> =
            response.diagnostics().errors().map(ToString::to_string).collect();
        if !errors.is_empty() {
            return Err(PolicyError::Evaluation(errors.join("; ")));
        }
        let mut ids: Vec<String> =
            response.diagnostics().reason().map(ToString::to_string).collect();
        ids.sort();
        Ok(ids)
    }
}

#[cfg(test)]
mod tests;
