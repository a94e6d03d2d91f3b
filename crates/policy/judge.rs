//! From a decision point's answer to what is enforced: the playbook's thresholds of risk, and whether it is only observed.

use marque_intent::{DenialClass, DenialCode, Enforcement, Ruling, Verdict};

use crate::decision::{Act, DecisionPoint, PolicyError, Question};

/// Decides a question, with the risk rules and the enforcement of its playbook.
///
/// `may_observe` is whether the trust domain lets a playbook be only observed now. Risk is looked at where a token or a
/// grant would be given, not where a person approves: a person is who a high score asks for.
///
/// # Errors
/// As for [`DecisionPoint::decide`]: then there is no verdict, and callers refuse, observed or not.
pub fn judge(
    point: &dyn DecisionPoint,
    question: &Question<'_>,
    may_observe: bool,
) -> Result<Verdict, PolicyError> {
    observed(ruled(point, question)?, point, question, may_observe)
}

/// What policy and the playbook's thresholds say, enforced or not.
///
/// # Errors
/// As for [`DecisionPoint::decide`].
pub fn ruled(point: &dyn DecisionPoint, question: &Question<'_>) -> Result<Verdict, PolicyError> {
    Ok(with_risk(point.decide(question)?, question))
}

/// Turns a refusal of policy or risk into what would have come without it, where the playbook is only observed.
///
/// # Errors
/// As for [`DecisionPoint::decide`].
pub fn observed(
    verdict: Verdict,
    point: &dyn DecisionPoint,
    question: &Question<'_>,
    may_observe: bool,
) -> Result<Verdict, PolicyError> {
    let watched = may_observe && question.playbook.enforcement() == Enforcement::Observe;
    match &verdict.ruling {
        Ruling::Deny { code, .. } if watched && may_be_observed(*code) => {
            let ruling = match question.act {
                // Whoever is asked about some risk is asked about more.
                Act::Request => asking_for_risk(point.if_nothing_forbade(question)?, question),
                Act::Approve { .. } | Act::Use { .. } => Ruling::Approve { rules: Vec::new() },
            };
            let Verdict { ruling: shadow, reasons, shadow: _ } = verdict;
            Ok(Verdict { ruling, reasons, shadow: Some(shadow) })
        }
        _ => Ok(verdict),
    }
}

/// A person approves what policy would, from the playbook's `approve_at` on.
fn asking_for_risk(ruling: Ruling, question: &Question<'_>) -> Ruling {
    match ruling {
        Ruling::Approve { rules }
            if question.playbook.risk_rules().wants_a_person(score(question)) =>
        {
            Ruling::AskApproval { rules }
        }
        ruling => ruling,
    }
}

/// Who somebody is, where they are, who may approve, who was stopped and when nothing is to happen are never only observed.
const fn may_be_observed(code: DenialCode) -> bool {
    match code.class() {
        DenialClass::Identity
        | DenialClass::Boundary
        | DenialClass::Attenuation
        | DenialClass::Stop
        | DenialClass::System => false,
        _ => !matches!(
            code,
            DenialCode::Blackout
                | DenialCode::SelfApprovalForbidden
                | DenialCode::ApproverNotEligible
        ),
    }
}

/// A verdict with the playbook's thresholds: what they refuse is refused, and what they want a person for is asked.
#[must_use]
pub fn with_risk(verdict: Verdict, question: &Question<'_>) -> Verdict {
    let rules = question.playbook.risk_rules();
    let score = score(question);
    let grants = match question.act {
        Act::Request | Act::Use { .. } => true,
        Act::Approve { .. } => false,
    };
    if !grants || matches!(verdict.ruling, Ruling::Deny { .. }) {
        return verdict;
    }
    let told = match question.evidence.risk.is_empty() {
        true => score.to_string(),
        false => question.evidence.risk.to_string(),
    };
    if rules.refuses(score) {
        let why =
            format!("the playbook refuses a risk of {} and more: {told}", limit(rules.deny_at));
        let ruling = Ruling::refused(DenialCode::RiskTooHigh);
        return Verdict { ruling, reasons: vec![why], shadow: None };
    }
    match verdict {
        Verdict { ruling: Ruling::Approve { rules: permits }, mut reasons, shadow }
            if rules.wants_a_person(score) && matches!(question.act, Act::Request) =>
        {
            let limit = limit(rules.approve_at);
            reasons.push(format!("a person approves a risk of {limit} and more: {told}"));
            Verdict { ruling: Ruling::AskApproval { rules: permits }, reasons, shadow }
        }
        Verdict { ruling: Ruling::AskApproval { .. }, reasons, .. } if by_policy(question.act) => {
            unapproved(reasons)
        }
        Verdict { ruling: Ruling::Approve { .. }, mut reasons, .. }
            if rules.wants_a_person(score) && by_policy(question.act) =>
        {
            reasons.push(format!("the risk is {told} now"));
            unapproved(reasons)
        }
        verdict => verdict,
    }
}

const fn by_policy(act: Act<'_>) -> bool {
    matches!(act, Act::Use { by_policy: true, .. })
}

/// No person has approved, and one would be asked now.
fn unapproved(reasons: Vec<String>) -> Verdict {
    Verdict { ruling: Ruling::refused(DenialCode::ApprovalRequired), reasons, shadow: None }
}

/// The score of now; what the playbook weighs nothing for is the grant's own.
pub(crate) fn score(question: &Question<'_>) -> u32 {
    match question.evidence.risk.is_empty() {
        true => question.grant.risk,
        false => question.evidence.risk.score,
    }
}

fn limit(limit: Option<u32>) -> u32 {
    limit.unwrap_or(marque_intent::MAX_RISK)
}

#[cfg(test)]
mod tests;
