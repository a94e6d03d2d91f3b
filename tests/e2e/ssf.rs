//! Shared signals: a receiver hears of a kill within a second, of revocations and of what descends, over failures and
//! restarts, pushed or fetched; and a transmitter's word stops an agent, if it is believed. PyPI's joserfc verifies what is
//! sent, and signs what comes in.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::daemon::{Daemon, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::daemon::{NON_PRODUCTION, SECOND_ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, approved_rotation};
use crate::support::python::{interpreter, run_script, said};
use crate::support::tokens::{claims, now};
use crate::support::wait::until;

mod put_aside;
mod receiving;
mod replicas;

const BEARER: &str = "c3NmLWVuZC10by1lbmQtdGVzdHMtMQ==";
const OTHER_BEARER: &str = "c3NmLWVuZC10by1lbmQtdGVzdHMtMg==";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const AUDIENCE: &str = "https://crm.example.org";
const IDP: &str = "https://login.example.org";
const SET: &str = "application/secevent+jwt";

/// Somebody who is told, on loopback.
#[derive(Debug, Clone)]
struct Receiver {
    told: Arc<Mutex<Vec<(Instant, HeaderMap, String)>>>,
    answer: Arc<Mutex<(StatusCode, &'static str)>>,
    /// Of what it cannot cope with.
    chokes_on: Arc<Mutex<Option<&'static str>>>,
    url: String,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/ssf/events", listener.local_addr().expect("its address"));
        let answer = Arc::new(Mutex::new((StatusCode::ACCEPTED, "")));
        let own = Self { told: Arc::default(), answer, chokes_on: Arc::default(), url };
        let receiver = own.clone();
        let push = move |headers: HeaderMap, body: Bytes| {
            let body = String::from_utf8(body.to_vec()).expect("text");
            let chokes = receiver
                .chokes_on
                .lock()
                .unwrap()
                .is_some_and(|what| claims(&body).to_string().contains(what));
            let answer = match chokes {
                true => (StatusCode::INTERNAL_SERVER_ERROR, ""),
                false => *receiver.answer.lock().unwrap(),
            };
            receiver.told.lock().unwrap().push((Instant::now(), headers, body));
            async move { answer.into_response() }
        };
        let app = axum::Router::new().fallback(push);
        tokio::spawn(async move { axum::serve(listener, app).await });
        own
    }

    fn answers(&self, status: u16, body: &'static str) {
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body);
    }

    /// It fails for every SET with this in it.
    fn chokes_on(&self, what: &'static str) {
        *self.chokes_on.lock().unwrap() = Some(what);
    }

    fn told(&self) -> Vec<(Instant, HeaderMap, String)> {
        self.told.lock().unwrap().clone()
    }

    fn sets(&self) -> Vec<Value> {
        self.told().iter().map(|(_, _, set)| claims(set)).collect()
    }

    /// The first SET of this event about this subject.
    async fn hears(&self, event: &str, subject: &Value) -> Value {
        let what = format!("{event} about {subject}");
        until(&what, async || find(&self.sets(), event, subject)).await
    }
}

fn find(sets: &[Value], event: &str, subject: &Value) -> Option<Value> {
    let is = |set: &&Value| {
        set["sub_id"] == *subject && set["events"].get(format!("{CAEP}{event}")).is_some()
    };
    sets.iter().find(is).cloned()
}

fn add(trust_domains: &Path, trust_domain: &str, table: &str) {
    let folder = trust_domains.join(trust_domain);
    fs::write(folder.join("bearer"), BEARER).expect("write the token");
    let file = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    fs::write(&file, format!("{text}\n{table}\n")).expect("write the document");
}

/// The non-production trust domain's stream, which is pushed on loopback.
fn pushed(receiver: &Receiver, more: &str) -> String {
    format!(
        "[[ssf_streams]]\nname = \"crm\"\naudience = \"{AUDIENCE}\"\ndelivery = \"push\"\nendpoint = \"{}\"\n\
         secret_file = \"bearer\"\n{more}",
        receiver.url
    )
}

fn uri(name: &str) -> Value {
    json!({ "format": "uri", "uri": name })
}

fn grant(agent: &str, intent: &str) -> Value {
    json!({
        "format": "complex", "application": uri(agent),
        "session": { "format": "opaque", "id": intent },
    })
}

/// What PyPI's package makes of an order.
async fn joserfc(order: &Value) -> Option<Value> {
    Some(said(&run_script(&interpreter()?, "security_events", order).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn m_121_a_kill_is_pushed_within_a_second_signed_and_with_what_descends() {
    if interpreter().is_none() {
        return;
    }
    let receiver = Receiver::start().await;
    let daemon = Daemon::start_with(|trust_domains| {
        add(trust_domains, NON_PRODUCTION, &pushed(&receiver, ""));
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let operator = daemon.operator(NON_PRODUCTION);
    // The stream begins where the log ends when it is first served.
    until("a stream that is served", async || {
        let listed = operator.json(&["ssf", "status"]).await;
        (listed[0]["name"] == "crm" && listed[0]["behind"] == 0).then_some(())
    })
    .await;
    let intent = agent.ask_restart().await;
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    let unused = agent.ask_restart().await;
    let id = agent.place.id(RESTARTER.path);
    operator.kill(&["agent", &id]).await;
    let killed = Instant::now();
    let revoked = receiver.hears("session-revoked", &uri(&id)).await;
    let changed = receiver.hears("credential-change", &uri(&id)).await;
    let session = receiver.hears("session-revoked", &grant(&id, &intent)).await;
    for (came, headers, set) in receiver.told() {
        let late = came.saturating_duration_since(killed);
        assert!(late < Duration::from_secs(1), "{late:?} after the kill: {}", claims(&set));
        assert_eq!(headers["content-type"], SET);
        assert_eq!(headers["authorization"], format!("Bearer {BEARER}"));
    }
    assert_eq!(claims(&token)["intent"]["id"], *intent, "a token names its session");
    assert!(find(&receiver.sets(), "session-revoked", &grant(&id, &unused)).is_none());
    assert_eq!(revoked["txn"], changed["txn"]);
    assert_eq!(revoked["txn"], session["txn"]);
    let change = &changed["events"][format!("{CAEP}credential-change")];
    assert_eq!(
        (&change["credential_type"], &change["change_type"]),
        (&json!("x509"), &json!("revoke"))
    );
    assert_eq!(change["initiating_entity"], "admin");

    let configuration = format!("{}/.well-known/ssf-configuration", agent.place.issuer_url);
    let configuration = agent.send(Call::get(&configuration)).await.expect(200).json();
    assert_eq!(configuration["issuer"], *agent.place.issuer_url);
    let jwks = configuration["jwks_uri"].as_str().expect("a URL");
    let jwks = agent.send(Call::get(jwks)).await.expect(200).json();
    let sets: Vec<String> = receiver.told().into_iter().map(|(_, _, set)| set).collect();
    let verified = joserfc(&json!({ "jwks": jwks, "verify": sets })).await.expect("Python");
    let verified = verified["verified"].as_array().expect("a list");
    assert!(verified.len() >= 3, "{verified:?}");
    for set in verified {
        assert_eq!(set["header"]["typ"], "secevent+jwt");
        let (claims, issuer) = (&set["claims"], &agent.place.issuer_url);
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!(AUDIENCE)));
        assert!(claims.get("sub").is_none() && claims.get("exp").is_none(), "{claims}");
        assert_eq!(claims["events"].as_object().map(serde_json::Map::len), Some(1));
    }
    assert!(!agent.is_active(&sets[0]).await, "an event opens something");
    for secret in [BEARER, &token] {
        assert!(!daemon.output().contains(secret), "a secret in the daemon's log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_and_early_ends_are_told_and_filters_leave_out_the_rest() {
    let (all, few) = (Receiver::start().await, Receiver::start().await);
    let daemon = Daemon::start_with(|trust_domains| {
        let other = pushed(
            &few,
            "events = [\"session-revoked\"]\naudiences = [\"https://other.example.org\"]",
        )
        .replace("\"crm\"", "\"few\"");
        add(trust_domains, NON_PRODUCTION, &format!("{}\n{other}", pushed(&all, "")));
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let operator = daemon.operator(NON_PRODUCTION);
    until("streams that are served", async || {
        let listed = operator.json(&["ssf", "status"]).await;
        listed.as_array()?.iter().all(|one| one["behind"] == 0).then_some(())
    })
    .await;
    let id = agent.place.id(RESTARTER.path);
    // One token is revoked by its agent.
    let intent = agent.ask_restart().await;
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    agent.revoke(&token).await.expect(200);
    let jti = claims(&token)["jti"].clone();
    let subject = json!({ "format": "jwt_id", "iss": agent.place.issuer_url, "jti": jti });
    let told = all.hears("session-revoked", &subject).await;
    assert_eq!(told["events"][format!("{CAEP}session-revoked")]["initiating_entity"], "user");
    // A grant is revoked by an operator, another one is done with.
    let revoked = agent.ask_restart().await;
    agent.exchange(&revoked).await.expect(200);
    operator.run(&["intent", "revoke", &revoked, "--reason", "a test"]).await.succeeded();
    all.hears("session-revoked", &grant(&id, &revoked)).await;
    let done = agent.ask_restart().await;
    agent.exchange(&done).await.expect(200);
    agent.end(&done, "complete", &json!({ "outcome": "success" })).await.expect(200);
    all.hears("session-revoked", &grant(&id, &done)).await;
    // What was never used has nothing that ends.
    let unused = agent.ask_restart().await;
    operator.run(&["intent", "revoke", &unused, "--reason", "a test"]).await.succeeded();
    operator.kill(&["playbook", "restart-preview"]).await;
    operator.kill(&["agent", &id]).await;
    few.hears("session-revoked", &uri(&id)).await;
    assert!(find(&all.sets(), "session-revoked", &grant(&id, &unused)).is_none());
    // It wants no credential-change, and nothing of grants for others.
    assert_eq!(few.sets().len(), 1, "{:?}", few.sets());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_comes_again_over_a_restart_and_what_is_refused_is_put_aside() {
    let receiver = Receiver::start().await;
    receiver.answers(503, "");
    let mut daemon = Daemon::start_with(|trust_domains| {
        add(trust_domains, NON_PRODUCTION, &pushed(&receiver, ""));
    })
    .await;
    let place = daemon.place(NON_PRODUCTION).clone();
    let operator = daemon.operator(NON_PRODUCTION);
    until("a stream that is served", async || {
        (operator.json(&["ssf", "status"]).await[0]["behind"] == 0).then_some(())
    })
    .await;
    let refused = operator.run(&["ssf", "verify", "crm"]).await.failed();
    assert!(refused.err.contains("503"), "{refused:?}");
    let id = place.id(RESTARTER.path);
    operator.kill(&["agent", &id]).await;
    let first = receiver.hears("session-revoked", &uri(&id)).await;
    let listed = until("the failure", async || {
        let listed = operator.json(&["ssf", "status"]).await;
        (listed[0]["failed"].as_u64() > Some(0)).then_some(listed)
    })
    .await;
    assert_eq!(listed[0]["failure"], "answered with status 503", "{listed}");
    assert_eq!(listed[0]["waiting"], 2, "{listed}");
    daemon.kill().await;
    receiver.answers(202, "");
    let before = receiver.told().len();
    daemon.launch().await;
    let again = until("the same event", async || {
        let sets = receiver.sets();
        find(sets.get(before..)?, "session-revoked", &uri(&id))
    })
    .await;
    assert_eq!((&again["jti"], &again["iat"]), (&first["jti"], &first["iat"]));
    let operator = daemon.operator(NON_PRODUCTION);
    until("an empty queue", async || {
        let listed = operator.json(&["ssf", "status"]).await;
        (listed[0]["waiting"] == 0 && listed[0]["failed"] == 0).then_some(())
    })
    .await;
    // What may be put right is tried again.
    receiver.answers(400, r#"{"err":"invalid_key","description":"not known yet"}"#);
    operator.kill(&["trust-domain"]).await;
    let listed = until("the failure", async || {
        let listed = operator.json(&["ssf", "status"]).await;
        (listed[0]["failed"].as_u64() > Some(0)).then_some(listed)
    })
    .await;
    assert_eq!(listed[0]["failure"], "refused with `invalid_key`", "{listed}");
    assert_eq!(listed[0]["aside"], json!([]), "{listed}");
    // A receiver that cannot read a SET is not sent it again, and holds up nothing behind it.
    receiver.answers(400, r#"{"err":"invalid_request","description":"what is this?"}"#);
    let listed = until("what was put aside", async || {
        let listed = operator.json(&["ssf", "status"]).await;
        (listed[0]["aside"].as_array()?.len() == 2).then_some(listed)
    })
    .await;
    assert_eq!(listed[0]["aside"][0]["failure"], "invalid_request", "{listed}");
    assert_eq!(listed[0]["waiting"], 0, "{listed}");
    receiver.answers(202, "");
    operator.run(&["ssf", "verify", "crm", "--state", "4711"]).await.succeeded();
    let event = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let verification = receiver.sets().pop().expect("a SET");
    assert_eq!(verification["events"][event]["state"], "4711", "{verification}");
    operator.run(&["ssf", "verify", "other"]).await.failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_that_the_database_does_not_take_is_pushed_all_the_same_and_again_under_the_same_names()
 {
    let Some(python) = interpreter() else { return };
    let receiver = Receiver::start().await;
    let daemon = Daemon::start_with(|trust_domains| {
        add(trust_domains, NON_PRODUCTION, &pushed(&receiver, ""));
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let operator = daemon.operator(NON_PRODUCTION);
    until("a stream that is served", async || {
        (operator.json(&["ssf", "status"]).await[0]["behind"] == 0).then_some(())
    })
    .await;
    let intent = agent.ask_restart().await;
    agent.exchange(&intent).await.expect(200);
    let id = agent.place.id(RESTARTER.path);
    // Somebody else holds the database's only place for a writer.
    let file = daemon.data_dir().join(NON_PRODUCTION).join("private/marque.sqlite");
    let held = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); \
                c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()";
    let mut holder = Command::new(python)
        .args(["-c", held])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut said = tokio::io::BufReader::new(holder.stdout.take().expect("standard output"));
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut said, &mut line).await.expect("a line");
    assert_eq!(line, "held\n");
    let killing = tokio::spawn({
        let (operator, id) = (operator.clone(), id.clone());
        async move { operator.kill(&["agent", &id]).await }
    });
    let first = receiver.hears("session-revoked", &uri(&id)).await;
    let session = receiver.hears("session-revoked", &grant(&id, &intent)).await;
    killing.await.expect("the kill is in force");
    let told = receiver.told().len();
    drop(holder.stdin.take());
    holder.wait().await.expect("the holder ends");
    let again = until("the same, from the log", async || {
        let sets = receiver.sets();
        find(sets.get(told..)?, "session-revoked", &grant(&id, &intent))
    })
    .await;
    assert_eq!((&again["jti"], &again["txn"]), (&session["jti"], &session["txn"]));
    assert_eq!(first["txn"], session["txn"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_fetches_acknowledges_and_refuses() {
    let daemon = Daemon::start_with(|trust_domains| {
        let table = format!(
            "[[ssf_streams]]\nname = \"crm\"\naudience = \"{AUDIENCE}\"\ndelivery = \"poll\"\nsecret_file = \"bearer\""
        );
        add(trust_domains, PRODUCTION, &table);
    })
    .await;
    let place = daemon.place(PRODUCTION).clone();
    let (http, operator) = (daemon.http(PRODUCTION), daemon.operator(PRODUCTION));
    until("a stream that is served", async || {
        (operator.json(&["ssf", "status"]).await[0]["behind"] == 0).then_some(())
    })
    .await;
    let url = format!("{}/ssf/poll/crm", place.issuer_url);
    let poll = async |body: Value| http.send(Call::json(&url, &body).bearer(BEARER)).await;
    let nothing = poll(json!({ "returnImmediately": true })).await.expect(200).json();
    assert_eq!(nothing, json!({ "sets": {}, "moreAvailable": false }));
    for call in [
        Call::json(&url, &json!({ "returnImmediately": true })),
        Call::json(&url, &json!({ "returnImmediately": true })).bearer(OTHER_BEARER),
        Call::json(&format!("{}/ssf/poll/other", place.issuer_url), &json!({})).bearer(BEARER),
    ] {
        let answer = http.send(call).await.expect(401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{answer:?}");
    }
    // Where nothing waits, the answer comes before the edge ends the request.
    assert_eq!(poll(json!({})).await.expect(200).json(), nothing);
    for bad in ["[]", "{\"ack\":1}", "{\"maxEvents\":-1}", "{\"ack\":[],\"ack\":[]}"] {
        let call = Call::post(&url, "application/json", bad).bearer(BEARER);
        assert_eq!(http.send(call).await.expect(400).json()["err"], "invalid_request", "{bad}");
    }
    let large = format!("{{\"ack\":[\"{}\"]}}", "a".repeat(64 * 1024));
    http.send(Call::post(&url, "application/json", large).bearer(BEARER)).await.expect(413);
    // Somebody who waits is told at once.
    let id = place.id(ROTATOR.path);
    let waits = tokio::spawn({
        let (http, call) = (http.clone(), Call::json(&url, &json!({})).bearer(BEARER));
        async move { http.send(call).await }
    });
    operator.kill(&["agent", &id]).await;
    let first = waits.await.expect("an answer").expect(200).json();
    assert_eq!(first["sets"].as_object().map(serde_json::Map::len), Some(2), "{first}");
    let one = poll(json!({ "returnImmediately": true, "maxEvents": 1 })).await.expect(200).json();
    assert_eq!(one["moreAvailable"], true);
    let sets = first["sets"].as_object().expect("SETs").clone();
    let told: Vec<Value> = sets.values().map(|set| claims(set.as_str().expect("a SET"))).collect();
    let revoked = find(&told, "session-revoked", &uri(&id)).expect("the end of a session");
    let changed = find(&told, "credential-change", &uri(&id)).expect("a change");
    let (taken, refused) = (revoked["jti"].as_str().unwrap(), changed["jti"].as_str().unwrap());
    let answer = json!({
        "returnImmediately": true, "ack": [taken],
        "setErrs": { (refused): { "err": "invalid_key", "description": "?" } },
    });
    let left = poll(answer.clone()).await.expect(200).json();
    assert_eq!(left, json!({ "sets": {}, "moreAvailable": false }));
    let listed = operator.json(&["ssf", "status"]).await;
    assert_eq!(listed[0]["waiting"], 0, "{listed}");
    assert_eq!(listed[0]["aside"][0]["jti"], refused, "{listed}");
    // Saying it again changes nothing.
    poll(answer).await.expect(200);
    let said = operator.json(&["ssf", "verify", "crm"]).await;
    assert_eq!(said["taken"], false, "{said}");
    let waiting = poll(json!({ "returnImmediately": true })).await.expect(200).json();
    assert_eq!(waiting["sets"].as_object().map(serde_json::Map::len), Some(1), "{waiting}");
}
