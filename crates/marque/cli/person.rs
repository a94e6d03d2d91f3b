//! Commands as a person who logged in with `marque login`, over HTTPS instead of the admin socket.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use marque_intent::kill::KillMode;
use marque_intent::{DenyReason, Narrowing};
use marque_jose::sha256;
use marque_spiffe::Environment;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Session;
use super::failure::Failure;
use crate::client::{Answer, ClientError, HttpClient};
use crate::config;
use crate::grpc::admin::{IntentView, KillStateView, LiftAskView};

/// Which issuer a person logs in to.
#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// The issuer, as in its metadata [default: that of the daemon on this machine]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The certificate authority of the issuer, in PEM [default: that of the daemon on this machine, or of the login]
    #[arg(long, value_name = "FILE", requires = "issuer")]
    ca_file: Option<PathBuf>,
}

/// Options of commands that a person may give, too.
#[derive(Debug, Clone, Args)]
pub(super) struct AsPerson {
    /// As the person of `marque login`, over HTTPS, and not as a local operator
    #[arg(long)]
    as_person: bool,
    /// The issuer that you logged in to [default: that of the daemon on this machine]
    #[arg(long, value_name = "URL", requires = "as_person")]
    issuer: Option<String>,
}

/// An issuer and the authority that it is believed by.
#[derive(Debug, Clone)]
pub(super) struct IssuerPlace {
    pub(super) issuer: String,
    pub(super) ca_file: PathBuf,
}

/// What is kept of a login.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonFile {
    pub(super) issuer: String,
    pub(super) ca_file: PathBuf,
    pub(super) token: String,
}

/// Somebody who is logged in.
pub(super) struct Person {
    file: PersonFile,
    http: HttpClient,
}

impl IssuerPlace {
    pub(super) fn client(&self) -> Result<HttpClient, Failure> {
        HttpClient::new(&self.ca_file)
            .map_err(|error| Failure::because("cannot speak to the issuer", &error))
    }
}

/// A call, on a thread where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, Failure> {
    let called = tokio::task::spawn_blocking(call).await;
    let called = called.map_err(|error| Failure::because("the call did not end", &error))?;
    called.map_err(|error| Failure::because("the issuer did not answer", &error))
}

impl Target {
    /// The issuer that is named, or the one on this machine.
    pub(super) fn place(&self, session: &Session) -> Result<IssuerPlace, Failure> {
        match (&self.issuer, &self.ca_file) {
            (Some(issuer), Some(ca_file)) => {
                let ca_file = ca_file.canonicalize();
                let ca_file =
                    ca_file.map_err(|error| Failure::because("cannot read --ca-file", &error))?;
                Ok(IssuerPlace { issuer: issuer.clone(), ca_file })
            }
            (Some(_), None) => Err(Failure::usage("--issuer needs --ca-file")),
            (None, _) => {
                let at = session.place.one()?;
                Ok(IssuerPlace { issuer: at.issuer_url, ca_file: at.ca_file })
            }
        }
    }

    /// Who is logged in there.
    pub(super) fn person(&self, session: &Session) -> Result<Person, Failure> {
        Person::of(self.issuer.as_deref(), session)
    }
}

impl AsPerson {
    /// Whether the command is to be a person's who logged in.
    pub(super) const fn is_meant(&self) -> bool {
        self.as_person
    }

    /// Who is logged in, where the command is to be theirs.
    pub(super) fn chosen(&self, session: &Session) -> Result<Option<Person>, Failure> {
        if self.as_person {
            Person::of(self.issuer.as_deref(), session).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl PersonFile {
    /// Keeps it where only this user reads it.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::because("cannot keep the session", &error);
        let path = path(&self.issuer);
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        // Made anew, so that it never has the mode of a file that was there.
        let draft = path.with_extension("new");
        drop(fs::remove_file(&draft));
        let mut file = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&draft)
            .map_err(failed)?;
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&draft, &path).map_err(failed)
    }

    fn read(issuer: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(issuer)).ok()?).ok()
    }
}

fn path(issuer: &str) -> PathBuf {
    let name = hex::encode(sha256(issuer.as_bytes()));
    let folder = config::default_data_dir().join("approver-sessions");
    folder.join(Path::new(&name)).with_extension("json")
}

impl Person {
    fn of(issuer: Option<&str>, session: &Session) -> Result<Self, Failure> {
        let issuer = match issuer {
            Some(issuer) => issuer.to_owned(),
            None => session.place.one()?.issuer_url,
        };
        let file = PersonFile::read(&issuer).ok_or_else(login_first)?;
        let http = HttpClient::new(&file.ca_file)
            .map_err(|error| Failure::because("cannot speak to the issuer", &error))?;
        Ok(Self { file, http })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.file.issuer
    }

    /// The trust domain and its environment.
    pub(super) async fn home(&self) -> Result<(String, Environment), Failure> {
        let told = self.get("/session").await?;
        let of = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let environment = of("environment").parse().map_err(|_other| unreadable())?;
        Ok((of("trust_domain"), environment))
    }

    pub(super) async fn waiting(&self) -> Result<Vec<IntentView>, Failure> {
        let mut told = self.get("").await?;
        let intents = told.get_mut("intents").map(Value::take).unwrap_or_default();
        serde_json::from_value(intents).map_err(|_unread| unreadable())
    }

    pub(super) async fn intent(&self, id: &str) -> Result<IntentView, Failure> {
        let told = self.get(&format!("/intents/{id}")).await?;
        serde_json::from_value(told).map_err(|_unread| unreadable())
    }

    pub(super) async fn approve(
        &self,
        id: &str,
        digest: &str,
        less: Option<Narrowing>,
        key: Option<String>,
    ) -> Result<IntentView, Failure> {
        let body = match less {
            Some(less) => json!({ "digest": digest, "less": less }),
            None => json!({ "digest": digest }),
        };
        self.decide(&format!("/intents/{id}/approve"), body, key).await
    }

    pub(super) async fn deny(
        &self,
        id: &str,
        digest: &str,
        (reason, remark): (DenyReason, &str),
        key: Option<String>,
    ) -> Result<IntentView, Failure> {
        let body = json!({ "digest": digest, "reason": reason, "text": remark });
        self.decide(&format!("/intents/{id}/deny"), body, key).await
    }

    pub(super) async fn kill_state(&self) -> Result<KillStateView, Failure> {
        let told = self.get("/kills").await?;
        serde_json::from_value(told).map_err(|_unread| unreadable())
    }

    pub(super) async fn ask_lift(
        &self,
        kill: &str,
        to: Option<KillMode>,
        reason: &str,
    ) -> Result<LiftAskView, Failure> {
        let body = match to {
            Some(to) => json!({ "reason": reason, "to": to }),
            None => json!({ "reason": reason }),
        };
        let told = self.post(&format!("/kills/{}/lift", name(kill)?), body, None).await?;
        serde_json::from_value(told).map_err(|_unread| unreadable())
    }

    pub(super) async fn confirm_lift(&self, lift: &str) -> Result<KillStateView, Failure> {
        let told = self.post(&format!("/lifts/{}/confirm", name(lift)?), json!({}), None).await?;
        serde_json::from_value(told).map_err(|_unread| unreadable())
    }

    pub(super) async fn log_out(&self) -> Result<(), Failure> {
        self.post("/logout", json!({}), None).await?;
        fs::remove_file(path(&self.file.issuer))
            .map_err(|error| Failure::because("cannot forget the session", &error))
    }

    async fn decide(
        &self,
        at: &str,
        body: Value,
        key: Option<String>,
    ) -> Result<IntentView, Failure> {
        let told = self.post(at, body, key).await?;
        serde_json::from_value(told).map_err(|_unread| unreadable())
    }

    async fn get(&self, at: &str) -> Result<Value, Failure> {
        let (http, url, token) = self.call(at);
        told(blocking(move || http.get(&url, Some(&token))).await?)
    }

    async fn post(&self, at: &str, body: Value, key: Option<String>) -> Result<Value, Failure> {
        let (http, url, token) = self.call(at);
        let call = move || http.send_json_once(&url, Some(&token), &body, key.as_deref());
        told(blocking(call).await?)
    }

    fn call(&self, at: &str) -> (HttpClient, String, String) {
        let url = format!("{}/v1/approvals{at}", self.file.issuer);
        (self.http.clone(), url, self.file.token.clone())
    }
}

fn told(answer: Answer) -> Result<Value, Failure> {
    if answer.is_success() {
        return Ok(answer.body);
    }
    let of = |name: &str| answer.body.get(name).and_then(Value::as_str);
    let (code, title) = (of("code"), of("title").or_else(|| of("detail")));
    let failure = Failure::failed(title.unwrap_or("the issuer refused").to_owned());
    let failure = failure.code(code.map(str::to_owned));
    Err(match code {
        Some("login_required") => failure.next("log in: marque login"),
        Some("mfa_needed") => failure.next("prove anew who you are: marque login --fresh"),
        _ => failure,
    })
}

/// A name as a part of a path.
fn name(text: &str) -> Result<&str, Failure> {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    Some(text)
        .filter(|text| is_name && !text.is_empty())
        .ok_or_else(|| Failure::usage(format!("`{text}` is no name of a kill or a lift")))
}

fn login_first() -> Failure {
    Failure::failed("you are not logged in there").next("log in: marque login")
}

fn unreadable() -> Failure {
    Failure::failed("the issuer's answer does not read")
        .next("use the command line of its own version")
}
