//! `marque login` and `marque logout`: a person who is no local operator, at their own terminal (RFC 8252).
//!
//! The person logs in with their browser, at the trust domain's own provider; the session comes back over a port on this
//! machine, with a code that only this process can redeem. Absent: passwords, and what an approver may do.

use clap::Args;
use marque_jose::{base64url, sha256};
use marque_spiffe::Random;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::Session;
use super::failure::Failure;
use super::person::{PersonFile, Target, blocking};
use crate::approvers::check_of;
use crate::clock::SystemRandomness;

/// How long a request line of the browser may be.
const MAX_LINE: u64 = 4096;
const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nYou are logged in. You can close this page.\n";
const NOT_OURS: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Log in as an approver, with a browser
///
/// For people who are no local operators. The session is kept in a file that only you can read, and ends by itself; then
/// approve, deny and `intent list` take --as-person. Whatever runs as your user can read that file: run agents as others.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque login --issuer https://issuer.example.org --ca-file issuer-ca.pem
  marque intent list --as-person --issuer https://issuer.example.org
  marque approve --as-person --issuer https://issuer.example.org int_01abcdefghjkmnpqrstvwxyz01")]
pub(super) struct LoginArgs {
    #[command(flatten)]
    target: Target,
    /// Prove anew who you are, as a playbook may demand
    #[arg(long)]
    fresh: bool,
}

/// End the session of `marque login`
#[derive(Debug, Args)]
pub(super) struct LogoutArgs {
    #[command(flatten)]
    target: Target,
}

impl LogoutArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let person = self.target.person(session)?;
        person.log_out().await?;
        session.output.show(&json!({ "issuer": person.issuer() }), |_| "Logged out.".to_owned())
    }
}

impl LoginArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { target, fresh } = self;
        let place = target.place(session)?;
        let http = place.client()?;
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener =
            listener.map_err(|error| Failure::because("cannot listen on this machine", &error))?;
        let port = listener
            .local_addr()
            .map_err(|error| Failure::because("cannot listen on this machine", &error))?
            .port();
        let (verifier, state) = (random()?, random()?);
        let challenge = base64url::encode(sha256(verifier.as_bytes()));
        let mut url = format!(
            "{}/v1/approvals/login?port={port}&challenge={challenge}&terminal_state={state}",
            place.issuer
        );
        if fresh {
            url.push_str("&fresh=1");
        }
        let check = check_of(&challenge);
        let told = format!(
            "Open this address in your browser, and compare the code:\n\n  {url}\n\n  {check}\n"
        );
        session.output.ask(&told)?;
        let code = loop {
            let accepted = listener.accept().await;
            let (stream, _) = accepted
                .map_err(|error| Failure::because("cannot listen on this machine", &error))?;
            if let Some(code) = collected(stream, &state).await {
                break code;
            }
        };
        let body = json!({ "code": code, "verifier": verifier });
        let url = format!("{}/v1/approvals/login/token", place.issuer);
        let answer = blocking(move || http.send_json(&url, None, &body)).await?;
        let token = answer.body.get("token").and_then(|token| token.as_str());
        let Some(token) = token.filter(|_| answer.is_success()) else {
            return Err(Failure::failed("the issuer did not log this terminal in")
                .next("begin again: marque login"));
        };
        PersonFile {
            issuer: place.issuer.clone(),
            ca_file: place.ca_file.clone(),
            token: token.to_owned(),
        }
        .write()?;
        session.output.show(&json!({ "issuer": place.issuer }), |_| "Logged in.".to_owned())
    }
}

/// The code, if the browser brings what we asked for.
async fn collected(stream: TcpStream, state: &str) -> Option<String> {
    use tokio::io::AsyncReadExt as _;

    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading.take(MAX_LINE)).read_line(&mut line).await.ok()?;
    let target = line.strip_prefix("GET /?").and_then(|rest| rest.split(' ').next());
    let fields: Vec<_> = form_urlencoded::parse(target.unwrap_or_default().as_bytes()).collect();
    let of = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1.as_ref());
    let code = of("code").filter(|_| of("state") == Some(state)).map(str::to_owned);
    let answer = if code.is_some() { DONE } else { NOT_OURS };
    // A browser that has gone away has told us already.
    drop(writing.write_all(answer.as_bytes()).await);
    code
}

fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    let filled = SystemRandomness::default().fill(&mut bytes);
    filled.map_err(|error| Failure::because("no randomness", &error))?;
    Ok(base64url::encode(bytes))
}
