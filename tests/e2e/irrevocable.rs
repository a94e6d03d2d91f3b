//! What no kill reaches says so, and until when: the grant to whoever approves it, the dry run, and the kill.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::oauth::{Client, approved_rotation};
use crate::support::tokens::{claims, timestamp};

const AUDIENCE: &str = "https://ingress.prod.example.org";

/// The resource server looks at signatures alone.
fn deaf(trust_domains: &Path) {
    let file = trust_domains.join(PRODUCTION).join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("the document");
    let server = format!("audience = \"{AUDIENCE}\"\n");
    assert!(text.contains(&server), "{text}");
    let text = text.replacen(&server, &format!("{server}revocation = \"none\"\n"), 1);
    fs::write(&file, text).expect("write the document");
}

fn instant(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn m_121_what_cannot_be_revoked_says_until_when() {
    let daemon = Daemon::start_with(deaf).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let operator = daemon.operator(PRODUCTION);
    // Before it is approved: no token is out, so that there is no instant yet.
    let waiting = rotator.ask_rotation().await;
    let shown = operator.json(&["intent", "show", &waiting]).await;
    assert_eq!(shown["revocable"], false, "{shown}");
    assert_eq!(shown["irrevocable"], json!({ "audiences": [AUDIENCE] }));
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let expires = claims(&token)["exp"].as_i64().expect("an end");
    let shown = operator.json(&["intent", "show", &intent]).await;
    assert_eq!(instant(&shown["irrevocable"]["until"]).as_second(), expires, "{shown}");
    let agent = rotator.place.id(ROTATOR.path);
    let dry = operator.json(&["kill", "agent", &agent, "--dry-run"]).await;
    let told = &dry[0]["irrevocable"];
    assert_eq!((&told["count"], &told["audiences"]), (&json!(1), &json!([AUDIENCE])), "{dry}");
    assert_eq!(instant(&told["until"]).as_second(), expires, "{dry}");
    assert!(instant(&dry[0]["svids_until"]) > timestamp(), "{dry}");
    let killed = operator.json(&["kill", "agent", &agent, "--yes"]).await;
    let told = &killed[0]["irrevocable"];
    assert_eq!(told["audiences"], json!([AUDIENCE]), "{killed}");
    assert!(instant(&told["until"]).as_second() >= expires, "{killed}");
    // A kill that stops no use ends no token, and has nothing to say of it.
    let drained = operator.json(&["kill", "agent", &agent, "--mode", "drain", "--yes"]).await;
    assert_eq!(drained[0]["irrevocable"], Value::Null, "{drained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_resource_server_hears_of_is_revocable() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let operator = daemon.operator(PRODUCTION);
    let intent = approved_rotation(&daemon, &rotator).await;
    rotator.exchange(&intent).await.expect(200);
    let shown = operator.json(&["intent", "show", &intent]).await;
    assert_eq!((&shown["revocable"], &shown["irrevocable"]), (&json!(true), &Value::Null));
    let agent = rotator.place.id(ROTATOR.path);
    let dry = operator.json(&["kill", "agent", &agent, "--dry-run"]).await;
    assert_eq!(dry[0]["irrevocable"]["count"], 0, "{dry}");
    let killed = operator.json(&["kill", "agent", &agent, "--yes"]).await;
    assert_eq!(killed[0]["irrevocable"], Value::Null, "{killed}");
}
