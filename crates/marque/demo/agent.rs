//! An agent as its author would write it: the SVIDs come from the crates.io `spiffe` client over the Workload API
//! socket in `SPIFFE_ENDPOINT_SOCKET`; requests go over HTTPS.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use spiffe::WorkloadApiClient;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

use super::orders::{Order, Outcome};
use super::story::is_no_identity;
use crate::client::{Answer, HttpClient};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// How long the agent waits for its stream to end before it says that it did not.
const STREAM_END_LIMIT: Duration = Duration::from_secs(10);

/// Runs the agent until its standard input ends.
///
/// # Errors
/// When the Workload API cannot be reached or an order cannot be carried out.
pub(super) async fn run(ca_file: PathBuf) -> anyhow::Result<()> {
    let mut agent = Agent::start(&ca_file).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    while let Some(line) = lines.next_line().await? {
        let order: Order = serde_json::from_str(&line).context("read an order")?;
        let outcome = match agent.carry_out(order).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome { status: -1, detail: json!({ "error": format!("{error:#}") }) },
        };
        let mut answer = serde_json::to_vec(&outcome)?;
        answer.push(b'\n');
        out.write_all(&answer).await?;
        out.flush().await?;
    }
    Ok(())
}

struct Agent {
    workload: WorkloadApiClient,
    http: HttpClient,
    token: Option<String>,
    stream: Option<JoinHandle<bool>>,
    /// The JWT-SVIDs held, by audience: used when the Workload API gives no new one, as any client would.
    svids: HashMap<String, String>,
}

impl Agent {
    async fn start(ca_file: &Path) -> anyhow::Result<Self> {
        let workload =
            WorkloadApiClient::connect_env().await.context("connect to the Workload API")?;
        Ok(Self {
            workload,
            http: HttpClient::new(ca_file)?,
            token: None,
            stream: None,
            svids: HashMap::new(),
        })
    }

    async fn carry_out(&mut self, order: Order) -> anyhow::Result<Outcome> {
        match order {
            Order::Identity { audience } => self.identity(&audience).await,
            Order::Watch => self.watch().await,
            Order::WatchEnded => self.watch_ended().await,
            Order::Ask { url, issuer, body } => {
                let svid = self.jwt_svid(&issuer).await?;
                let http = self.http.clone();
                blocking(move || Ok(outcome(http.post_json(&url, &svid, &body)?))).await
            }
            Order::Look { url, issuer, intent } => {
                let svid = self.jwt_svid(&issuer).await?;
                let http = self.http.clone();
                blocking(move || Ok(outcome(http.get(&format!("{url}/{intent}"), Some(&svid))?)))
                    .await
            }
            Order::Exchange { url, issuer, intent } => self.exchange(url, &issuer, &intent).await,
            Order::Call { url } => {
                let Some(token) = self.token.clone() else { bail!("no access token is held") };
                blocking(move || Ok(outcome(HttpClient::plain().get(&url, Some(&token))?))).await
            }
            Order::CallWithIdentity { url, audience } => {
                let svid = self.jwt_svid(&audience).await?;
                blocking(move || Ok(outcome(HttpClient::plain().get(&url, Some(&svid))?))).await
            }
            Order::Approve { program, endpoints, trust_domain, intent } => {
                approve(&program, &endpoints, &trust_domain, &intent).await
            }
        }
    }

    async fn jwt_svid(&mut self, audience: &str) -> anyhow::Result<String> {
        match self.workload.fetch_jwt_svid([audience], None).await {
            Ok(svid) => {
                self.svids.insert(audience.to_owned(), svid.token().to_owned());
                Ok(svid.token().to_owned())
            }
            Err(error) => {
                self.svids.get(audience).cloned().ok_or(error).context("fetch a JWT-SVID")
            }
        }
    }

    async fn identity(&self, audience: &str) -> anyhow::Result<Outcome> {
        let x509 = self.workload.fetch_x509_svid().await.context("fetch an X.509-SVID")?;
        let jwt =
            self.workload.fetch_jwt_svid([audience], None).await.context("fetch a JWT-SVID")?;
        let detail = json!({
            "spiffe_id": x509.spiffe_id().to_string(),
            "certificates": x509.cert_chain().len(),
            "jwt_spiffe_id": jwt.spiffe_id().to_string(),
            "jwt_audience": jwt.audience(),
        });
        Ok(Outcome { status: 0, detail })
    }

    async fn watch(&mut self) -> anyhow::Result<Outcome> {
        use futures::StreamExt as _;

        let mut stream =
            Box::pin(self.workload.stream_x509_contexts().await.context("open the stream")?);
        let first =
            stream.next().await.context("the stream ended at once")?.context("first message")?;
        let svids = first.svids().len();
        self.stream = Some(tokio::spawn(async move {
            loop {
                match stream.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return is_no_identity(&error),
                    None => return false,
                }
            }
        }));
        Ok(Outcome { status: 0, detail: json!({ "svids": svids }) })
    }

    async fn watch_ended(&mut self) -> anyhow::Result<Outcome> {
        let Some(stream) = self.stream.take() else { bail!("no stream is open") };
        let denied = tokio::time::timeout(STREAM_END_LIMIT, stream)
            .await
            .context("the stream is still open")??;
        Ok(Outcome { status: i64::from(!denied), detail: json!({ "permission_denied": denied }) })
    }

    async fn exchange(
        &mut self,
        url: String,
        issuer: &str,
        intent: &str,
    ) -> anyhow::Result<Outcome> {
        let svid = self.jwt_svid(issuer).await?;
        let details = json!([{ "type": "marque_intent", "intent_id": intent }]).to_string();
        let http = self.http.clone();
        let answer = blocking(move || {
            let form = [
                ("grant_type", GRANT_TYPE),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", svid.as_str()),
                ("subject_token", svid.as_str()),
                ("subject_token_type", JWT_TYPE),
                ("authorization_details", details.as_str()),
            ];
            Ok(http.post_form(&url, &form)?)
        })
        .await?;
        let mut outcome = outcome(answer);
        if let Some(token) =
            outcome.detail.as_object_mut().and_then(|body| body.remove("access_token"))
        {
            self.token = token.as_str().map(ToOwned::to_owned);
        }
        Ok(outcome)
    }
}

async fn approve(
    program: &Path,
    endpoints: &Path,
    trust_domain: &str,
    intent: &str,
) -> anyhow::Result<Outcome> {
    let output = tokio::process::Command::new(program)
        .arg("--endpoints")
        .arg(endpoints)
        .args(["--trust-domain", trust_domain, "--output", "json", "approve", "--yes", intent])
        .output()
        .await
        .context("run `marque approve`")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(Outcome {
        status: i64::from(output.status.code().unwrap_or(-1)),
        detail: json!({ "said": said }),
    })
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(call).await?
}

fn outcome(answer: Answer) -> Outcome {
    let detail =
        if answer.body.is_null() { Value::Object(serde_json::Map::new()) } else { answer.body };
    Outcome { status: i64::from(answer.status), detail }
}
