//! The agent's view of a denial, in the members of an RFC 9457 problem document.

use serde::{Deserialize, Serialize};

use super::{Denial, DenialClass, DenialCode, DenialId, Remediation, Retry};
use crate::digest::Digest;
use crate::id::IntentId;

/// The page that explains every code, each under an anchor of its name.
pub const DENIALS_PAGE: &str = "docs/denials.md";

/// An RFC 9457 problem. An edge adds nothing but the media type and a `Retry-After` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:marque:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What to correct, where it is about the caller's own input; else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Always `deny`.
    pub decision: String,
    /// The stable code.
    pub code: DenialCode,
    /// Its class.
    pub class: DenialClass,
    /// Whether to try again.
    pub retry: ProblemRetry,
    /// Who can repair it.
    pub remediation: ProblemRemediation,
    /// Where the code is explained: [`DENIALS_PAGE`] and the code as its anchor.
    pub doc: String,
    /// What operators find the refusal by, if it is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<DenialId>,
    /// The intent that was refused, if one was made; with `duplicate_grant` the one that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_id: Option<IntentId>,
    /// Which policy decided, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ProblemPolicy>,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemRetry {
    /// Whether it can help.
    pub allowed: bool,
    /// Seconds to wait first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_s: Option<u64>,
    /// How many further tries there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Who can repair it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemRemediation {
    /// For programs.
    pub kind: Remediation,
    /// For people.
    pub text: String,
}

/// Which policy decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemPolicy {
    /// The digest of the policy set.
    pub set_digest: Digest,
    /// The ids of the policies.
    pub rule_ids: Vec<String>,
}

impl Problem {
    /// The problem for a denial, without an intent.
    pub(super) fn of(denial: &Denial) -> Self {
        let code = denial.code();
        Self {
            kind: format!("urn:marque:problem:{code}"),
            title: code.title().to_owned(),
            status: code.http_status(),
            detail: about_own_input(code.class()).then(|| denial.detail().to_owned()),
            decision: "deny".to_owned(),
            code,
            class: code.class(),
            retry: denial.retry().into(),
            remediation: ProblemRemediation {
                kind: code.remediation(),
                text: code.remediation().sentence().to_owned(),
            },
            doc: format!("{DENIALS_PAGE}#{code}"),
            request_id: denial.record().cloned(),
            intent_id: denial.subject().cloned(),
            policy: denial
                .policy_set()
                .map(|set| ProblemPolicy { set_digest: *set, rule_ids: denial.rules().to_vec() }),
        }
    }

    /// Names the intent that was refused.
    #[must_use]
    pub fn about(mut self, intent: IntentId) -> Self {
        self.intent_id = Some(intent);
        self
    }
}

impl ProblemRetry {
    /// The wire form of a code's retry rule.
    #[must_use]
    pub fn of(code: DenialCode) -> Self {
        code.retry().into()
    }
}

impl From<Retry> for ProblemRetry {
    fn from(retry: Retry) -> Self {
        Self {
            allowed: retry.allowed,
            after_s: retry.after.map(|after| after.as_secs()),
            max: retry.max,
        }
    }
}

/// An agent may read back what was wrong with what it sent; it may not learn what others or policy expected.
const fn about_own_input(class: DenialClass) -> bool {
    match class {
        DenialClass::Malformed | DenialClass::Change => true,
        DenialClass::Identity
        | DenialClass::Boundary
        | DenialClass::Attenuation
        | DenialClass::Intent
        | DenialClass::Risk
        | DenialClass::Approval
        | DenialClass::Grant
        | DenialClass::Stop
        | DenialClass::Pace
        | DenialClass::System => false,
    }
}
