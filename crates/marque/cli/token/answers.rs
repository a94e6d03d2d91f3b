//! What the token endpoint's answers mean to a client that waits.

use std::fmt;
use std::time::Duration;

use marque_intent::{Denial, DenialCode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::super::failure::Failure;
use crate::client::Answer;

/// What to do after an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// It is the token.
    Token(Value),
    /// The request waits for an approver, and this is what to come back with.
    Deferred(Deferred),
    /// Nobody has decided yet.
    Pending,
    /// Poll less often.
    SlowDown,
    /// It is over.
    Refused(Failure),
}

/// A token request that was deferred. The code opens it for nobody but us, and is not shown all the same.
pub(super) struct Deferred {
    pub(super) code: Zeroizing<String>,
    pub(super) expires_in: Duration,
    pub(super) interval: Duration,
    pub(super) intent: String,
}

impl Step {
    pub(super) fn of(answer: &Answer) -> Self {
        if answer.is_success() && answer.body.get("access_token").is_some_and(Value::is_string) {
            return Self::Token(answer.body.clone());
        }
        match text(&answer.body, "error") {
            Some("authorization_pending") => {
                Deferred::of(&answer.body).map_or(Self::Pending, Self::Deferred)
            }
            Some("slow_down") => Self::SlowDown,
            _ => Self::Refused(Self::refusal(answer)),
        }
    }

    /// A refusal in the issuer's words, with its code and what to do about it.
    pub(super) fn refusal(answer: &Answer) -> Failure {
        let Answer { status, body } = answer;
        let Some(error) = text(body, "error") else {
            return Failure::failed(format!("the issuer answered {status}, and gave no reason"));
        };
        let told = text(body, "error_description").unwrap_or("no reason was given");
        let failure = Failure::failed(format!("{error}: {told}"));
        let code = text(body, "code");
        let failure = failure.code(code.map(ToOwned::to_owned));
        let denial = code.and_then(|code| code.parse::<DenialCode>().ok());
        // What an issuer answers that lets nobody wait for it.
        let failure =
            if denial == Some(DenialCode::ApprovalPending) { failure.waits() } else { failure };
        let next = match (error, denial) {
            (_, Some(code)) => Denial::new(code, "").to_problem().remediation.text,
            ("invalid_client", _) => {
                "ask why this program gets no identity there: marque explain".to_owned()
            }
            ("expired_token", _) => "ask anew, and have an approver at hand".to_owned(),
            ("invalid_scope" | "invalid_target", _) => {
                "ask for no more than the playbook permits, or leave --scope and --audience out"
                    .to_owned()
            }
            ("temporarily_unavailable" | "server_error", _) => {
                "try again; the issuer's log says what is wrong".to_owned()
            }
            _ => return failure,
        };
        failure.next(next)
    }
}

impl Deferred {
    fn of(body: &Value) -> Option<Self> {
        let seconds = |name: &str| body.get(name)?.as_u64().map(Duration::from_secs);
        Some(Self {
            code: Zeroizing::new(text(body, "deferral_code")?.to_owned()),
            expires_in: seconds("expires_in")?,
            // RFC 8628 §3.2: five seconds where nothing is said.
            interval: seconds("interval").unwrap_or(Duration::from_secs(5)),
            intent: text(body, "intent_id")?.to_owned(),
        })
    }

    /// What is told to somebody who does not wait.
    pub(super) fn failure(&self) -> Failure {
        let Self { intent, .. } = self;
        Failure::waiting(format!("{intent} waits for an approver"))
            .code(Some(DenialCode::ApprovalPending.as_str().to_owned()))
            .next(format!(
                "an operator decides: marque approve {intent}; then: marque token request --intent {intent}"
            ))
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("intent", &self.intent).finish_non_exhaustive()
    }
}

fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use serde_json::json;

    use super::super::super::output::OutputFormat;
    use super::*;

    fn step(status: u16, body: Value) -> Step {
        Step::of(&Answer { status, body })
    }

    #[test]
    fn each_answer_says_what_to_do_next() {
        let token = json!({"access_token": "x", "token_type": "Bearer"});
        assert!(matches!(step(200, token), Step::Token(_)));
        let pending = json!({"error": "authorization_pending"});
        assert!(matches!(step(400, pending), Step::Pending));
        assert!(matches!(step(400, json!({"error": "slow_down"})), Step::SlowDown));
        let deferred = json!({
            "error": "authorization_pending",
            "deferral_code": "secret-code",
            "expires_in": 2700,
            "interval": 7,
            "intent_id": "int_1",
        });
        let Step::Deferred(deferred) = step(400, deferred) else { panic!("not deferred") };
        assert_eq!((deferred.interval.as_secs(), deferred.expires_in.as_secs()), (7, 2700));
        assert!(!format!("{deferred:?}{:?}", deferred.failure()).contains("secret-code"));
    }

    #[test]
    fn where_a_person_has_to_decide_first_the_exit_code_says_so_without_deferral_too() {
        let body = json!({ "error": "access_denied", "code": "approval_pending" });
        let Step::Refused(failure) = step(400, body) else { panic!("not refused") };
        assert_eq!(failure.report(OutputFormat::Json), ExitCode::from(3));
    }

    #[test]
    fn a_refusal_keeps_its_code_and_says_what_to_do() {
        let denied = json!({
            "error": "access_denied",
            "error_description": "the intent does not permit a token",
            "code": "approval_denied",
        });
        for (body, told) in [
            (denied, "approval_denied"),
            (json!({"error": "expired_token"}), "ask anew"),
            (json!({"error": "invalid_client"}), "marque explain"),
            (json!({"error": "invalid_scope"}), "no more than the playbook permits"),
            (json!({"error": "temporarily_unavailable"}), "try again"),
            (json!("<html>"), "answered 418"),
            (json!({"access_token": 1}), "answered 418"),
        ] {
            let Step::Refused(failure) = step(418, body.clone()) else { panic!("{body}") };
            assert!(format!("{failure:?}").contains(told), "{failure:?}");
        }
    }
}
