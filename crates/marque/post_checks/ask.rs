//! One question about reported work: `POST` of what was reported, and `{"verified": true}` or `{"verified": false}`.
//!
//! Everything else is no answer: another status than 200, a redirect, another or a further member, too long or too late.

use http::{Request, StatusCode, header};
use marque_intent::{Intent, PostCheck, PostCheckUrl};
use marque_jose::json::{Limits, StrictJsonError, parse_object};
use serde_json::{Value, json};

use super::{FIRST_PAUSE, PostChecks, TRIES};
use crate::outgoing::{Destination, OutgoingError, OutgoingLimits};

/// The largest answer, in bytes, and the deepest.
const ANSWER: Limits = Limits { max_bytes: 4 * 1024, max_depth: 2 };

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the question cannot be asked")]
    Call(#[source] OutgoingError),
    #[error("the answer has status {0}; redirects are not followed")]
    Status(StatusCode),
    #[error("the answer is no JSON object")]
    Json(#[source] StrictJsonError),
    #[error("the answer is not `verified`, true or false, and nothing else")]
    Members,
}

impl PostChecks {
    /// Asks until there is an answer, [`TRIES`] times at most.
    pub(super) async fn ask(&self, url: &PostCheckUrl, intent: &Intent) -> PostCheck {
        let question = question(intent).to_string().into_bytes();
        let mut pause = FIRST_PAUSE;
        for tries in 1..=TRIES {
            match self.call(url, question.clone()).await {
                Ok(true) => return PostCheck::Verified,
                Ok(false) => return PostCheck::Failed,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, intent = %intent.id(), tries, "no word of a post-check");
                }
            }
            if tries < TRIES {
                self.clock.sleep_until(self.clock.now() + pause).await;
                pause *= 2;
            }
        }
        PostCheck::Unreachable
    }

    async fn call(&self, url: &PostCheckUrl, question: Vec<u8>) -> Result<bool, NoAnswer> {
        let tls = self.tls.clone().filter(|_| url.is_https());
        let destination = Destination::new(url.as_str(), tls).map_err(NoAnswer::Call)?;
        let request = Request::post("/")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("marque/", env!("CARGO_PKG_VERSION")))
            .body(question)
            .map_err(|error| NoAnswer::Call(OutgoingError::Request(error)))?;
        let limits = OutgoingLimits { time: self.timeout, bytes: ANSWER.max_bytes };
        let answer = destination.send(request, limits).await.map_err(NoAnswer::Call)?;
        if answer.status() != StatusCode::OK {
            return Err(NoAnswer::Status(answer.status()));
        }
        let members = parse_object(answer.body(), &ANSWER).map_err(NoAnswer::Json)?;
        match members.get("verified") {
            Some(Value::Bool(verified)) if members.len() == 1 => Ok(*verified),
            _ => Err(NoAnswer::Members),
        }
    }
}

/// What was granted, with the parameters that the playbook accepted, and what was reported; no free text of the agent.
fn question(intent: &Intent) -> Value {
    let grant = intent.grant();
    json!({
        "intent": intent.id(),
        "playbook": { "id": grant.playbook.id.as_str(), "version": grant.playbook.version },
        "parameters": grant.parameters,
        "resources": grant.resources,
        "outcome": intent.reported_outcome(),
    })
}
