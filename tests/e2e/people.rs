//! People, who log in at an OpenID provider that this project did not write (npm `oidc-provider`), to an application that
//! runs the code flow (npm `openid-client`). What the application then has is worth something in an agent's hands alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use marque_testkit::ScratchTrustDomain;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::{Call, Http};
use crate::support::log;
use crate::support::node::{modules, script};
use crate::support::oauth::{
    ASSERTION_TYPE, Client, Fields, JWT_TYPE, PREVIEW, exchange_fields, restart,
};
use crate::support::server::{Server, free_port};
use crate::support::tokens::{ScratchKey, claims, header, now, timestamp, with_claims};
use crate::support::wait::until;

const ID_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";
/// The application whose ID tokens Marque takes.
pub(crate) const APP: &str = "marque-dev";
/// An application that has to prove who it is, and how. What is in it does not survive a form that is not encoded.
pub(crate) const SECRET_APP: &str = "confidential";
pub(crate) const APP_SECRET: &str = "s3cret+of/the%20app&=";
/// Another application of the provider.
const OTHER_APP: &str = "expenses";

/// The provider, as a server of its own.
pub(crate) struct Provider {
    _server: Server,
    _folder: tempfile::TempDir,
    pub(crate) issuer: String,
    pub(crate) ca_file: PathBuf,
    login: PathBuf,
}

impl Provider {
    /// Starts one whose ID tokens last that many seconds.
    pub(crate) async fn start(modules: &Path, lifetime: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("mq").tempdir_in("/tmp").expect("a folder");
        let source =
            |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node").join(name);
        let provider = script(modules, &source("oidc_provider.mjs"), folder.path());
        let login = script(modules, &source("oidc_login.mjs"), folder.path());
        let [ca_file, certificate, key] = certificates(folder.path());
        let port = free_port().await;
        let order = json!({
            "port": port,
            "certificate": certificate,
            "key": key,
            "clients": [APP, OTHER_APP],
            "confidential": { SECRET_APP: APP_SECRET },
            "lifetime": lifetime,
        });
        let mut command = Command::new("node");
        command.arg(provider).arg(order.to_string());
        let server = Server::start(command, folder.path(), "provider").await;
        let issuer = format!("https://localhost:{port}");
        Self { _server: server, _folder: folder, issuer, ca_file, login }
    }

    /// Lets every client's people come back there, too.
    pub(crate) async fn redirects_to(&self, uri: &str) {
        let call = Call::json(&format!("{}/redirect", self.issuer), &json!({ "uri": uri }));
        Http::trusting(&self.ca_file).send(call).await.expect(200);
    }

    /// What the application has after somebody logged in.
    async fn log_in(&self, person: &str, client: &str) -> String {
        let order = json!({ "issuer": self.issuer, "client_id": client, "person": person });
        let told = self.run(&order).await;
        told["id_token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
    }

    async fn run(&self, order: &Value) -> Value {
        let mut child = Command::new("node")
            .arg(&self.login)
            .env("NODE_EXTRA_CA_CERTS", &self.ca_file)
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
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Has it sign with another key from now on, and forget the one before.
    async fn rotate(&self) {
        let call = Call::json(&format!("{}/rotate", self.issuer), &json!({}));
        Http::trusting(&self.ca_file).send(call).await.expect(200);
    }

    /// The non-production trust domain believes it.
    fn believed(&self, trust_domains: &Path) {
        let file = trust_domains.join(NON_PRODUCTION).join("trust-domain.toml");
        let text = fs::read_to_string(&file).expect("read the document");
        let (issuer, ca_file) = (&self.issuer, self.ca_file.display());
        let table = format!(
            "\n[[oidc_issuers]]\nname = \"corp\"\nenvironment = \"non-production\"\nissuer = \"{issuer}\"\n\
             audiences = [\"{APP}\"]\njwks_uri = \"{issuer}/jwks\"\nca_file = \"{ca_file}\"\n\
             groups_claim = \"groups\"\n"
        );
        fs::write(file, text + &table).expect("write the document");
    }
}

/// A certificate authority, a certificate for `localhost` by it, and its key: PEM files.
pub(crate) fn certificates(folder: &Path) -> [PathBuf; 3] {
    let authority = ScratchTrustDomain::at("login.example.org", timestamp());
    let mut params = authority.leaf_params(&authority.id("/provider"));
    params.subject_alt_names =
        vec![rcgen::SanType::DnsName("localhost".try_into().expect("a name"))];
    let leaf = authority.root().issue(&params);
    let root: &[u8] = authority.root().certificate();
    let files: [(&str, &str, &[u8]); 3] = [
        ("ca.pem", "CERTIFICATE", root),
        ("cert.pem", "CERTIFICATE", &leaf.chain[0]),
        ("key.pem", "PRIVATE KEY", &leaf.private_key),
    ];
    files.map(|(name, label, der)| {
        let encoded = base64::prelude::BASE64_STANDARD.encode(der);
        let file = folder.join(name);
        let text = format!("-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n");
        fs::write(&file, text).expect("write a PEM file");
        file
    })
}

/// The exchange of somebody's ID token, by the agent that acts for them.
fn for_person(agent: &Client, id_token: &str, intent: &str) -> Fields {
    let mut fields = exchange_fields(&agent.svid, intent);
    for (name, value) in &mut fields {
        match *name {
            "subject_token" => id_token.clone_into(value),
            "subject_token_type" => ID_TOKEN_TYPE.clone_into(value),
            _ => {}
        }
    }
    fields
}

/// A daemon that believes the provider, and has its keys by now.
async fn scene(provider: &Provider) -> (Daemon, Client) {
    let daemon = Daemon::start_with(|trust_domains| provider.believed(trust_domains)).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let (probe, intent) = (provider.log_in("bob", APP).await, agent.ask_restart().await);
    until("the provider's keys", async || {
        let answer = agent.token(&for_person(&agent, &probe, &intent)).await;
        (answer.status == 200).then_some(())
    })
    .await;
    (daemon, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn m_8_who_logged_in_at_a_real_provider_is_acted_for_by_the_agent_alone() {
    let Some(modules) = modules() else { return };
    let provider = Provider::start(&modules, 600).await;
    let (daemon, agent) = scene(&provider).await;
    let id_token = provider.log_in("alice", APP).await;
    let intent = agent.ask_restart().await;
    let mut fields = for_person(&agent, &id_token, &intent);
    fields.push(("actor_token", agent.svid.clone()));
    fields.push(("actor_token_type", JWT_TYPE.to_owned()));
    let answer = agent.token(&fields).await.expect(200);
    let token = answer.text("access_token");
    let said = claims(&token);
    assert_eq!((&said["sub"], &said["delegator_id"]), (&json!("corp:alice"), &json!("corp:alice")));
    assert_eq!(said["act"]["sub"], agent.place.id(RESTARTER.path), "{said}");
    assert_eq!(said["client_id"], agent.place.id(RESTARTER.path), "{said}");
    assert_eq!((&said["aud"], &said["scope"]), (&json!(PREVIEW.audience), &json!(PREVIEW.scope)));
    assert!(said["exp"].as_u64() <= claims(&id_token)["exp"].as_u64(), "{said}");
    for name in ["auth_time", "acr", "amr"] {
        assert!(!said[name].is_null() && said[name] == claims(&id_token)[name], "{name}: {said}");
    }
    // What the provider knows of her besides stays there.
    assert!(!said.to_string().contains("alice@"), "{said}");
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let told = preview.introspect(&token).await.expect(200).json();
    assert_eq!((&told["active"], &told["sub"]), (&json!(true), &json!("corp:alice")), "{told}");
    assert_eq!(told["act"], said["act"]);
    let leaves = log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
    let issued: Vec<_> =
        leaves.iter().filter(|leaf| leaf.to_string().contains("corp:alice")).collect();
    assert!(!issued.is_empty(), "the log knows for whom it was issued");
    assert!(!leaves.iter().any(|leaf| leaf.to_string().contains(&id_token)));
}

#[tokio::test(flavor = "multi_thread")]
async fn m_10_a_persons_login_opens_nothing_without_an_agents_svid() {
    let Some(modules) = modules() else { return };
    let provider = Provider::start(&modules, 600).await;
    let (_daemon, agent) = scene(&provider).await;
    let id_token = provider.log_in("alice", APP).await;
    let intent = agent.ask_restart().await;
    let fields = for_person(&agent, &id_token, &intent);
    let alone: Fields =
        fields.iter().filter(|(name, _)| !name.starts_with("client_assertion")).cloned().collect();
    agent.token(&alone).await.oauth_error("invalid_client");
    for assertion_type in [ASSERTION_TYPE, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    {
        let mut as_client = alone.clone();
        as_client.push(("client_assertion_type", assertion_type.to_owned()));
        as_client.push(("client_assertion", id_token.clone()));
        agent.token(&as_client).await.oauth_error("invalid_client");
    }
    // Nor does it ask for an intent, or act beside the agent.
    let asked = Call::json(&agent.place.intents_url, &restart()).bearer(&id_token);
    assert_eq!(agent.send(asked).await.status, 401);
    let mut as_actor = exchange_fields(&agent.svid, &intent);
    as_actor.push(("actor_token", id_token.clone()));
    as_actor.push(("actor_token_type", ID_TOKEN_TYPE.to_owned()));
    agent.token(&as_actor).await.oauth_error("invalid_request");
    agent.token(&fields).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn m_8_a_login_that_was_for_another_or_is_over_or_changed_names_nobody() {
    let Some(modules) = modules() else { return };
    let provider = Provider::start(&modules, 600).await;
    let stranger = Provider::start(&modules, 600).await;
    let (_daemon, agent) = scene(&provider).await;
    let intent = agent.ask_restart().await;
    let good = provider.log_in("alice", APP).await;
    let mut bobs = claims(&good);
    bobs["sub"] = "bob".into();
    let mut azp = claims(&good);
    azp["azp"] = OTHER_APP.into();
    let own_key = ScratchKey::new();
    for (name, id_token) in [
        ("for_another_application", provider.log_in("alice", OTHER_APP).await),
        ("of_another_provider", stranger.log_in("alice", APP).await),
        ("with_another_sub", with_claims(&good, &bobs)),
        ("with_an_azp", with_claims(&good, &azp)),
        ("by_another_key", own_key.sign(&header(&good), &claims(&good))),
    ] {
        let answer = agent.token(&for_person(&agent, &id_token, &intent)).await;
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some("invalid_request")),
            "{name}: {answer:?}"
        );
    }
    // The application itself refuses an answer to somebody else's login.
    let order = json!({ "issuer": provider.issuer, "client_id": APP, "person": "alice", "nonce": "another" });
    let told = provider.run(&order).await;
    assert!(told["failed"].as_str().is_some_and(|why| why.contains("nonce")), "{told}");
    agent.token(&for_person(&agent, &good, &intent)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn m_8_a_login_ends_when_the_provider_says_so() {
    let Some(modules) = modules() else { return };
    let provider = Provider::start(&modules, 8).await;
    let daemon = Daemon::start_with(|trust_domains| provider.believed(trust_domains)).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    let token = until("a token that ends with the login", async || {
        let id_token = provider.log_in("alice", APP).await;
        let answer = agent.token(&for_person(&agent, &id_token, &intent)).await;
        (answer.status == 200).then(|| (answer.text("access_token"), id_token))
    })
    .await;
    let (token, id_token) = token;
    let ends = claims(&id_token)["exp"].as_u64().expect("exp");
    assert!(claims(&token)["exp"].as_u64() <= Some(ends));
    let intent = agent.ask_restart().await;
    until("the end of the login", async || (now() > ends).then_some(())).await;
    let late = agent.token(&for_person(&agent, &id_token, &intent)).await;
    late.oauth_error("invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_8_a_provider_changes_its_key_and_the_one_before_verifies_nothing() {
    let Some(modules) = modules() else { return };
    let provider = Provider::start(&modules, 600).await;
    let (_daemon, agent) = scene(&provider).await;
    let (old, intent) = (provider.log_in("alice", APP).await, agent.ask_restart().await);
    provider.rotate().await;
    let new = provider.log_in("alice", APP).await;
    assert_ne!(header(&old)["kid"], header(&new)["kid"]);
    // Nobody is fetched for: the next turn is only earlier.
    agent.token(&for_person(&agent, &new, &intent)).await.oauth_error("invalid_request");
    let answer = until("the provider's new key", async || {
        let answer = agent.token(&for_person(&agent, &new, &intent)).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(claims(&answer.text("access_token"))["sub"], "corp:alice");
    let intent = agent.ask_restart().await;
    agent.token(&for_person(&agent, &old, &intent)).await.oauth_error("invalid_request");
}
