//! The word of a further decision point: it may turn yes into no, and nothing else.

use marque_intent::{DenialCode, Ruling, Verdict};

/// Why a further decision point refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veto {
    /// The code that the agent is told.
    pub code: DenialCode,
    /// Who refuses: the name of the decision point and of its rule.
    pub rules: Vec<String>,
    /// Why, for operators.
    pub reason: String,
}

impl Veto {
    /// The verdict with this word. What was refused before stays refused for its own reason.
    #[must_use]
    pub fn applied(veto: Option<Self>, verdict: Verdict) -> Verdict {
        match (veto, &verdict.ruling) {
            (None, _) | (Some(_), Ruling::Deny { .. }) => verdict,
            (Some(Self { code, rules, reason }), _) => {
                let ruling = Ruling::Deny { code, rules };
                Verdict { ruling, reasons: vec![reason], shadow: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts() -> [Verdict; 3] {
        let rules = vec!["own".to_owned()];
        [
            Ruling::Approve { rules: rules.clone() },
            Ruling::AskApproval { rules: rules.clone() },
            Ruling::Deny { code: DenialCode::Blackout, rules },
        ]
        .map(Verdict::from)
    }

    #[test]
    fn a_further_decision_point_only_ever_refuses() {
        for verdict in verdicts() {
            assert_eq!(Veto::applied(None, verdict.clone()), verdict);
            let veto = Veto {
                code: DenialCode::PurposeMismatch,
                rules: vec!["rego:deny".to_owned()],
                reason: "no".to_owned(),
            };
            let after = Veto::applied(Some(veto), verdict.clone());
            match verdict.ruling {
                Ruling::Deny { .. } => assert_eq!(after, verdict),
                _ => assert!(matches!(
                    after.ruling,
                    Ruling::Deny { code: DenialCode::PurposeMismatch, .. }
                )),
            }
        }
    }
}
