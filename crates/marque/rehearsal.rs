//! What would come of a request, from files alone: the grant, the ruling on it, or the refusal, at an instant that is handed
//! in.
//!
//! It takes the same steps as the issuer's desk. Absent: everything that takes a running issuer, such as attestation, caps
//! and what a ticket system says; facts of that kind are handed in.

mod cases;

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_intent::{
    Circumstances, Denial, DenialCode, Evidence, Grant, IntentId, IntentRequest, PhaseName,
    PlaybookSet, Requester, Ruling, resolve,
};
use marque_policy::{Act, DecisionPoint, Question, ruled};
use marque_spiffe::SpiffeId;
use serde_json::{Map, Value};

pub use cases::{CaseOutcome, CaseResult, run_cases};

/// One request, and the facts beside it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who asks.
    pub agent: SpiffeId,
    /// Who answers for that agent.
    pub sponsor: Option<String>,
    /// The request, as an agent would send it.
    pub request: Map<String, Value>,
    /// What was found out about it.
    pub evidence: Evidence,
    /// The phases that were completed with success before, for the same.
    pub done: BTreeSet<PhaseName>,
    /// Now.
    pub now: Timestamp,
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Rehearsed {
    /// What it would permit; absent where it was refused before that was clear.
    pub grant: Option<Grant>,
    /// What policy says; absent where it was not asked.
    pub ruling: Option<Ruling>,
    /// Why it is refused, if it is.
    pub denial: Option<Denial>,
}

/// Plays one request through.
#[must_use]
pub fn rehearse(playbooks: &PlaybookSet, policy: &dyn DecisionPoint, asked: &Asked) -> Rehearsed {
    match decide(playbooks, policy, asked) {
        Ok((grant, ruling)) => {
            let denial = match &ruling {
                Ruling::Deny { code, rules } => Some(
                    Denial::new(*code, "refused by policy")
                        .by_policy(grant.policy_set_digest, rules.clone()),
                ),
                Ruling::AskApproval { .. } if grant.approval.is_none() => Some(Denial::new(
                    DenialCode::QuorumUnreachable,
                    "policy wants an approver and the playbook has no approval level",
                )),
                Ruling::Approve { .. } | Ruling::AskApproval { .. } => None,
            };
            Rehearsed { grant: Some(grant), ruling: Some(ruling), denial }
        }
        Err(denial) => Rehearsed { grant: None, ruling: None, denial: Some(denial) },
    }
}

fn decide(
    playbooks: &PlaybookSet,
    policy: &dyn DecisionPoint,
    asked: &Asked,
) -> Result<(Grant, Ruling), Denial> {
    let request = IntentRequest::from_object(asked.request.clone())?;
    let now = asked.now;
    let whole = playbooks.find(request.playbook()).ok_or_else(|| {
        let detail = format!("there is no playbook `{}`", request.playbook());
        Denial::new(DenialCode::UnknownPlaybook, detail)
    })?;
    playbooks.check_review(whole, now)?;
    let playbook = whole.in_phase(request.phase())?;
    if let Some(phase) = playbook.phase()
        && let Some(missing) = phase.needs().difference(&asked.done).next()
    {
        let detail = format!("phase `{}` needs phase `{missing}` completed before", phase.name());
        return Err(Denial::new(DenialCode::PhaseOrder, detail));
    }
    let under = playbooks
        .exception_for(&asked.agent, playbook, &request, now)
        .map(|exception| playbook.under(exception));
    let playbook = under.as_ref().unwrap_or(playbook);
    let failed = |error: &dyn std::fmt::Display| {
        Denial::new(DenialCode::PolicyError, format!("no decision: {error}"))
    };
    let intent_id: IntentId =
        "int_00000000000000000000000000".parse().map_err(|error| failed(&error))?;
    let mut evidence = asked.evidence.clone();
    if playbook.is_for(&asked.agent) {
        playbook.demands().check(&evidence.standing, &request, now)?;
    }
    evidence.confidence = request.confidence();
    let (has_ticket, environment) = (request.ticket().is_some(), playbooks.environment());
    evidence.risk = playbook.assess_risk(&evidence, has_ticket, environment, now);
    let policy_set_digest = *policy.set_digest();
    let circumstances = Circumstances { intent_id, policy_set_digest, evidence, now };
    let requester =
        Requester { agent: asked.agent.clone(), attestation: None, owner: asked.sponsor.clone() };
    let grant = resolve(playbook, &request, &requester, circumstances)?;
    let evidence = &grant.evidence;
    let question =
        Question { grant: &grant, playbook, evidence, environment, act: Act::Request, now };
    let ruling = ruled(policy, &question).map_err(|error| failed(&error))?.ruling;
    Ok((grant, ruling))
}

#[cfg(test)]
mod tests;
