//! Policy decision points over AuthZEN (OpenID Authorization API 1.0, section 6): `POST` of the question, and the answer.
//!
//! The answer `true` changes nothing, `false` refuses, and everything else is no answer: another status than 200, another
//! type, no boolean `decision`, too long or too late. Absent: what is made of no answer, which is the desk's to refuse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use marque_intent::DenialCode;
use marque_policy::Veto;
use marque_registry::DecisionPointRule;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use ureq::Agent;

use crate::client::{ClientError, tls};

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;
/// How many questions one decision point is asked at once; more wait, and their waiting counts as its time.
const MAX_AT_ONCE: usize = 16;
/// The longest reason of a decision point that is kept, in characters.
const MAX_REASON: usize = 200;

/// One decision point.
#[derive(Debug)]
pub struct ExternalPoint {
    name: String,
    url: Arc<str>,
    agent: Agent,
    timeout: Duration,
    room: Arc<Semaphore>,
}

/// A decision point gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It did not answer in time, or there was no room to ask it.
    #[error("no answer within {}ms", .0.as_millis())]
    Late(Duration),
    /// The call failed.
    #[error("the call failed")]
    Call(#[source] Box<ureq::Error>),
    /// It answered with another status than 200.
    #[error("it answered with status {0}")]
    Status(u16),
    /// The answer is no evaluation response.
    #[error("its answer is no evaluation response")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The process stops.
    #[error("the process stops")]
    Stopping,
}

/// An evaluation response (section 6.2); what else it says is not looked at.
#[derive(Debug, Deserialize)]
struct Evaluation {
    decision: bool,
    #[serde(default)]
    context: Value,
}

impl ExternalPoint {
    /// A decision point of a trust domain's document; files are below `folder`.
    ///
    /// # Errors
    /// Its certificate authority cannot be read.
    pub fn open(rule: &DecisionPointRule, folder: &Path) -> Result<Self, ClientError> {
        let tls = rule.ca_file().map(|file| tls(&folder.join(file))).transpose()?;
        let config = Agent::config_builder()
            .tls_config(tls.unwrap_or_default())
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(rule.timeout()))
            .build();
        Ok(Self {
            name: rule.name().to_owned(),
            url: rule.url().as_str().into(),
            agent: config.new_agent(),
            timeout: rule.timeout(),
            room: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks; a veto if it says `false`.
    ///
    /// # Errors
    /// It gave no answer.
    pub async fn evaluate(&self, question: &Value) -> Result<Option<Veto>, NoAnswer> {
        let late = |_elapsed| NoAnswer::Late(self.timeout);
        let asked = tokio::time::timeout(self.timeout, self.ask(question.clone())).await;
        let Evaluation { decision, context } = asked.map_err(late)??;
        if decision {
            return Ok(None);
        }
        Ok(Some(Veto {
            code: code(&context),
            rules: vec![format!("authzen:{}", self.name)],
            reason: reason(&context)
                .unwrap_or_else(|| format!("the decision point `{}` refuses", self.name)),
        }))
    }

    async fn ask(&self, question: Value) -> Result<Evaluation, NoAnswer> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|_closed| NoAnswer::Stopping)?;
        let (agent, url) = (self.agent.clone(), Arc::clone(&self.url));
        let called = tokio::task::spawn_blocking(move || {
            let answer = call(&agent, &url, &question);
            // A call that is given up holds its place until it ends by itself.
            drop(room);
            answer
        });
        called.await.map_err(|_stopped| NoAnswer::Stopping)?
    }
}

fn call(agent: &Agent, url: &str, question: &Value) -> Result<Evaluation, NoAnswer> {
    let failed = |error: ureq::Error| NoAnswer::Call(Box::new(error));
    let request = agent.post(url).header("accept", "application/json");
    let mut response = request.send_json(question).map_err(failed)?;
    if response.status() != 200 {
        return Err(NoAnswer::Status(response.status().as_u16()));
    }
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
    let body = body.map_err(|error| NoAnswer::Answer(Box::new(error)))?;
    serde_json::from_slice(&body).map_err(|error| NoAnswer::Answer(Box::new(error)))
}

/// `context.code`, if it is one of ours that a policy may give.
fn code(context: &Value) -> DenialCode {
    let named = context.get("code").and_then(Value::as_str);
    named.and_then(|text| text.parse().ok()).unwrap_or(DenialCode::AgentNotAllowed)
}

/// `context.reason_admin.en`, `context.reason_admin` or `context.reason` as text, for operators.
fn reason(context: &Value) -> Option<String> {
    let admin = context.get("reason_admin");
    let told = admin
        .and_then(|reasons| reasons.get("en").or(Some(reasons)))
        .and_then(Value::as_str)
        .or_else(|| context.get("reason").and_then(Value::as_str))?;
    let plain = told.chars().filter(|c| !c.is_control());
    Some(plain.take(MAX_REASON).collect()).filter(|text: &String| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
