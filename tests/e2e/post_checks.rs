//! Post-checks: whom a playbook names is really asked whether reported work was done, and its word stands beside the agent's.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::folder::{copy, shipped};
use crate::support::log;
use crate::support::oauth::{Client, restart};
use crate::support::programs::marque;
use crate::support::wait::until;

/// What the one who is asked says.
#[derive(Debug, Clone)]
enum Says {
    /// This, as JSON.
    Json(Value),
    /// This, with this status.
    Text(u16, &'static str),
    /// Nothing at all.
    Nothing,
}

/// Somebody who is asked, on loopback.
#[derive(Debug, Clone)]
struct Checker {
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<Value>>>,
    url: String,
}

impl Checker {
    async fn start(says: Says) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/check", listener.local_addr().expect("its address"));
        let own = Self { says: Arc::new(Mutex::new(says)), asked: Arc::default(), url };
        let checker = own.clone();
        let check = move |Json(question): Json<Value>| {
            checker.asked.lock().unwrap().push(question);
            let says = checker.says.lock().unwrap().clone();
            async move { answer(says).await }
        };
        let app = axum::Router::new().route("/check", axum::routing::post(check));
        tokio::spawn(async move { axum::serve(listener, app).await });
        own
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    /// Has the playbook ask it.
    fn named_in(&self, trust_domains: &Path) {
        let folder = trust_domains.join(NON_PRODUCTION);
        append(&folder.join("trust-domain.toml"), "[post_checks]\ntimeout = \"1s\"");
        let verify = format!("[on_complete]\nverify = \"{}\"", self.url);
        append(&folder.join("playbooks/restart-preview.toml"), &verify);
    }
}

async fn answer(says: Says) -> Response {
    match says {
        Says::Json(value) => Json(value).into_response(),
        Says::Text(status, text) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [("location", "/check")], text).into_response()
        }
        Says::Nothing => std::future::pending().await,
    }
}

fn append(file: &Path, lines: &str) {
    let text = fs::read_to_string(file).expect("read it");
    fs::write(file, format!("{text}\n{lines}\n")).expect("write it");
}

/// Uses a grant and reports that its work was done; the intent, and what the agent is answered.
async fn report(agent: &Client) -> (String, Value) {
    let intent = agent.ask_restart().await;
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    let answer = agent.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    // The grant and its tokens end with the report, whoever is asked about it then.
    assert!(!agent.is_active(&token).await);
    (intent, answer.json())
}

/// The intent as operators see it, once the post-check is over.
async fn checked(daemon: &Daemon, intent: &str) -> Value {
    let operator = daemon.operator(NON_PRODUCTION);
    until("the end of the post-check", async || {
        let shown = operator.json(&["intent", "show", intent]).await;
        (shown["post_check"] != "pending").then_some(shown)
    })
    .await
}

fn words(of: &Value) -> [&Value; 3] {
    ["outcome", "reported_outcome", "post_check"].map(|name| &of[name])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_check_has_the_last_word_on_what_an_agent_reports() {
    let checker = Checker::start(Says::Json(json!({ "verified": true }))).await;
    let daemon = Daemon::start_with(|trust_domains| checker.named_in(trust_domains)).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let (good, answered) = report(&agent).await;
    assert_eq!(answered["state"], "completed");
    assert_eq!(answered["reported_outcome"], "success");
    assert_eq!(words(&checked(&daemon, &good).await), ["success", "success", "verified"]);
    let question = checker.asked().remove(0);
    assert_eq!(
        question,
        json!({
            "intent": good,
            "playbook": { "id": "restart-preview", "version": 1 },
            "parameters": restart()["parameters"],
            "resources": answered["grant"]["resources"],
            "outcome": "success",
        })
    );

    checker.say(Says::Json(json!({ "verified": false })));
    let (bad, _) = report(&agent).await;
    assert_eq!(words(&checked(&daemon, &bad).await), ["failure", "success", "failed"]);
    let seen = agent.look(&bad).await.json();
    assert_eq!(words(&seen), ["failure", "success", "failed"]);
    assert_eq!(checker.asked().len(), 2, "each is asked about once");

    let operator = daemon.operator(NON_PRODUCTION);
    let leaves = log::export(&operator, &daemon.path("exported")).await;
    let told: Vec<(&str, &str, [&Value; 3])> = leaves
        .iter()
        .filter(|leaf| leaf["data"]["detail"]["post_check"].is_string())
        .map(|leaf| {
            let kind = leaf["type"].as_str().unwrap();
            (kind, leaf["data"]["intent"].as_str().unwrap(), words(&leaf["data"]["detail"]))
        })
        .collect();
    let (completed, checked) = ("org.marque.intent.completed", "org.marque.intent.post_checked");
    let words = |words: [&str; 3]| words.map(Value::from);
    let expected = [
        (completed, &*good, words(["unknown", "success", "pending"])),
        (checked, &good, words(["success", "success", "verified"])),
        (completed, &bad, words(["unknown", "success", "pending"])),
        (checked, &bad, words(["failure", "success", "failed"])),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((kind, intent, said), expected) in told.into_iter().zip(&expected) {
        assert_eq!((kind, intent, said.map(Clone::clone)), *expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_check_without_a_usable_answer_is_no_success_and_no_failure() {
    let checker = Checker::start(Says::Nothing).await;
    let daemon = Daemon::start_with(|trust_domains| checker.named_in(trust_domains)).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    for says in [
        Says::Nothing,
        Says::Text(200, "yes"),
        Says::Text(200, "{\"verified\": \"true\"}"),
        Says::Text(200, "{\"verified\": false, \"verified\": true}"),
        Says::Text(200, "{\"verified\": true, \"more\": 1}"),
        Says::Text(307, "{\"verified\": true}"),
        Says::Text(500, "{\"verified\": true}"),
    ] {
        checker.say(says.clone());
        let before = checker.asked().len();
        let (intent, answered) = report(&agent).await;
        // Nobody waits for whoever is silent.
        assert_eq!(words(&answered), ["unknown", "success", "pending"], "{says:?}");
        let shown = checked(&daemon, &intent).await;
        assert_eq!(words(&shown), ["unknown", "success", "unreachable"], "{says:?}");
        assert_eq!(checker.asked().len() - before, 3, "three tries: {says:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_nobody_was_asked_about_is_asked_about_after_a_restart() {
    let checker = Checker::start(Says::Nothing).await;
    let mut daemon = Daemon::start_with(|trust_domains| checker.named_in(trust_domains)).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let (intent, answered) = report(&agent).await;
    assert_eq!(answered["post_check"], "pending");
    daemon.kill().await;
    checker.say(Says::Json(json!({ "verified": true })));
    daemon.launch().await;
    assert_eq!(words(&checked(&daemon, &intent).await), ["success", "success", "verified"]);
}

#[test]
fn a_post_check_over_tls_needs_authorities_that_are_believed() {
    let trust_domains = marque_testkit::temp_dir();
    copy(&shipped(), trust_domains.path());
    let folder = trust_domains.path().join(NON_PRODUCTION);
    let verify = "[on_complete]\nverify = \"https://verify.example.org/restart\"";
    append(&folder.join("playbooks/restart-preview.toml"), verify);
    let check = || {
        let check =
            std::process::Command::new(marque()).arg("check").arg(trust_domains.path()).output();
        let check = check.expect("marque check runs");
        let said = [check.stdout, check.stderr].concat();
        (check.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (sound, said) = check();
    assert!(!sound && said.contains("`https` needs `ca_file` in [post_checks]"), "{said}");
    append(&folder.join("trust-domain.toml"), "[post_checks]\nca_file = \"post-checks.pem\"");
    let (sound, said) = check();
    assert!(
        !sound && said.contains("post-checks.pem") && said.contains("cannot be read"),
        "{said}"
    );
    let authority = rcgen::generate_simple_self_signed(["verify.example.org".to_owned()]);
    let authority = authority.expect("a certificate").cert.pem();
    std::fs::write(folder.join("post-checks.pem"), authority).expect("write it");
    let (sound, said) = check();
    assert!(sound, "{said}");
}
