//! Webhooks out and callbacks in: what is said is signed as Standard Webhooks has it (PyPI's `standardwebhooks` agrees), told
//! at least once over failures and restarts, and believed from nobody else, no other time and not twice.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::oauth::Client;
use crate::support::python::{interpreter, run_script, said};
use crate::support::tokens::now;
use crate::support::wait::until;

/// 24 bytes.
const SECRET: &str = "whsec_bWFycXVlLWVuZC10by1lbmQtdGVzdHMtMQ==";
const OTHER_SECRET: &str = "whsec_bWFycXVlLWVuZC10by1lbmQtdGVzdHMtMg==";

/// Somebody who is told, on loopback.
#[derive(Debug, Clone)]
struct Receiver {
    told: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    status: Arc<Mutex<StatusCode>>,
    url: String,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("its address"));
        let own = Self { told: Arc::default(), status: Arc::new(Mutex::new(StatusCode::OK)), url };
        let receiver = own.clone();
        let hook = move |headers: HeaderMap, body: Bytes| {
            let status = *receiver.status.lock().unwrap();
            let body = String::from_utf8(body.to_vec()).expect("text");
            receiver.told.lock().unwrap().push((headers, body));
            async move {
                let elsewhere = [("location", "/elsewhere")];
                if status.is_redirection() {
                    (status, elsewhere).into_response()
                } else {
                    status.into_response()
                }
            }
        };
        let app = axum::Router::new().fallback(hook);
        tokio::spawn(async move { axum::serve(listener, app).await });
        own
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }

    fn told(&self) -> Vec<(HeaderMap, String)> {
        self.told.lock().unwrap().clone()
    }

    async fn first(&self) -> (HeaderMap, String) {
        until("a message", async || self.told().first().cloned()).await
    }
}

fn append(trust_domains: &Path, trust_domain: &str, table: &str) {
    let folder = trust_domains.join(trust_domain);
    fs::write(folder.join("secret"), SECRET).expect("write the secret");
    let file = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    fs::write(&file, format!("{text}\n{table}\n")).expect("write the document");
}

fn hook(receiver: &Receiver, events: &str) -> String {
    format!(
        "[[webhooks]]\nname = \"bus\"\nurl = \"{}\"\nsecret_file = \"secret\"\nevents = [{events}]",
        receiver.url
    )
}

/// What PyPI's package makes of an order.
async fn standard(order: &Value) -> Option<Value> {
    Some(said(&run_script(&interpreter()?, "standard_webhooks", order).await))
}

async fn is_verified(secret: &str, headers: &HeaderMap, body: &str) -> bool {
    let of = |name: &str| headers[name].to_str().expect("text").to_owned();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), of(name).into())).collect();
    let order = json!({ "secret": secret, "headers": headers, "body": body });
    standard(&order).await.expect("Python")["verified"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_signed_and_without_the_agents_words() {
    if interpreter().is_none() {
        return;
    }
    let receiver = Receiver::start().await;
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, NON_PRODUCTION, &hook(&receiver, "\"intent.approved\""));
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let words = "please hurry, the demo is at noon";
    let mut asked = crate::support::oauth::restart();
    asked["justification"] = words.into();
    let intent = agent.ask(&asked).await.expect(201).text("id");
    let (headers, body) = receiver.first().await;
    assert!(is_verified(SECRET, &headers, &body).await);
    assert!(!is_verified(OTHER_SECRET, &headers, &body).await);
    assert!(!is_verified(SECRET, &headers, &body.replace("approved", "denied")).await);
    let said: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&said["type"], &said["data"]["intent"]),
        (&json!("intent.approved"), &json!(intent))
    );
    assert_eq!(said["data"]["trust_domain"], NON_PRODUCTION);
    assert_eq!(said["data"]["playbook"]["id"], "restart-preview");
    assert!(said["data"]["playbook"]["title"].is_string(), "{said}");
    let link = format!("{}/v1/approvals/intents/{intent}", agent.place.issuer_url);
    assert_eq!(said["data"]["url"], *link);
    for secret in [words, SECRET, &agent.svid] {
        assert!(!body.contains(secret) && !daemon.output().contains(secret), "{secret}");
    }
    // Nothing else is told, and this once.
    agent.ask_restart().await;
    until("the second message", async || (receiver.told().len() == 2).then_some(())).await;
    let ids: Vec<_> =
        receiver.told().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_taken_comes_again_over_a_restart_and_no_redirect_is_followed() {
    let receiver = Receiver::start().await;
    receiver.answers(302);
    let mut daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, NON_PRODUCTION, &hook(&receiver, "\"intent.approved\""));
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    let (headers, body) = receiver.first().await;
    let id = headers["webhook-id"].clone();
    let operator = daemon.operator(NON_PRODUCTION);
    let listed = until("the failure", async || {
        let listed = operator.json(&["webhook", "list"]).await;
        (listed[0]["failed"].as_u64() > Some(0)).then_some(listed)
    })
    .await;
    assert_eq!(listed[0]["failure"], "answered with status 302", "{listed}");
    assert!(receiver.told().iter().all(|(_, told)| *told == body), "nothing but that message");
    let tested = operator.run(&["webhook", "test", "bus"]).await.failed();
    assert!(tested.err.contains("302"), "{tested:?}");
    daemon.kill().await;
    receiver.answers(200);
    let before = receiver.told().len();
    daemon.launch().await;
    let again = until("the same message", async || {
        receiver.told().into_iter().skip(before).find(|(headers, _)| headers["webhook-id"] == id)
    })
    .await;
    // But for the port, which a test's daemon does not keep.
    let but_url = |body: &str| {
        let mut said: Value = serde_json::from_str(body).expect("JSON");
        said["data"]["url"] = Value::Null;
        said
    };
    assert_eq!(but_url(&again.1), but_url(&body));
    let operator = daemon.operator(NON_PRODUCTION);
    until("an end of the failure", async || {
        let listed = operator.json(&["webhook", "list"]).await;
        (listed[0]["failed"] == 0 && listed[0]["behind"] == 0).then_some(())
    })
    .await;
    operator.run(&["webhook", "test", "bus"]).await.succeeded();
    operator.run(&["webhook", "test", "other"]).await.failed();
    operator.run(&["webhook", "redeliver", "bus", "--leaf", "1"]).await.failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_tells_the_webhook_that_it_names_when_its_work_is_done() {
    let receiver = Receiver::start().await;
    let notify = |trust_domains: &Path, name: &str| {
        let file = trust_domains.join(NON_PRODUCTION).join("playbooks/restart-preview.toml");
        let text = fs::read_to_string(&file).expect("read the playbook");
        let line = format!("\n[on_complete]\nnotify = [\"webhook:{name}\"]\n");
        fs::write(&file, format!("{text}{line}")).expect("write the playbook");
    };
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, NON_PRODUCTION, &hook(&receiver, ""));
        notify(trust_domains, "bus");
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    agent.exchange(&intent).await.expect(200);
    agent.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    let (_, body) = receiver.first().await;
    let said: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&said["type"], &said["data"]["intent"]),
        (&json!("intent.completed"), &json!(intent))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_glass_is_told_to_the_webhook_that_its_playbook_names() {
    const EMERGENCY: &str =
        include_str!("../../crates/intent/testdata/emergency-network-remediation.toml");
    let receiver = Receiver::start().await;
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, NON_PRODUCTION, &hook(&receiver, ""));
        let text = EMERGENCY
            .replace("\"prod.example.org\"", &format!("\"{NON_PRODUCTION}\""))
            .replace(
                "prod.example.org/agent/cert-rotator",
                &format!("{NON_PRODUCTION}{}", "/agent/preview-restarter"),
            )
            .replace("https://ingress.prod.example.org", "https://preview.dev.example.org")
            .replace("alert = \"log\"", "alert = \"webhook:bus\"");
        let file = trust_domains.join(NON_PRODUCTION).join("playbooks");
        fs::write(file.join("emergency-network-remediation.toml"), text).expect("write it");
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let asked = json!({
        "playbook": "emergency-network-remediation", "parameters": { "segment": "seg-7" }, "ticket": "INC-4711",
    });
    let intent = agent.ask(&asked).await.expect(202).text("id");
    // What is no emergency is not told.
    agent.ask_restart().await;
    daemon.operator(NON_PRODUCTION).approve(&intent).await;
    agent.exchange(&intent).await.expect(200);
    let told = until("three messages", async || {
        let told = receiver.told();
        (told.len() >= 3).then_some(told)
    })
    .await;
    let kinds: Vec<(Value, Value)> = told
        .iter()
        .map(|(_, body)| serde_json::from_str::<Value>(body).expect("JSON"))
        .map(|said| (said["type"].clone(), said["data"]["intent"].clone()))
        .collect();
    let steps = ["requested", "activated", "used"];
    let steps = steps.map(|step| (json!(format!("break_glass.{step}")), json!(intent)));
    assert_eq!(kinds, steps);
}

/// A trust domain to which a chat passes on what its users decide: U1 is an operator, U2 somebody in no group.
async fn chat(mfa: bool) -> Daemon {
    let user =
        nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("the user").name;
    Daemon::start_with(|trust_domains| {
        let table = format!(
            "[[operators]]\nuser = \"{user}\"\n[[chat_integrations]]\nname = \"ops-chat\"\nsecret_file = \"secret\"\n\
             [[chat_identities]]\nintegration = \"ops-chat\"\nuser = \"U1\"\noperator = \"{user}\"\n\
             [[chat_identities]]\nintegration = \"ops-chat\"\nuser = \"U2\"\noperator = \"nobody\""
        );
        append(trust_domains, PRODUCTION, &table);
        if mfa {
            let file = trust_domains.join(PRODUCTION).join("playbooks/ingress-cert-rotation.toml");
            let text = fs::read_to_string(&file).expect("read the playbook");
            let text = text.replace("[approval]\n", "[approval]\nmfa = \"required\"\n");
            fs::write(&file, text).expect("write the playbook");
        }
    })
    .await
}

/// One callback, signed by PyPI's package.
#[derive(Clone)]
struct Callback {
    integration: &'static str,
    secret: &'static str,
    id: String,
    timestamp: u64,
    body: Value,
}

impl Callback {
    fn new(id: &str, user: &str, intent: &str, digest: &str) -> Self {
        let body =
            json!({ "user": user, "intent": intent, "decision": "approve", "digest": digest });
        let (integration, secret) = ("ops-chat", SECRET);
        Self { integration, secret, id: id.to_owned(), timestamp: now(), body }
    }

    async fn send(&self, agent: &Client) -> Answer {
        self.send_as(agent, &self.body.to_string()).await
    }

    /// Sends another body than was signed.
    async fn send_as(&self, agent: &Client, body: &str) -> Answer {
        let order = json!({
            "secret": self.secret,
            "id": self.id,
            "timestamp": self.timestamp,
            "body": self.body.to_string(),
        });
        let signature = standard(&order).await.expect("Python")["signature"].clone();
        let base = &agent.place.issuer_url;
        let url = format!("{base}/v1/approvals/callback/{}", self.integration);
        let call = Call::post(&url, "application/json", body)
            .header("webhook-id", self.id.clone())
            .header("webhook-timestamp", self.timestamp.to_string())
            .header("webhook-signature", signature.as_str().expect("a signature"));
        agent.http.send(call).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_callback_of_a_linked_user_decides_and_nothing_else_does() {
    if interpreter().is_none() {
        return;
    }
    let daemon = chat(false).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let shown = daemon.operator(PRODUCTION).json(&["intent", "show", &intent]).await;
    let digest = shown["grant"]["digest"].as_str().expect("a digest").to_owned();
    let good = |id: &str| Callback::new(id, "U1", &intent, &digest);
    let refused = |answer: &Answer, status: u16, code: &str| {
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{answer:?}"
        );
    };
    let stranger = Callback { secret: OTHER_SECRET, ..good("msg_1") };
    refused(&stranger.send(&rotator).await, 401, "signature_invalid");
    let unknown = Callback { integration: "other-chat", ..good("msg_2") };
    refused(&unknown.send(&rotator).await, 401, "signature_invalid");
    let tampered = good("msg_3").body.to_string().replace("U1", "U2");
    refused(&good("msg_3").send_as(&rotator, &tampered).await, 401, "signature_invalid");
    for timestamp in [now() - 310, now() + 330] {
        let old = Callback { timestamp, ..good("msg_4") };
        refused(&old.send(&rotator).await, 401, "timestamp_out_of_range");
    }
    let unsigned = Call::json(
        &format!("{}/v1/approvals/callback/ops-chat", rotator.place.issuer_url),
        &good("msg_5").body,
    );
    refused(&rotator.http.send(unsigned).await, 401, "signature_invalid");
    for (id, user) in [("msg_6", "U2"), ("msg_7", "U3"), ("msg_8", "")] {
        let nobody = Callback::new(id, user, &intent, &digest);
        refused(&nobody.send(&rotator).await, 403, "approver_not_eligible");
    }
    let other = format!("sha256:{}", "0".repeat(64));
    let elsewhere = Callback::new("msg_9", "U1", &intent, &other);
    refused(&elsewhere.send(&rotator).await, 403, "approval_digest_mismatch");
    let mut odd = good("msg_10");
    odd.body["scopes"] = json!([]);
    refused(&odd.send(&rotator).await, 400, "unrecognised_field");
    let long = Callback { id: "m".repeat(129), ..good("") };
    refused(&long.send(&rotator).await, 401, "signature_invalid");
    rotator.exchange(&intent).await.refused("approval_pending");
    // A message that was believed is used up, whatever came of it.
    refused(&elsewhere.send(&rotator).await, 409, "message_replayed");
    let decided = good("msg_11").send(&rotator).await.expect(200).json();
    assert_eq!(decided, json!({ "id": intent, "state": "approved", "approvals_missing": 0 }));
    refused(&good("msg_11").send(&rotator).await, 409, "message_replayed");
    rotator.exchange(&intent).await.expect(200);
    assert!(!daemon.output().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_shows_no_factor_and_is_refused_where_a_playbook_demands_them() {
    if interpreter().is_none() {
        return;
    }
    let daemon = chat(true).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let shown = daemon.operator(PRODUCTION).json(&["intent", "show", &intent]).await;
    let digest = shown["grant"]["digest"].as_str().expect("a digest");
    let answer = Callback::new("msg_1", "U1", &intent, digest).send(&rotator).await;
    answer.expect(403).refused("approver_not_eligible");
    rotator.exchange(&intent).await.refused("approval_pending");
    // It may refuse all the same.
    let mut deny = Callback::new("msg_2", "U1", &intent, digest);
    deny.body["decision"] = "deny".into();
    deny.body["reason"] = "suspicious".into();
    assert_eq!(deny.send(&rotator).await.expect(200).json()["state"], "denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_loses_no_message_and_sends_none_twice_and_a_new_webhook_is_served() {
    let (receiver, second) = (Receiver::start().await, Receiver::start().await);
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, NON_PRODUCTION, &hook(&receiver, "\"intent.approved\""));
    })
    .await;
    let operator = daemon.operator(NON_PRODUCTION);
    let agent = Client::start(&daemon, RESTARTER).await;
    let mut asked = vec![agent.ask_restart().await];
    receiver.first().await;
    let more = hook(&second, "\"intent.approved\"").replace("\"bus\"", "\"second\"");
    append(&daemon.path("trust-domains"), NON_PRODUCTION, &more);
    for _ in 0..5 {
        asked.push(agent.ask_restart().await);
        operator.run(&["reload"]).await.succeeded();
        asked.push(agent.ask_restart().await);
    }
    let told = until("every message", async || {
        let told = receiver.told();
        (told.len() >= asked.len()).then_some(told)
    })
    .await;
    let of = |told: &[(HeaderMap, String)]| -> Vec<String> {
        let said = told.iter().map(|(_, body)| serde_json::from_str::<Value>(body).expect("JSON"));
        said.map(|said| said["data"]["intent"].as_str().expect("an intent").to_owned()).collect()
    };
    assert_eq!(of(&told), asked);
    // Whoever comes new is told what happens from then on.
    let last = agent.ask_restart().await;
    until("the last message", async || of(&second.told()).contains(&last).then_some(())).await;
    until("the last message", async || of(&receiver.told()).contains(&last).then_some(())).await;
    assert_eq!(receiver.told().len(), asked.len() + 1);
}
