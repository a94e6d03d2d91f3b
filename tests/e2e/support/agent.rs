//! Agents and services as processes of their own: a copy of this test program, run again, which carries out one JSON
//! order a line. It gets its SVIDs as any program would, from the crates.io `spiffe` client.

use std::path::Path;
use std::process::Stdio;

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spiffe::WorkloadApiClient;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::mutual_tls;
use super::place::Place;
use super::supervisor::{self, Supervisor};
use super::wait::within;

/// Set for a copy of this program that is to play a workload.
const SOCKET_VARIABLE: &str = "MARQUE_E2E_WORKLOAD_SOCKET";
const THIS_TEST: &str = "support::agent::a_workload_plays_its_part";
/// What makes a copy of this program play a workload.
pub(crate) const PLAY: [&str; 4] = [THIS_TEST, "--exact", "--ignored", "--nocapture"];

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
enum Order {
    JwtSvid { audience: Vec<String> },
    X509Svid,
    WitSvid,
    Watch,
    WatchEnded,
    Run { program: String, arguments: Vec<String> },
    ServeTls { peer: String },
    TlsServed,
    ConnectTls { port: u16, peer: String },
    Supervise { part: supervisor::Order },
}

/// What the workload answers: what it got, or the error's debug text.
type Outcome = Result<Value, String>;

/// A running workload; killed when dropped.
#[derive(Debug)]
pub(crate) struct Workload {
    running: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How a process ended that a workload has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i64,
    pub(crate) said: String,
}

impl Workload {
    /// Starts `program`, a copy of this test program, beside the trust domain's Workload API.
    pub(crate) fn start(program: &Path, place: &Place) -> Self {
        let mut child = Command::new(program)
            .args(PLAY)
            .env(SOCKET_VARIABLE, place.workload_api())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the workload starts");
        let input = child.stdin.take().expect("standard input");
        let lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
        Self { running: child, input, lines }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> i32 {
        self.running.id().and_then(|pid| pid.try_into().ok()).expect("it runs")
    }

    /// A JWT-SVID for `audience`, or why there is none.
    pub(crate) async fn try_jwt_svid(&mut self, audience: &[&str]) -> Result<String, String> {
        let audience = audience.iter().map(|one| (*one).to_owned()).collect();
        let outcome = self.order(&Order::JwtSvid { audience }).await?;
        Ok(outcome["token"].as_str().expect("a token").to_owned())
    }

    /// A JWT-SVID for the sole `audience`.
    pub(crate) async fn jwt_svid(&mut self, audience: &str) -> String {
        self.try_jwt_svid(&[audience]).await.expect("a JWT-SVID")
    }

    /// The X.509-SVID: `id`, `certificates` (how many), `chain` (DER, hexadecimal) and `key` (PKCS#8, hexadecimal).
    pub(crate) async fn x509_svid(&mut self) -> Result<Value, String> {
        self.order(&Order::X509Svid).await
    }

    /// Has the workload act as a supervisor of others.
    pub(crate) async fn supervise(&mut self, order: supervisor::Order) -> Outcome {
        self.order(&Order::Supervise { part: order }).await
    }

    /// A WIT-SVID and the private JWK that comes with it.
    pub(crate) async fn wit_svid(&mut self) -> (String, String) {
        let svid = self.order(&Order::WitSvid).await.expect("a WIT-SVID");
        let text = |name: &str| svid[name].as_str().expect("a text").to_owned();
        (text("token"), text("key"))
    }

    /// Opens a stream of X.509 contexts and reads its first message.
    pub(crate) async fn watch(&mut self) {
        self.order(&Order::Watch).await.expect("a stream");
    }

    /// Waits until the stream has ended; says with what.
    pub(crate) async fn watch_ended(&mut self) -> String {
        self.order(&Order::WatchEnded).await.expect("the end of the stream").to_string()
    }

    /// Has the workload run a program as its child.
    pub(crate) async fn run(&mut self, program: &Path, arguments: &[String]) -> Ran {
        let program = program.display().to_string();
        let outcome = self
            .order(&Order::Run { program, arguments: arguments.to_vec() })
            .await
            .expect("it runs");
        Ran { code: outcome["code"].as_i64().unwrap_or(-1), said: outcome["said"].to_string() }
    }

    /// Waits for one mutual TLS connection of `peer`; the port.
    pub(crate) async fn serve_tls(&mut self, peer: &str) -> u16 {
        let port = self.order(&Order::ServeTls { peer: peer.to_owned() }).await.expect("a port");
        port.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
    }

    /// How the connection went that it waited for.
    pub(crate) async fn tls_served(&mut self) -> Result<(), String> {
        self.order(&Order::TlsServed).await.map(drop)
    }

    /// Connects by mutual TLS; what the server said.
    pub(crate) async fn connect_tls(&mut self, port: u16, peer: &str) -> Result<String, String> {
        let said = self.order(&Order::ConnectTls { port, peer: peer.to_owned() }).await?;
        Ok(said.as_str().expect("a text").to_owned())
    }

    async fn order(&mut self, order: &Order) -> Outcome {
        let mut line = serde_json::to_vec(order).expect("an order is JSON");
        line.push(b'\n');
        self.input.write_all(&line).await.expect("the workload listens");
        loop {
            let line = within("a workload's answer", self.lines.next_line()).await;
            let line = line.expect("the workload's output").expect("the workload is still running");
            // The test harness says a few words of its own.
            if line.starts_with("{\"") {
                return serde_json::from_str(&line).expect("an outcome is JSON");
            }
        }
    }
}

#[tokio::test]
#[ignore = "not a test: other tests run a copy of this program to play a workload"]
async fn a_workload_plays_its_part() {
    if is_a_part() {
        play().await;
    }
}

/// Whether this process is a copy that is to play a workload.
pub(crate) fn is_a_part() -> bool {
    socket().is_some()
}

#[expect(clippy::disallowed_methods, reason = "the part is handed over by the environment")]
fn socket() -> Option<String> {
    std::env::var(SOCKET_VARIABLE).ok()
}

/// Carries out orders until there are no more.
pub(crate) async fn play() {
    let socket = socket().expect("the part is handed over");
    let workload = WorkloadApiClient::connect_to(&socket).await;
    let mut part =
        Part { socket, workload, stream: None, server: None, supervisor: Supervisor::default() };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    while let Some(line) = lines.next_line().await.expect("an order") {
        let outcome = part.carry_out(serde_json::from_str(&line).expect("an order")).await;
        // On a line of its own, whatever the harness has written before.
        let mut answer = b"\n".to_vec();
        answer.extend(serde_json::to_vec(&outcome).expect("an outcome is JSON"));
        answer.push(b'\n');
        out.write_all(&answer).await.expect("somebody listens");
        out.flush().await.expect("somebody listens");
    }
}

struct Part {
    socket: String,
    workload: Result<WorkloadApiClient, spiffe::WorkloadApiError>,
    stream: Option<JoinHandle<String>>,
    server: Option<JoinHandle<Result<(), String>>>,
    supervisor: Supervisor,
}

impl Part {
    async fn carry_out(&mut self, order: Order) -> Outcome {
        match order {
            Order::JwtSvid { audience } => {
                let svid = self.workload()?.fetch_jwt_svid(audience, None).await.map_err(told)?;
                Ok(json!({ "token": svid.token() }))
            }
            Order::X509Svid => {
                let svid = self.workload()?.fetch_x509_svid().await.map_err(told)?;
                Ok(json!({
                    "id": svid.spiffe_id().to_string(),
                    "certificates": svid.cert_chain().len(),
                    "chain": svid.cert_chain().iter().map(|one| hex::encode(one.as_bytes())).collect::<Vec<_>>(),
                    "key": hex::encode(svid.private_key().as_bytes()),
                }))
            }
            Order::WitSvid => {
                let socket = self.socket.strip_prefix("unix:").ok_or("no Unix socket")?;
                let svids = super::wit::fetch(Path::new(socket)).await.map_err(told)?;
                let svid = svids.first().ok_or("no WIT-SVID")?;
                Ok(json!({ "token": svid.wit_svid, "key": svid.wit_svid_key }))
            }
            Order::Watch => self.watch().await,
            Order::WatchEnded => {
                let stream = self.stream.take().ok_or("no stream is open")?;
                Ok(Value::String(within("the end of the stream", stream).await.map_err(told)?))
            }
            Order::ServeTls { peer } => {
                let server = mutual_tls::serve_one(&self.socket, &peer).await?;
                self.server = Some(server.outcome);
                Ok(json!(server.port))
            }
            Order::TlsServed => {
                let server = self.server.take().ok_or("nothing is served")?;
                within("the connection", server).await.map_err(told)??;
                Ok(Value::Null)
            }
            Order::Supervise { part } => self.supervisor.carry_out(part).await,
            Order::ConnectTls { port, peer } => {
                Ok(json!(mutual_tls::connect(&self.socket, port, &peer).await?))
            }
            Order::Run { program, arguments } => {
                let output = Command::new(program).args(arguments).output().await.map_err(told)?;
                let said = [output.stdout, output.stderr].concat();
                Ok(json!({ "code": output.status.code(), "said": String::from_utf8_lossy(&said) }))
            }
        }
    }

    async fn watch(&mut self) -> Outcome {
        let mut stream = Box::pin(self.workload()?.stream_x509_contexts().await.map_err(told)?);
        stream.next().await.ok_or("the stream ended at once")?.map_err(told)?;
        self.stream = Some(tokio::spawn(async move {
            loop {
                match stream.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return told(error),
                    None => return "ended".to_owned(),
                }
            }
        }));
        Ok(Value::Null)
    }

    fn workload(&self) -> Result<&WorkloadApiClient, String> {
        self.workload.as_ref().map_err(told)
    }
}

fn told(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
