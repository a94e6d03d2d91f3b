//! `marque token request`: an agent's own tool. Asks for a playbook or names an intent, waits if it is told to, and prints
//! the token.
//!
//! What goes to standard output is the token and nothing else; how it goes is told on standard error. Absent: keeping a
//! token anywhere, and keys: what comes is a bearer token, where the resource server takes one.

use std::time::Duration;

use clap::Args;
use marque_exchange::{
    ASSERTION_TYPE_JWT_SPIFFE, GRANT_TYPE_DEFERRED, GRANT_TYPE_TOKEN_EXCHANGE,
    TOKEN_TYPE_DEFERRAL_CODE, TOKEN_TYPE_JWT,
};
use marque_intent::{IntentId, PlaybookId};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::Session;
use super::super::failure::Failure;
use super::super::intent::ask::{AskedArgs, SocketArgs};
use super::super::output::visible;
use super::answers::{Deferred, Step};
use super::poll::{Waited, poll, stopped, tell};
use crate::client::{Answer, HttpClient};
use crate::endpoints::TrustDomainEndpoints;
use crate::grpc::workload::WorkloadClient;

/// How long the Workload API may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long before the end of a code it is shown at the latest.
const MARGIN: Duration = Duration::from_secs(1);

/// Get an access token, as the agent that this process is
///
/// Fetches a JWT-SVID for this very process from the Workload API, asks for a playbook, or names an intent that exists,
/// and exchanges both for one narrow token. Where a person has to approve first, --wait waits for that; without it the
/// command says which intent waits, and comes back for it later with --intent. Interrupted while it waits for an intent
/// that it made itself, it withdraws it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque token request restart-preview --param service=web
  marque token request ingress-cert-rotation --param region=eu-west-1 --param service=shop \\
      --ticket CHG-1842 --wait
  marque token request --intent int_01abcdefghjkmnpqrstvwxyz01 --scope secrets.update

Exit codes:
  0  the token is on standard output, alone; with --output json the whole answer
  1  refused, denied, or it failed
  2  the command line cannot be carried out as it stands
  3  a person has to decide first: nobody has, or not in the time that --timeout gives")]
pub(super) struct RequestArgs {
    /// The playbook to ask for
    #[arg(value_name = "PLAYBOOK", required_unless_present = "intent", conflicts_with = "intent")]
    playbook: Option<PlaybookId>,
    /// An intent of this agent's, approved or not, in place of a playbook
    #[arg(long, value_name = "INTENT", conflicts_with_all = AskedArgs::OPTIONS)]
    intent: Option<IntentId>,
    #[command(flatten)]
    asked: AskedArgs,
    /// A scope, where fewer are wanted than the playbook permits
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// An audience, where fewer are wanted than the playbook permits
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// Wait for an approver
    #[arg(long)]
    wait: bool,
    /// Wait for so many seconds at most [default: for as long as an approval can be collected]
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
    #[command(flatten)]
    socket: SocketArgs,
}

impl RequestArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { playbook, intent, asked, scope, audience, wait, timeout, socket } = self;
        let detail = match (playbook, &intent) {
            (Some(playbook), _) => asked.members(&playbook)?,
            (None, Some(intent)) => {
                [("intent_id".to_owned(), intent.to_string().into())].into_iter().collect()
            }
            (None, None) => return Err(Failure::usage("name a playbook, or an intent")),
        };
        let mut detail = Value::Object(detail);
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("type".to_owned(), "marque_intent".into());
        }
        let mut fields = vec![
            ("grant_type", GRANT_TYPE_TOKEN_EXCHANGE.to_owned()),
            ("subject_token_type", TOKEN_TYPE_JWT.to_owned()),
            ("completion_mode", "deferred".to_owned()),
            ("authorization_details", json!([detail]).to_string()),
        ];
        if !scope.is_empty() {
            fields.push(("scope", scope.join(" ")));
        }
        fields.extend(audience.into_iter().map(|audience| ("audience", audience)));
        let mut issuer = Issuer::reach(session, socket.named()).await?;
        let answered = match Step::of(&issuer.token(fields, true).await?) {
            Step::Token(answer) => answer,
            Step::Deferred(deferred) if wait => {
                let own = intent.is_none();
                issuer.wait_for(deferred, timeout.map(Duration::from_secs), own).await?
            }
            Step::Deferred(deferred) => return Err(deferred.failure()),
            Step::Pending | Step::SlowDown => {
                return Err(Failure::failed(
                    "the issuer defers and gives no code to come back with",
                ));
            }
            Step::Refused(failure) => return Err(failure),
        };
        session.output.show(&answered, |answer| {
            visible(answer.get("access_token").and_then(Value::as_str).unwrap_or_default())
        })
    }
}

/// The issuer, and the Workload API that says who we are there.
struct Issuer {
    at: TrustDomainEndpoints,
    workload: WorkloadClient,
    http: HttpClient,
}

impl Issuer {
    async fn reach(session: &Session, socket: Option<&str>) -> Result<Self, Failure> {
        let at = session.home_of_workload(socket)?;
        let workload = session.workload_of(&at, socket).await?;
        let http = HttpClient::new(&at.ca_file)
            .map_err(|error| Failure::because("cannot trust the issuer", &error))?;
        Ok(Self { at, workload, http })
    }

    /// Posts a form to the token endpoint, authenticated; the SVID is the subject as well where it is exchanged.
    async fn token(
        &mut self,
        fields: Vec<(&'static str, String)>,
        exchanged: bool,
    ) -> Result<Answer, Failure> {
        let url = self.at.token_endpoint.clone();
        self.post(url, fields, exchanged).await
    }

    async fn post(
        &mut self,
        url: String,
        mut fields: Vec<(&'static str, String)>,
        exchanged: bool,
    ) -> Result<Answer, Failure> {
        // One that is good now: an approver may take longer than an SVID lasts.
        let svids = self.workload.jwt_svids(vec![self.at.issuer_url.clone()], None);
        let svids = tokio::time::timeout(PATIENCE, svids).await;
        let svids =
            svids.map_err(|_elapsed| Failure::failed("the Workload API does not answer"))??;
        let svid = svids.into_iter().next().map(|svid| Zeroizing::new(svid.svid));
        let svid = svid.ok_or_else(|| Failure::failed("no JWT-SVID was issued"))?;
        fields.push(("client_assertion_type", ASSERTION_TYPE_JWT_SPIFFE.to_owned()));
        let http = self.http.clone();
        let called = tokio::task::spawn_blocking(move || {
            let mut form: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            form.push(("client_assertion", &svid));
            if exchanged {
                form.push(("subject_token", &svid));
            }
            http.post_form(&url, &form)
        });
        called
            .await
            .map_err(|error| Failure::because("the request was interrupted", &error))?
            .map_err(|error| Failure::because("cannot ask the issuer", &error))
    }

    /// Polls until somebody decided, the time is over, or we are interrupted.
    async fn wait_for(
        &mut self,
        deferred: Deferred,
        limit: Option<Duration>,
        own: bool,
    ) -> Result<Value, Failure> {
        let Deferred { code, expires_in, interval, intent } = deferred;
        tell(&format!(
            "waiting for an approver of {intent}; an operator decides: marque approve {intent}"
        ));
        // The last question comes before the code expires: its answer would say no more than that.
        let limit = limit.unwrap_or(expires_in).min(expires_in.saturating_sub(MARGIN));
        let ask = async || {
            let fields = vec![
                ("grant_type", GRANT_TYPE_DEFERRED.to_owned()),
                ("deferral_code", code.to_string()),
            ];
            self.token(fields, false).await
        };
        let stopped =
            stopped().map_err(|error| Failure::because("cannot listen for signals", &error))?;
        match poll(interval, limit, ask, stopped).await? {
            Waited::Token(answer) => Ok(answer),
            Waited::Nobody => Err(Failure::waiting(format!(
                "nobody decided about {intent} in time"
            ))
            .next(format!("come back for it: marque token request --intent {intent} --wait"))),
            Waited::Stopped => {
                if own {
                    self.withdraw(&code).await?;
                    tell(&format!("{intent} is withdrawn"));
                }
                Err(Failure::failed("interrupted while waiting for an approver"))
            }
        }
    }

    /// Ends the wait at the issuer, and with it the intent.
    async fn withdraw(&mut self, code: &str) -> Result<(), Failure> {
        let url = format!("{}/oauth2/revoke", self.at.issuer_url.trim_end_matches('/'));
        let fields = vec![
            ("token", code.to_owned()),
            ("token_type_hint", TOKEN_TYPE_DEFERRAL_CODE.to_owned()),
        ];
        let answer = self.post(url, fields, false).await?;
        if answer.is_success() { Ok(()) } else { Err(Step::refusal(&answer)) }
    }
}
