//! Cedar as the decision point: two small sets, checked strictly when they are loaded.
//!
//! Cedar answers yes or no; three answers come of two sets. A forbid in `hard.cedar` ends it with its `@code`. Else a
//! permit in `gate.cedar` with `@tier("auto")` approves, unless the playbook always wants a person; one with
//! `@tier("ask")` asks; and what nothing permits is refused. A policy that fails to evaluate refuses everything. A
//! playbook may have more of both in `playbooks/<id>/`, which count for it alone. Rego of the same folder may refuse more.

mod listing;
mod load;
mod names;
mod question;
mod relations;
mod sets;
mod statements;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cedar_policy::{Authorizer, Entities, Policy, PolicySet, Request, Response, Schema};
use marque_intent::{ApprovalMode, DenialCode, Digest, Ruling, Verdict};

use self::names::Names;
use self::relations::Relations;
use self::sets::Sets;
use crate::decision::{Act, DecisionPoint, PolicyError, Question, SlowRules};
use crate::finding::PolicyFinding;
use crate::rego::RegoPolicies;
use crate::veto::Veto;

/// The schema that every policy is checked against.
pub const SCHEMA: &str = include_str!("cedar/schema.cedarschema");

/// The policies of one trust domain's folder.
#[derive(Debug)]
pub struct CedarDecisionPoint {
    schema: Schema,
    names: Names,
    own: Sets,
    /// Of the playbooks that have more: their own and the trust domain's together.
    sets: BTreeMap<String, Sets>,
    policies: Vec<Arc<PolicyInfo>>,
    relations: Relations,
    rego: Option<Arc<RegoPolicies>>,
    rego_files: Vec<(PathBuf, String)>,
    digest: Digest,
    authorizer: Authorizer,
}

/// One policy, with what its annotations say.
#[derive(Debug, Clone)]
pub struct PolicyInfo {
    /// Its id, unique in the folder.
    pub id: String,
    /// The file that it is in.
    pub file: PathBuf,
    /// The line on which it begins.
    pub line: usize,
    /// Which of the two sets it is in.
    pub part: PolicyPart,
    /// The one playbook that it counts for; absent if for all.
    pub playbook: Option<String>,
    /// The code that a forbid gives.
    pub code: Option<DenialCode>,
    tier: Option<Tier>,
    /// Why, for people: `@reason`.
    pub reason: Option<String>,
    /// The actions that it may be about.
    pub actions: BTreeSet<&'static str>,
    /// As written.
    pub text: String,
    policy: Policy,
}

impl PolicyInfo {
    /// Whether it forbids; else it permits.
    #[must_use]
    pub fn is_forbid(&self) -> bool {
        self.policy.effect() == cedar_policy::Effect::Forbid
    }

    /// What a permit permits: `auto` or `ask`; absent for a forbid, and for a permit that is about no request.
    #[must_use]
    pub const fn tier(&self) -> Option<&'static str> {
        match self.tier {
            Some(Tier::Auto) => Some("auto"),
            Some(Tier::Ask) => Some("ask"),
            None => None,
        }
    }
}

/// Which set a policy is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyPart {
    /// Forbids, whatever else holds.
    Hard,
    /// Permits.
    Gate,
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
    /// Reads `hard.cedar`, `gate.cedar`, both of `playbooks/<id>/` where they are there, `relations/*.toml` and `*.rego`.
    ///
    /// # Errors
    /// Everything that is wrong in the folder, with file and line. A policy that does not validate strictly, or has no
    /// `@id` of its own, refuses the whole folder, and so do a policy that would not be read and one that this build
    /// cannot read.
    pub fn load(dir: &Path) -> Result<Self, Vec<PolicyFinding>> {
        load::load(dir)
    }

    /// Every policy: hard ones before gates, the trust domain's before those of single playbooks.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyInfo> {
        self.policies.iter().map(AsRef::as_ref)
    }

    /// The files with policies in Rego and their texts, by name.
    pub fn rego(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.rego_files.iter().map(|(file, text)| (file.as_path(), text.as_str()))
    }

    /// The playbooks that have policies of their own.
    pub fn playbooks(&self) -> impl Iterator<Item = &str> {
        self.sets.keys().map(String::as_str)
    }

    fn sets(&self, question: &Question<'_>) -> &Sets {
        self.sets.get(question.playbook.id().as_str()).unwrap_or(&self.own)
    }
}

impl DecisionPoint for CedarDecisionPoint {
    fn decide(&self, question: &Question<'_>) -> Result<Verdict, PolicyError> {
        let verdict = self.by_cedar(question)?;
        match &self.rego {
            Some(rego) if !matches!(verdict.ruling, Ruling::Deny { .. }) => {
                Ok(Veto::applied(rego.veto(&question.to_json())?, verdict))
            }
            Some(_) | None => Ok(verdict),
        }
    }

    fn slow(&self) -> Option<Arc<dyn SlowRules>> {
        let rego = self.rego.clone();
        rego.map(|rego| -> Arc<dyn SlowRules> { rego })
    }

    fn decide_quickly(&self, question: &Question<'_>) -> Result<Verdict, PolicyError> {
        self.by_cedar(question)
    }

    fn if_nothing_forbade(&self, question: &Question<'_>) -> Result<Ruling, PolicyError> {
        let asked = question::build(question, "request", self)?;
        let permitted = self.permitted(question, "request", &asked)?;
        Ok(match (permitted.ruling, question.playbook.approval()) {
            (Ruling::Deny { .. }, Some(_)) => Ruling::AskApproval { rules: Vec::new() },
            (Ruling::Deny { .. }, None) => Ruling::Approve { rules: Vec::new() },
            (ruling, _) => ruling,
        })
    }

    fn set_digest(&self) -> &Digest {
        &self.digest
    }
}

impl CedarDecisionPoint {
    fn by_cedar(&self, question: &Question<'_>) -> Result<Verdict, PolicyError> {
        match question.act {
            Act::Request | Act::Approve { .. } => self.answer(question, question.act.name()),
            Act::Use { .. } => {
                let asked = self.answer(question, "request")?;
                if matches!(asked.ruling, Ruling::Deny { .. }) {
                    return Ok(asked);
                }
                let used = self.answer(question, "use")?;
                Ok(both(asked, used))
            }
        }
    }

    fn answer(&self, question: &Question<'_>, action: &str) -> Result<Verdict, PolicyError> {
        let asked = question::build(question, action, self)?;
        let sets = self.sets(question);
        let forbidding = self.determining(&sets.hard, &asked)?;
        // The first in the file gives the code, whatever order Cedar reports them in.
        if let Some(code) = sets.code(&forbidding) {
            let reasons = sets.reasons(&forbidding);
            return Ok(Verdict {
                ruling: Ruling::Deny { code, rules: forbidding },
                reasons,
                shadow: None,
            });
        }
        self.permitted(question, action, &asked)
    }

    /// What the gate says. An approval and a use need a permit only where the folder has one that is about nothing else.
    fn permitted(
        &self,
        question: &Question<'_>,
        action: &str,
        asked: &(Request, Entities),
    ) -> Result<Verdict, PolicyError> {
        let sets = self.sets(question);
        let ungated = Ruling::Approve { rules: Vec::new() };
        if action != "request" && !sets.gated.contains(action) {
            return Ok(ungated.into());
        }
        let permitting = self.determining(&sets.gate, asked)?;
        let of = |tier: Tier| -> Vec<String> {
            let holds = |id: &&String| sets.tier(id) == Some(tier);
            permitting.iter().filter(holds).cloned().collect()
        };
        let (auto, ask) = (of(Tier::Auto), of(Tier::Ask));
        let policy_may_approve = match question.playbook.approval_mode() {
            ApprovalMode::Auto | ApprovalMode::Rule => true,
            ApprovalMode::Always => false,
        };
        let ruling = match action {
            _ if permitting.is_empty() => {
                let code = match question.act {
                    Act::Approve { .. } => DenialCode::ApproverNotEligible,
                    Act::Request | Act::Use { .. } => DenialCode::AgentNotAllowed,
                };
                Ruling::refused(code)
            }
            "request" if !auto.is_empty() && policy_may_approve => Ruling::Approve { rules: auto },
            "request" => Ruling::AskApproval { rules: if ask.is_empty() { auto } else { ask } },
            _ => Ruling::Approve { rules: permitting },
        };
        let reasons = sets.reasons(ruling.rules());
        Ok(Verdict { ruling, reasons, shadow: None })
    }

    /// The policies of a set that hold for a request, sorted. One that fails to evaluate is an error, although Cedar
    /// would leave it out: a forbid that is left out permits.
    fn determining(
        &self,
        policies: &PolicySet,
        (request, entities): &(Request, Entities),
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

/// The verdict on a use: a refusal is the refusal; else what the request came to, by the policies of both.
fn both(asked: Verdict, used: Verdict) -> Verdict {
    let Verdict { mut ruling, mut reasons, shadow } = asked;
    match (&mut ruling, used.ruling) {
        (_, refused @ Ruling::Deny { .. }) => {
            return Verdict { ruling: refused, reasons: used.reasons, shadow: None };
        }
        (
            Ruling::Approve { rules } | Ruling::AskApproval { rules } | Ruling::Deny { rules, .. },
            Ruling::Approve { rules: more } | Ruling::AskApproval { rules: more },
        ) => {
            let new: Vec<String> = more.into_iter().filter(|id| !rules.contains(id)).collect();
            rules.extend(new);
        }
    }
    let new: Vec<String> =
        used.reasons.into_iter().filter(|reason| !reasons.contains(reason)).collect();
    reasons.extend(new);
    Verdict { ruling, reasons, shadow }
}

#[cfg(test)]
mod tests;
