//! npm `oauth4webapi`, `openid-client` and `jose`, as agent and as resource server.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::http::Call;
use crate::support::node::{modules, script};
use crate::support::oauth::{Client, INGRESS, JWT_TYPE, rotation};
use crate::support::programs::marque;
use crate::support::tokens::{claims, with_claims};
use crate::support::wait::within;

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
        finish(self.start(library, deed, order).await).await
    }

    /// Has the script begin.
    async fn start(&self, library: &str, deed: &str, order: &Value) -> Child {
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
        child
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

    /// The thumbprint of the certificate (RFC 8705 §3.1).
    fn thumbprint(&self) -> String {
        let pem = std::fs::read(self.svids.join("svid.pem")).expect("an X.509-SVID");
        let (_, leaf) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &leaf.contents))
    }

    /// The same, for a token that is bound to a key.
    fn bound_exchange(&self, intent: &str) -> Value {
        let mut order = self.exchange(intent);
        order["dpop"] = true.into();
        order
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

/// What the script says when it ends.
async fn finish(child: Child) -> Value {
    let output = within("the script's end", child.wait_with_output()).await.expect("it ends");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
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
        let bound = json!({ "x5t#S256": scene.thumbprint() });
        assert_eq!(told["cnf"], bound, "{library}: {told}");
        order["client_id"] = scene.ingress.place.id("/agent/cert-rotator/other").into();
        let refused = scene.run(library, "exchange", &order).await;
        assert_eq!(refused["error"], "invalid_client", "{library}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_the_node_clients_bind_their_tokens_after_a_nonce() {
    let Some(scene) = Scene::new().await else { return };
    for library in LIBRARIES {
        let intent = scene.intent().await;
        let token = scene.run(library, "exchange", &scene.bound_exchange(&intent)).await;
        assert_eq!(token["statuses"], json!([400, 200]), "{library}: {token}");
        let told =
            scene.run(library, "introspect", &scene.introspection(&token["access_token"])).await;
        assert_eq!(told["cnf"], json!({ "jkt": token["jkt"] }), "{library}: {told}");
        assert_eq!(told["token_type"], "DPoP", "{library}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_12_the_node_clients_revoke_their_tokens() {
    let Some(scene) = Scene::new().await else { return };
    for library in LIBRARIES {
        let intent = scene.intent().await;
        let token = scene.run(library, "exchange", &scene.exchange(&intent)).await;
        let token = &token["access_token"];
        let active = async || {
            scene.run(library, "introspect", &scene.introspection(token)).await["active"] == true
        };
        // To whom it is shown may not end it.
        let told = scene.run(library, "revoke", &scene.introspection(token)).await;
        assert_eq!(told["error"], "unauthorized_client", "{library}: {told}");
        assert!(active().await, "{library}");
        let mut own = scene.exchange(&intent);
        own["token"] = token.clone();
        for _ in 0..2 {
            let told = scene.run(library, "revoke", &own).await;
            assert_eq!(told, json!({"revoked": true}), "{library}");
        }
        assert!(!active().await, "{library}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_openid_client_polls_by_ciba_until_somebody_approved() {
    let Some(scene) = Scene::new().await else { return };
    let mut detail = rotation();
    detail["type"] = "marque_intent".into();
    let mut order = scene.exchange("");
    order["backchannel"] = json!({
        "login_hint": "platform-sre",
        "scope": "openid",
        "binding_message": "W4SCT",
        "authorization_details": json!([detail]).to_string(),
    });
    let mut child = scene.start("openid-client", "ciba", &order).await;
    let mut said = BufReader::new(child.stderr.take().expect("its errors")).lines();
    let intent = within("the intent", said.next_line()).await.expect("a line").expect("an intent");
    scene.daemon.operator(PRODUCTION).approve(&intent).await;
    let token = finish(child).await;
    assert_eq!(token["scope"], INGRESS.scope, "{token}");
    assert_eq!(token["authorization_details"][0]["intent_id"], intent, "{token}");
    order["backchannel"]["login_hint"] = "mallory".into();
    let refused = scene.run("openid-client", "ciba", &order).await;
    assert_eq!(refused["error"], "unknown_user_id", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth4webapi_validates_access_tokens_as_rfc_9068_wants() {
    let Some(scene) = Scene::new().await else { return };
    let intent = scene.intent().await;
    let token = scene.run("oauth4webapi", "exchange", &scene.exchange(&intent)).await;
    let token = &token["access_token"];
    let text = token.as_str().expect("a token");
    let mut wider = claims(text);
    wider["scope"] = "secrets.update admin".into();
    let order = |token: &Value, audience: &str| {
        let mut order = scene.introspection(token);
        order["audience"] = audience.into();
        order
    };
    for library in ["oauth4webapi", "jose"] {
        let told = scene.run(library, "validate", &order(token, INGRESS.audience)).await;
        assert_eq!(told["client_id"], scene.id(), "{library}: {told}");
        assert_eq!(told["intent"]["id"], intent, "{library}: {told}");
        for (what, token, audience) in [
            ("elsewhere", token, "https://elsewhere.example.org"),
            ("an identity", &json!(scene.svid), INGRESS.audience),
            ("tampered with", &json!(with_claims(text, &wider)), INGRESS.audience),
        ] {
            let refused = scene.run(library, "validate", &order(token, audience)).await;
            assert!(refused["failed"].is_string(), "{library}, {what}: {refused}");
        }
    }
}
