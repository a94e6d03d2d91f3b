//! npm `oauth4webapi` and `openid-client`, as agent and as resource server.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::http::Call;
use crate::support::node::{modules, script};
use crate::support::oauth::{Client, INGRESS, JWT_TYPE, rotation};
use crate::support::programs::marque;

const LIBRARIES: [&str; 2] = ["oauth4webapi", "openid-client"];
const PATH: &str = "/agent/cert-rotator/node";

/// An agent whose SVIDs are files, as `marque svid write` leaves them, and the resource server that its tokens are for.
struct Scene {
    daemon: Daemon,
    ingress: Client,
    script: PathBuf,
    svids: PathBuf,
    svid: String,
}

impl Scene {
    async fn new() -> Option<Self> {
        let modules = modules()?;
        let daemon = Daemon::start().await;
        let place = daemon.place(PRODUCTION).clone();
        // A copy, because the command line itself is the operator's.
        let program = daemon.path("agent-marque");
        std::fs::copy(marque(), &program).expect("copy the command line");
        daemon.operator(PRODUCTION).register(&place.id(PATH), "agent", &program).await;
        let svids = daemon.path("svids");
        let written = Command::new(&program)
            .args(["svid", "write", "--once", "--socket", &place.workload_api()])
            .args(["--jwt-audience", &place.issuer_url, "--dir"])
            .arg(&svids)
            .output()
            .await
            .expect("it runs");
        assert!(written.status.success(), "{written:?}");
        let svid = std::fs::read_to_string(svids.join("jwt_svid.token")).expect("a JWT-SVID");
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node/oauth_client.mjs");
        let script = script(&modules, &source, &daemon.path("node"));
        let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
        Some(Self { daemon, ingress, script, svids, svid: svid.trim().to_owned() })
    }

    fn id(&self) -> String {
        self.ingress.place.id(PATH)
    }

    /// The agent asks, the operator approves.
    async fn intent(&self) -> String {
        let intent = self.pending().await;
        self.daemon.operator(PRODUCTION).approve(&intent).await;
        intent
    }

    async fn pending(&self) -> String {
        let call = Call::json(&self.ingress.place.intents_url, &rotation()).bearer(&self.svid);
        self.ingress.send(call).await.expect(202).text("id")
    }

    async fn run(&self, library: &str, deed: &str, order: &Value) -> Value {
        let mut child = Command::new("node")
            .arg(&self.script)
            .args([library, deed])
            .env("NODE_EXTRA_CA_CERTS", &self.ingress.place.ca_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js starts");
        let mut stdin = child.stdin.take().expect("standard input");
        stdin.write_all(order.to_string().as_bytes()).await.expect("the script reads");
        drop(stdin);
        let output = child.wait_with_output().await.expect("the script ends");
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{library} {deed}: {}\n{out}\n{err}", output.status);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
    }

    /// The agent's exchange of its own SVID and an intent.
    fn exchange(&self, intent: &str) -> Value {
        json!({
            "issuer": self.ingress.place.issuer_url,
            "client_id": self.id(),
            "svid": self.svid,
            "subject_token": self.svid,
            "subject_token_type": JWT_TYPE,
            "details": [{"type": "marque_intent", "intent_id": intent}],
        })
    }

    /// The resource server's question about a token.
    fn introspection(&self, token: &Value) -> Value {
        json!({
            "issuer": self.ingress.place.issuer_url,
            "client_id": self.ingress.place.id(INGRESS.path),
            "svid": self.ingress.svid,
            "token": token,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_clients_exchange_and_introspect() {
    let Some(scene) = Scene::new().await else { return };
    for library in LIBRARIES {
        let pending = scene.pending().await;
        let refused = scene.run(library, "exchange", &scene.exchange(&pending)).await;
        assert_eq!(refused["error"], "access_denied", "{library}: {refused}");
        assert_eq!(refused["code"], "approval_pending", "{library}: {refused}");
        let intent = scene.intent().await;
        let token = scene.run(library, "exchange", &scene.exchange(&intent)).await;
        assert_eq!(token["scope"], INGRESS.scope, "{library}: {token}");
        assert_eq!(token["authorization_details"][0]["intent_id"], intent, "{library}: {token}");
        let told =
            scene.run(library, "introspect", &scene.introspection(&token["access_token"])).await;
        assert_eq!(
            (&told["active"], &told["sub"]),
            (&json!(true), &json!(scene.id())),
            "{library}"
        );
        let again = scene.run(library, "exchange", &scene.exchange(&intent)).await;
        assert_eq!(again["code"], "grant_consumed", "{library}: {again}");
        let mut stranger = scene.exchange(&intent);
        stranger["svid"] = "not.an.svid".into();
        let stranger = scene.run(library, "exchange", &stranger).await;
        assert_eq!(stranger["error"], "invalid_client", "{library}: {stranger}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_4_the_node_clients_authenticate_by_their_certificate() {
    let Some(scene) = Scene::new().await else { return };
    for library in LIBRARIES {
        let intent = scene.intent().await;
        let mut order = scene.exchange(&intent);
        order["certificate"] = json!(scene.svids.join("svid.pem"));
        order["key"] = json!(scene.svids.join("svid_key.pem"));
        let token = scene.run(library, "exchange", &order).await;
        assert_eq!(token["scope"], INGRESS.scope, "{library}: {token}");
        let told =
            scene.run(library, "introspect", &scene.introspection(&token["access_token"])).await;
        assert_eq!(told["active"], true, "{library}: {told}");
        order["client_id"] = scene.ingress.place.id("/agent/cert-rotator/other").into();
        let refused = scene.run(library, "exchange", &order).await;
        assert_eq!(refused["error"], "invalid_client", "{library}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth4webapi_validates_access_tokens_as_rfc_9068_wants() {
    let Some(scene) = Scene::new().await else { return };
    let intent = scene.intent().await;
    let token = scene.run("oauth4webapi", "exchange", &scene.exchange(&intent)).await;
    let order = |token: &Value, audience: &str| {
        let mut order = scene.introspection(token);
        order["audience"] = audience.into();
        order
    };
    let good = order(&token["access_token"], INGRESS.audience);
    let claims = scene.run("oauth4webapi", "validate", &good).await;
    assert_eq!(claims["client_id"], scene.id(), "{claims}");
    assert_eq!(claims["intent"]["id"], intent, "{claims}");
    let elsewhere = order(&token["access_token"], "https://elsewhere.example.org");
    let refused = scene.run("oauth4webapi", "validate", &elsewhere).await;
    assert!(refused["failed"].is_string(), "{refused}");
    let svid = order(&json!(scene.svid), INGRESS.audience);
    let refused = scene.run("oauth4webapi", "validate", &svid).await;
    assert!(refused["failed"].is_string(), "{refused}");
}
