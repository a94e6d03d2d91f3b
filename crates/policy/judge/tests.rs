use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_intent::{
    Approver, Digest, Evidence, Grant, GrantTerms, Playbook, RiskAssessment, RiskFactor,
};
use marque_spiffe::Environment;

use super::*;
use crate::shipped::{self, PLAYBOOK};

/// Answers the same to everything.
#[derive(Debug)]
struct Fixed {
    ruling: Ruling,
    gate: Ruling,
    digest: Digest,
}

impl DecisionPoint for Fixed {
    fn decide(&self, _: &Question<'_>) -> Result<Verdict, PolicyError> {
        Ok(self.ruling.clone().into())
    }

    fn if_nothing_forbade(&self, _: &Question<'_>) -> Result<Ruling, PolicyError> {
        Ok(self.gate.clone())
    }

    fn set_digest(&self) -> &Digest {
        &self.digest
    }
}

fn ask() -> Ruling {
    Ruling::AskApproval { rules: vec!["gate".to_owned()] }
}

fn approve() -> Ruling {
    Ruling::Approve { rules: vec!["auto".to_owned()] }
}

fn playbook(more: &str, risk: &str) -> Playbook {
    let text = PLAYBOOK.replacen("base = 40", risk, 1).replacen("delivery =", more, 1);
    Playbook::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn grant(playbook: &Playbook, risk: RiskAssessment) -> Grant {
    shipped::grant(playbook, Evidence { risk, ..Evidence::default() })
}

fn scored(score: u32) -> RiskAssessment {
    let factor = RiskFactor {
        name: "off_hours".to_owned(),
        points: score,
        input: "1".to_owned(),
        weight: score,
    };
    RiskAssessment { score, base: 0, factors: vec![factor] }
}

fn judged(playbook: &Playbook, score: u32, ruling: Ruling, may_observe: bool) -> Verdict {
    gated(playbook, score, ruling, ask(), may_observe)
}

fn gated(
    playbook: &Playbook,
    score: u32,
    ruling: Ruling,
    gate: Ruling,
    may_observe: bool,
) -> Verdict {
    let grant = grant(playbook, scored(score));
    let point = Fixed { ruling, gate, digest: Digest::of(b"set") };
    let (evidence, now) = (&grant.evidence, Timestamp::UNIX_EPOCH);
    let (act, environment) = (Act::Request, Environment::Production);
    let question = Question { grant: &grant, playbook, evidence, environment, act, now };
    judge(&point, &question, may_observe).unwrap()
}

const ENFORCED: &str = "delivery =";
const OBSERVED: &str = "enforcement = \"observe\"\ndelivery =";
const LIMITS: &str = "base = 40\ndeny_at = 90\napprove_at = 50";

#[test]
fn m_36_a_playbook_refuses_a_score_and_says_what_it_is_made_of() {
    let playbook = playbook(ENFORCED, LIMITS);
    let refused = judged(&playbook, 90, approve(), false);
    assert_eq!(refused.ruling, Ruling::refused(DenialCode::RiskTooHigh));
    assert!(refused.reasons[0].contains("90 = 0 base + 90 off_hours"), "{:?}", refused.reasons);
    assert_ne!(judged(&playbook, 89, approve(), false).ruling, refused.ruling);
}

#[test]
fn m_47_from_some_score_on_a_person_approves_though_policy_would() {
    let playbook = playbook(ENFORCED, LIMITS);
    let asked = Ruling::AskApproval { rules: vec!["auto".to_owned()] };
    assert_eq!(judged(&playbook, 49, approve(), false).ruling, approve());
    assert_eq!(judged(&playbook, 50, approve(), false).ruling, asked);
}

#[test]
fn what_policy_refuses_stays_refused_whatever_the_score() {
    let playbook = playbook(ENFORCED, LIMITS);
    let refused = Ruling::refused(DenialCode::PurposeMismatch);
    for score in [0, 50, 90] {
        assert_eq!(judged(&playbook, score, refused.clone(), true).ruling, refused);
    }
}

#[test]
fn without_factors_the_grants_own_risk_counts() {
    let playbook = playbook(ENFORCED, "base = 40\ndeny_at = 41\napprove_at = 40");
    let grant = grant(&playbook, RiskAssessment::default());
    let point = Fixed { ruling: approve(), gate: ask(), digest: Digest::of(b"set") };
    let question = |grant| Question {
        grant,
        playbook: &playbook,
        evidence: &grant.evidence,
        environment: Environment::Production,
        act: Act::Request,
        now: Timestamp::UNIX_EPOCH,
    };
    let ruling = |grant| judge(&point, &question(grant), false).unwrap().ruling;
    assert!(matches!(ruling(&grant), Ruling::AskApproval { .. }));
    let riskier = Grant::seal(GrantTerms { risk: 41, ..grant.terms().clone() }).unwrap();
    assert_eq!(ruling(&riskier), Ruling::refused(DenialCode::RiskTooHigh));
}

#[test]
fn m_131_an_observed_playbook_records_what_it_would_refuse_and_does_not() {
    let playbook = playbook(OBSERVED, LIMITS);
    let refused = Ruling::Deny { code: DenialCode::PurposeMismatch, rules: vec!["p".to_owned()] };
    let verdict = judged(&playbook, 0, refused.clone(), true);
    assert_eq!(verdict.ruling, Ruling::AskApproval { rules: vec!["gate".to_owned()] });
    assert_eq!(verdict.shadow, Some(refused.clone()));
    let risky = judged(&playbook, 95, approve(), true);
    assert_eq!(risky.shadow, Some(Ruling::refused(DenialCode::RiskTooHigh)));
    // The trust domain has the last word, and a playbook that is enforced is.
    assert_eq!(judged(&playbook, 0, refused.clone(), false).ruling, refused);
    let enforced = self::playbook(ENFORCED, LIMITS);
    assert_eq!(judged(&enforced, 0, refused.clone(), true).ruling, refused);
    // What is permitted has no shadow.
    assert_eq!(judged(&playbook, 0, approve(), true).shadow, None);
}

#[test]
fn observing_lets_no_risk_pass_that_a_person_would_be_asked_about() {
    let playbook = playbook(OBSERVED, LIMITS);
    let asked = Ruling::AskApproval { rules: vec!["auto".to_owned()] };
    for score in [50, 89, 90, 100] {
        assert_eq!(gated(&playbook, score, approve(), approve(), true).ruling, asked, "{score}");
    }
    assert_eq!(gated(&playbook, 49, approve(), approve(), true).ruling, approve());
    let refused = Ruling::refused(DenialCode::PurposeMismatch);
    assert_eq!(gated(&playbook, 95, refused, approve(), true).ruling, asked);
}

#[test]
fn identity_boundary_kills_and_blackouts_are_never_only_observed() {
    let playbook = playbook(OBSERVED, LIMITS);
    for code in DenialCode::ALL {
        let refused = Ruling::refused(*code);
        let enforced = judged(&playbook, 0, refused.clone(), true).ruling == refused;
        let must = matches!(
            code,
            DenialCode::Blackout
                | DenialCode::SelfApprovalForbidden
                | DenialCode::ApproverNotEligible
        ) || matches!(
            code.class(),
            DenialClass::Identity
                | DenialClass::Boundary
                | DenialClass::Attenuation
                | DenialClass::Stop
                | DenialClass::System
        );
        assert_eq!(enforced, must, "{code}");
    }
}

#[test]
fn a_person_may_approve_what_is_risky() {
    let playbook = playbook(ENFORCED, LIMITS);
    let grant = grant(&playbook, scored(95));
    let point = Fixed { ruling: approve(), gate: ask(), digest: Digest::of(b"set") };
    let (approver, groups) =
        (Approver::Operator { uid: 1, user: "alice".to_owned() }, BTreeSet::new());
    let act = Act::Approve { approver: &approver, groups: &groups, approvals: 0, mfa: None };
    let (evidence, now) = (&grant.evidence, Timestamp::UNIX_EPOCH);
    let environment = Environment::Production;
    let question = Question { grant: &grant, playbook: &playbook, evidence, environment, act, now };
    assert_eq!(judge(&point, &question, false).unwrap().ruling, approve());
}
