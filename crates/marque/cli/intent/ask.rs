//! What an agent asks for on the command line, and asking the issuer over HTTPS, with a JWT-SVID of this process as the
//! credential.

use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use marque_intent::{PlaybookId, Problem};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::{pairs, visible};
use super::super::text::moment_from;
use crate::client::HttpClient;
use crate::endpoints::TrustDomainEndpoints;

/// What is said with a request for a playbook.
#[derive(Debug, Args)]
pub(in crate::cli) struct AskedArgs {
    /// The version that is meant; refused if another one is in force
    #[arg(long, value_name = "NUMBER")]
    playbook_version: Option<u64>,
    /// A parameter: NAME=TEXT, or NAME:=JSON for what is not text
    #[arg(long = "param", id = "param", value_name = "NAME=VALUE")]
    parameters: Vec<Parameter>,
    /// The change ticket
    #[arg(long)]
    ticket: Option<String>,
    /// What you call the session that this belongs to
    #[arg(long)]
    session: Option<String>,
    /// What you call the task that this is for
    #[arg(long)]
    task: Option<String>,
    /// Why, for the people who approve; nothing decides by it
    #[arg(long)]
    justification: Option<String>,
}

impl AskedArgs {
    /// The options, by the ids that clap knows them by.
    pub(in crate::cli) const OPTIONS: [&str; 6] =
        ["playbook_version", "param", "ticket", "session", "task", "justification"];

    /// The members of the request.
    pub(in crate::cli) fn members(
        self,
        playbook: &PlaybookId,
    ) -> Result<Map<String, Value>, Failure> {
        let Self { playbook_version, parameters, ticket, session, task, justification } = self;
        let optional = [
            ("version", playbook_version.map(Value::from)),
            ("ticket", ticket.map(Value::from)),
            ("session", session.map(Value::from)),
            ("task", task.map(Value::from)),
            ("justification", justification.map(Value::from)),
        ];
        let mut members = Map::new();
        members.insert("playbook".to_owned(), playbook.to_string().into());
        members.insert("parameters".to_owned(), Parameter::collect(parameters)?.into());
        let given =
            optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        members.extend(given);
        Ok(members)
    }
}

/// Where the Workload API is.
#[derive(Debug, Args)]
pub(in crate::cli) struct SocketArgs {
    /// The Workload API socket, as unix:/path [default: the trust domain's, or SPIFFE_ENDPOINT_SOCKET]
    #[arg(long, value_name = "SOCKET")]
    socket: Option<String>,
}

impl SocketArgs {
    /// The socket that was named.
    pub(in crate::cli) fn named(&self) -> Option<&str> {
        self.socket.as_deref()
    }
}

/// `NAME=TEXT` or `NAME:=JSON`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Parameter {
    name: String,
    value: Value,
}

/// A parameter that does not read.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ParameterError {
    /// There is no `=`, or no name before it.
    #[error("expected NAME=TEXT or NAME:=JSON")]
    Form,
    /// What stands after `:=` is not JSON.
    #[error("`{0}` is not JSON")]
    Json(String),
}

impl FromStr for Parameter {
    type Err = ParameterError;

    fn from_str(text: &str) -> Result<Self, ParameterError> {
        let (name, value) = text.split_once('=').ok_or(ParameterError::Form)?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                (name, value.parse().map_err(|_malformed| ParameterError::Json(value.to_owned()))?)
            }
            None => (name, Value::String(value.to_owned())),
        };
        if name.is_empty() {
            return Err(ParameterError::Form);
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

impl Parameter {
    /// A name with its value.
    pub(super) const fn new(name: String, value: Value) -> Self {
        Self { name, value }
    }

    /// The parameters as one object; none twice.
    pub(super) fn collect(parameters: Vec<Self>) -> Result<Map<String, Value>, Failure> {
        let mut members = Map::new();
        for Self { name, value } in parameters {
            if members.insert(name.clone(), value).is_some() {
                return Err(Failure::usage(format!("`{name}` is given twice")));
            }
        }
        Ok(members)
    }
}

/// This process as a client of the issuer.
pub(super) struct Ask {
    at: TrustDomainEndpoints,
    svid: Zeroizing<String>,
}

impl Ask {
    /// Fetches a JWT-SVID for the issuer.
    pub(super) async fn new(session: &Session, socket: Option<&str>) -> Result<Self, Failure> {
        let at = session.home_of_workload(socket)?;
        let mut workload = session.workload_of(&at, socket).await?;
        let svids = workload.jwt_svids(vec![at.issuer_url.clone()], None).await?;
        let first =
            svids.into_iter().next().ok_or_else(|| Failure::failed("no JWT-SVID was issued"))?;
        Ok(Self { at, svid: Zeroizing::new(first.svid) })
    }

    /// Posts to the intents endpoint, or to `path` below it, and gives the intent that is answered.
    pub(super) async fn post(self, path: &str, body: Value) -> Result<Value, Failure> {
        let Self { at, svid } = self;
        let url = format!("{}{path}", at.intents_url);
        let called = tokio::task::spawn_blocking(move || {
            HttpClient::new(&at.ca_file)?.post_json(&url, &svid, &body)
        });
        let answer = called
            .await
            .map_err(|error| Failure::because("the request was interrupted", &error))?
            .map_err(|error| Failure::because("cannot ask the issuer", &error))?;
        if answer.is_success() {
            Ok(answer.body)
        } else {
            Err(refusal(answer.status, &answer.body))
        }
    }
}

/// The intent as its agent sees it.
pub(super) fn render(intent: &Value, now: Timestamp) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let member = |name: &str| intent.get(name).map_or_else(|| "-".to_owned(), text);
    let mut shown = pairs([
        ("intent", member("id")),
        (
            "state",
            match intent.get("ended_for").and_then(Value::as_str) {
                Some(why) => format!("{} ({why})", member("state")),
                None => member("state"),
            },
        ),
        ("ends", moment_from(member("expires_at").parse().ok(), now)),
        ("uses left", member("uses_left")),
        ("digest", member("digest")),
    ]);
    if intent.get("state").is_some_and(|state| state == "pending") {
        shown
            .push_str(&format!("\nAn operator decides: marque approve {}", visible(&member("id"))));
    }
    shown
}

/// A refusal in the issuer's words: an RFC 9457 problem, as far as it is one.
fn refusal(status: u16, body: &Value) -> Failure {
    match serde_json::from_value::<Problem>(body.clone()) {
        Ok(problem) => {
            let Problem { title, detail, code, remediation, .. } = problem;
            let message =
                detail.map_or_else(|| title.clone(), |detail| format!("{title}: {detail}"));
            Failure::failed(message).code(Some(code.as_str().to_owned())).next(remediation.text)
        }
        Err(_) => {
            let told = ["detail", "title", "error_description", "error"];
            let told = told
                .iter()
                .find_map(|name| body.get(name)?.as_str())
                .unwrap_or("no reason was given");
            Failure::failed(format!("the issuer answered {status}: {told}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_text_or_json() {
        let text: Parameter = "service=a=b".parse().unwrap();
        assert_eq!(text, Parameter { name: "service".to_owned(), value: "a=b".into() });
        let json: Parameter = "count:=3".parse().unwrap();
        assert_eq!(json, Parameter { name: "count".to_owned(), value: 3.into() });
        for refused in ["service", "=x", ":=3", "count:=three"] {
            assert!(refused.parse::<Parameter>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let twice = ["a=1", "a=2"].map(|text| text.parse().unwrap());
        assert!(Parameter::collect(twice.into()).is_err());
    }

    #[test]
    fn a_problem_becomes_a_failure_with_its_code_and_its_remedy() {
        let denial =
            marque_intent::Denial::new(marque_intent::DenialCode::TicketMissing, "no ticket");
        let problem = serde_json::to_value(denial.to_problem()).unwrap();
        let failure = format!("{:?}", refusal(403, &problem));
        assert!(failure.contains("ticket_missing") && failure.contains("next: Some"), "{failure}");
        let plain = format!("{:?}", refusal(502, &serde_json::json!({ "title": "bad gateway" })));
        assert!(plain.contains("502: bad gateway"), "{plain}");
    }

    #[test]
    fn a_pending_intent_says_who_decides() {
        let now = "2026-11-22T03:00:00Z".parse().unwrap();
        let ends = "2026-11-22T03:30:00.5Z";
        let pending = serde_json::json!({ "id": "int_1", "state": "pending", "uses_left": 1, "expires_at": ends });
        insta::assert_snapshot!(render(&pending, now), @r"
        intent     int_1
        state      pending
        ends       2026-11-22 03:30:00 UTC (in 30m)
        uses left  1
        digest     -

        An operator decides: marque approve int_1
        ");
        let approved = serde_json::json!({ "id": "int_1", "state": "approved" });
        assert!(!render(&approved, now).contains("marque approve"));
    }
}
