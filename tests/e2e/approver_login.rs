//! Approvers who are no local operators: they log in at an OpenID provider that this project did not write (npm
//! `oidc-provider`) and decide over HTTPS. Whoever is not them, or not now, or not on purpose, decides nothing.

mod desk;
mod logins;

pub(crate) use self::desk::Desk;

use std::fs;

use serde_json::{Value, json};

use self::desk::demand_mfa;
use crate::support::browser::Browser;
use crate::support::daemon::{NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::log;
use crate::support::node::modules;
use crate::support::oauth::Client;
use crate::support::wait::until;

const LOGIN_COOKIE: &str = "__Host-marque-login";
const SESSION_COOKIE: &str = "__Host-marque-approver";

/// The page says why not, and no session was begun.
#[track_caller]
fn not_logged_in(desk: &Desk, browser: &Browser, answer: &Answer, code: &str) {
    assert!(answer.body.contains(code), "{code}: {answer:?}");
    assert!(answer.status >= 400, "{answer:?}");
    assert_eq!(browser.cookie(&desk.base, SESSION_COOKIE), None, "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_49_a_person_logs_in_sees_what_waits_and_approves_exactly_that() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let mut alice = desk.log_in("alice").await;
    let session = desk.session(&mut alice).await;
    assert_eq!(
        (&session["subject"], &session["groups"]),
        (&json!("alice"), &json!(["platform-sre"]))
    );
    assert!(session["mfa_at"].is_string(), "{session}");
    let waiting = alice.get(&desk.base).await.expect(200).json();
    assert_eq!(waiting["intents"][0]["id"], *intent, "{waiting}");
    // The review is the one that an operator has.
    let shown = alice.get(&format!("{}/intents/{intent}", desk.base)).await.expect(200).json();
    let operators = desk.daemon.operator(PRODUCTION).json(&["intent", "show", &intent]).await;
    for member in ["id", "agent", "agent_owner", "grant", "justification", "approvals_missing"] {
        assert_eq!(shown[member], operators[member], "{member}");
    }
    let digest = desk.digest(&mut alice, &intent).await;
    let other = format!("sha256:{}", "0".repeat(64));
    desk.decide(&mut alice, &intent, "approve", &json!({ "digest": other }))
        .await
        .refused("approval_digest_mismatch");
    let approved = desk.decide(&mut alice, &intent, "approve", &json!({ "digest": digest })).await;
    assert_eq!(approved.expect(200).json()["state"], "approved");
    // Said twice, it is the same.
    desk.decide(&mut alice, &intent, "approve", &json!({ "digest": digest })).await.expect(200);
    rotator.exchange(&intent).await.expect(200);
    let leaves = log::export(&desk.daemon.operator(PRODUCTION), &desk.daemon.path("log")).await;
    let said = |kind: &str| {
        leaves.iter().any(|leaf| {
            let text = leaf.to_string();
            text.contains(kind) && text.contains("#alice")
        })
    };
    assert!(said("org.marque.approval.recorded") && said("org.marque.approver.logged_in"));
    let secret = alice.cookie(&desk.base, SESSION_COOKIE).expect("a session");
    assert!(!leaves.iter().any(|leaf| leaf.to_string().contains(&secret)));
    assert!(!desk.daemon.output().contains(&secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_denies_for_a_preset_reason_and_one_in_no_group_sees_nothing() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let mut bob = desk.log_in("bob").await;
    assert_eq!(bob.get(&desk.base).await.expect(200).json()["intents"], json!([]));
    bob.get(&format!("{}/intents/{intent}", desk.base)).await.expect(404);
    let mut alice = desk.log_in("alice").await;
    let digest = desk.digest(&mut alice, &intent).await;
    let word = |reason: &str| json!({ "digest": digest, "reason": reason, "text": "not today" });
    desk.decide(&mut bob, &intent, "deny", &word("not_needed")).await.expect(404);
    let without = json!({ "digest": digest, "text": "not today" });
    for unsaid in [&word("because"), &without] {
        let refused = desk.decide(&mut alice, &intent, "deny", unsaid).await;
        let detail = refused.refused("invalid_request").json()["detail"].to_string();
        assert!(detail.contains("`ticket_mismatch`"), "{detail}");
    }
    let more = json!({ "digest": digest, "reason": "other", "scopes": [] });
    desk.decide(&mut alice, &intent, "deny", &more).await.refused("unrecognised_field");
    let denied = desk.decide(&mut alice, &intent, "deny", &word("not_needed")).await;
    assert_eq!(denied.expect(200).json()["state"], "denied");
    rotator.exchange(&intent).await.refused("approval_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_decides_nothing_and_no_get_does() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let mut alice = desk.log_in("alice").await;
    let digest = desk.digest(&mut alice, &intent).await;
    let csrf = desk.session(&mut alice).await["csrf"].as_str().unwrap().to_owned();
    let mut other = desk.log_in("alice").await;
    let others = desk.session(&mut other).await["csrf"].as_str().unwrap().to_owned();
    let url = format!("{}/intents/{intent}/approve", desk.base);
    let body = json!({ "digest": digest });
    let own = desk.origin.as_str();
    for (name, headers) in [
        ("no token", vec![("origin", own)]),
        ("another session's token", vec![("origin", own), ("marque-csrf", &*others)]),
        ("no origin", vec![("marque-csrf", &*csrf)]),
        ("another origin", vec![("origin", "https://evil.example.org"), ("marque-csrf", &*csrf)]),
        ("a hidden origin", vec![("origin", "null"), ("marque-csrf", &*csrf)]),
        (
            "a sibling",
            vec![("origin", own), ("marque-csrf", &*csrf), ("sec-fetch-site", "same-site")],
        ),
        (
            "another site",
            vec![("origin", own), ("marque-csrf", &*csrf), ("sec-fetch-site", "cross-site")],
        ),
    ] {
        let call = headers
            .iter()
            .fold(Call::json(&url, &body), |call, (name, value)| call.header(name, *value));
        let answer = alice.send(&url, call).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (403, Some("cross_site_request")),
            "{name}: {answer:?}"
        );
    }
    // What a form can send without being asked is no JSON.
    let form = Call::post(&url, "text/plain", body.to_string())
        .header("origin", own)
        .header("marque-csrf", &*csrf);
    assert_eq!(alice.send(&url, form).await.status, 415);
    assert_eq!(alice.get(&url).await.status, 405);
    assert_eq!(alice.get(&format!("{url}?digest={digest}")).await.status, 405);
    rotator.exchange(&intent).await.refused("approval_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_10_an_agent_is_no_approver_an_approver_no_agent_and_no_session_crosses_the_firebreak() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let restarter = Client::start(&desk.daemon, RESTARTER).await;
    let intent = rotator.ask_rotation().await;
    let url = format!("{}/intents/{intent}/approve", desk.base);
    let mut alice = desk.log_in("alice").await;
    let digest = desk.digest(&mut alice, &intent).await;
    for token in [&rotator.svid, &restarter.svid] {
        for call in [Call::get(&desk.base), Call::json(&url, &json!({ "digest": digest }))] {
            let answer = rotator.http.send(call.bearer(token)).await;
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (401, Some("login_required")),
                "{answer:?}"
            );
        }
    }
    let session = alice.cookie(&desk.base, SESSION_COOKIE).expect("a session");
    let asked = Call::json(&rotator.place.intents_url, &json!({}))
        .bearer(&session)
        .header("cookie", format!("{SESSION_COOKIE}={session}"));
    assert_eq!(rotator.send(asked).await.status, 401);
    // The same people, the same cookie, the other environment.
    let theirs = &desk.daemon.place(NON_PRODUCTION).issuer_url;
    let call = Call::get(&format!("{theirs}/v1/approvals/session"))
        .header("cookie", format!("{SESSION_COOKIE}={session}"));
    let answer = desk.daemon.http(NON_PRODUCTION).send(call).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("login_required")));
    // Logged out is logged out, wherever the cookie went.
    let csrf = desk.session(&mut alice).await["csrf"].as_str().unwrap().to_owned();
    let out = format!("{}/logout", desk.base);
    let call = Call::json(&out, &json!({}))
        .header("origin", desk.origin.clone())
        .header("marque-csrf", csrf);
    alice.send(&out, call).await.expect(204);
    let mut thief = desk.browser();
    thief.steal(&desk.base, SESSION_COOKIE, &session);
    thief.get(&desk.base).await.refused("login_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_that_demands_more_than_one_factor_gets_them_and_lately() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "mfa_max_age = \"4s\"", demand_mfa).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let mut carol = desk.log_in("carol").await;
    let digest = desk.digest(&mut carol, &intent).await;
    let word = json!({ "digest": digest });
    let needed = |answer: &Answer| {
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(
            challenge.contains("insufficient_user_authentication")
                && challenge.contains("max_age=\"4\""),
            "{answer:?}"
        );
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (401, Some("mfa_needed")),
            "{answer:?}"
        );
    };
    needed(&desk.decide(&mut carol, &intent, "approve", &word).await);
    // Alice's factors count until they are old; then she shows them anew, in the same browser.
    let mut alice = desk.log_in("alice").await;
    until("factors that are old", async || {
        desk.session(&mut alice).await["mfa_at"].is_null().then_some(())
    })
    .await;
    needed(&desk.decide(&mut alice, &intent, "approve", &word).await);
    let callback = desk.to_callback(&mut alice, "alice", "?fresh=1").await;
    alice.get(&callback).await.expect(200);
    let approved = desk.decide(&mut alice, &intent, "approve", &word).await;
    assert_eq!(approved.expect(200).json()["state"], "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_itself() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "session = \"4s\"", |_| {}).await;
    let mut alice = desk.log_in("alice").await;
    let session = alice.cookie(&desk.base, SESSION_COOKIE).expect("a session");
    until("the session's end", async || {
        // A browser forgets the cookie; whoever does not is told.
        alice.steal(&desk.base, SESSION_COOKIE, &session);
        let answer = alice.get(&desk.base).await;
        (answer.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_a_session_of_its_own_when_the_person_confirms_it() {
    let Some(modules) = modules() else { return };
    let lifters = "lift_groups = [\"platform-sre\"]";
    let desk = Desk::start(&modules, lifters, |_| {}).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let state = desk.daemon.path("state");
    let operator = desk.daemon.operator(PRODUCTION);
    let marque = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(crate::support::programs::marque());
        command
            .args(operator.arguments(arguments))
            .env("XDG_STATE_HOME", &state)
            .kill_on_drop(true);
        command
    };
    let refused =
        marque(&["approve", "--yes", "--as-person", &intent]).output().await.expect("it runs");
    assert!(!refused.status.success(), "{refused:?}");
    let mut login = marque(&["login"]);
    let mut login = login.stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    let mut told = tokio::io::BufReader::new(login.stderr.take().expect("its words"));
    let mut words = String::new();
    let (url, check) = loop {
        use tokio::io::AsyncBufReadExt as _;
        assert_ne!(told.read_line(&mut words).await.expect("a line"), 0, "{words}");
        let lines: Vec<&str> =
            words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if let [_, url, check] = lines.as_slice() {
            break ((*url).to_owned(), (*check).to_owned());
        }
    };
    // The person's browser, once for the provider's keys and then for the terminal.
    desk.log_in("alice").await;
    let mut alice = desk.browser();
    let query = url.split_once('?').expect("a query").1.to_owned();
    let callback = desk.to_callback(&mut alice, "alice", &format!("?{query}")).await;
    let page = alice.get(&callback).await.expect(200);
    assert!(page.body.contains(&check), "{check}: {page:?}");
    assert_eq!(alice.cookie(&desk.base, SESSION_COOKIE), None);
    let sealed =
        page.body.split("value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    let confirm = format!("{}/login/confirm", desk.base);
    let form = || Call::form(&confirm, &[("login", sealed)]);
    for origin in [None, Some("https://evil.example.org"), Some("null")] {
        let call = origin.into_iter().fold(form(), |call, origin| call.header("origin", origin));
        assert_eq!(alice.send(&confirm, call).await.status, 403, "{origin:?}");
    }
    let answer =
        alice.send(&confirm, form().header("origin", desk.origin.clone())).await.expect(303);
    let back = answer.headers["location"].to_str().unwrap().to_owned();
    assert!(back.starts_with("http://127.0.0.1:"), "{back}");
    let again = alice.send(&confirm, form().header("origin", desk.origin.clone())).await;
    assert!(again.status == 400 && again.body.contains("login_replayed"), "{again:?}");
    // Somebody else's redirect is not what the terminal waits for; its own is.
    let terminal = back.split("/?").next().unwrap();
    let http = crate::support::http::Http::trusting(&desk.daemon.place(PRODUCTION).ca_file);
    assert_eq!(http.send(Call::get(&format!("{terminal}/?code=x&state=x"))).await.status, 404);
    http.send(Call::get(&back)).await.expect(200);
    assert!(login.wait().await.expect("it ends").success());
    let file = fs::read_dir(state.join("marque/approver-sessions"))
        .expect("the folder")
        .next()
        .expect("a file")
        .expect("it");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("its mode").permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The code is spent, and what it gave is no browser's.
    let code = back.split("code=").nth(1).and_then(|rest| rest.split('&').next()).expect("a code");
    let spent = json!({ "code": code, "verifier": "x" });
    http.send(Call::json(&format!("{}/login/token", desk.base), &spent))
        .await
        .refused("login_state_mismatch");
    let kept: Value =
        serde_json::from_slice(&fs::read(file.path()).expect("the session")).expect("JSON");
    let token = kept["token"].as_str().expect("a token");
    let by_page = Call::get(&desk.base).bearer(token).header("origin", desk.origin.clone());
    assert_eq!(http.send(by_page).await.status, 403);
    let listed = marque(&["intent", "list", "--as-person"]).output().await.expect("it runs");
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&intent), "{listed:?}");
    let deny = marque(&["deny", "--as-person", "--remark", "x", &intent]).output().await;
    let deny = deny.expect("it runs");
    assert!(String::from_utf8_lossy(&deny.stderr).contains("ticket-mismatch"), "{deny:?}");
    let less = ["--max-duration", "5m", "--idempotency-key", "k-1"];
    let approve = [&["approve", "--yes", "--as-person", &intent][..], &less].concat();
    for _time in 0..2 {
        let approved = marque(&approve).output().await.expect("it runs");
        assert!(approved.status.success(), "{approved:?}");
    }
    rotator.exchange(&intent).await.expect(200);
    // The same person asks for a lift there, and another one confirms it at the admin socket.
    operator.kill(&["playbook", "ingress-cert-rotation"]).await;
    let lift = ["kill", "lift", "1", "--as-person", "--reason", "repaired"];
    let lift = marque(&lift).output().await.expect("it runs");
    assert!(lift.status.success(), "{lift:?}");
    let listed = marque(&["kill", "list", "--as-person"]).output().await;
    let listed: Value = serde_json::from_slice(&listed.expect("it runs").stdout).expect("JSON");
    let ask = listed[0]["asks"][0]["id"].as_str().expect("a wish");
    let confirm = marque(&["kill", "confirm", ask, "--as-person", "--yes"]).output().await;
    let confirm = confirm.expect("it runs");
    assert!(String::from_utf8_lossy(&confirm.stderr).contains("lift_needs_another_person"));
    operator.json(&["kill", "confirm", ask, "--yes"]).await;
    let out = marque(&["logout"]).output().await.expect("it runs");
    assert!(out.status.success(), "{out:?}");
    assert_eq!(http.send(Call::get(&desk.base).bearer(token)).await.status, 401);
}
