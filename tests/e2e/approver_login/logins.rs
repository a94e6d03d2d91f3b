//! Logins that are not what they should be: begun elsewhere, answered twice or otherwise, or that nobody can put on record.

use std::path::Path;

use super::*;
use crate::people::{APP_SECRET, SECRET_APP};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finishes_a_login_that_another_browser_began_or_a_second_time() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    desk.log_in("alice").await;
    let mut alice = desk.browser();
    let callback = desk.to_callback(&mut alice, "alice", "").await;
    // Login CSRF: an answer that another browser asked for, and one that this browser did not ask for.
    let mut mallory = desk.browser();
    let answer = mallory.get(&callback).await;
    not_logged_in(&desk, &mallory, &answer, "login_not_begun");
    let begun = mallory.get(&format!("{}/login", desk.base)).await.expect(303);
    assert!(begun.headers["set-cookie"].to_str().unwrap().contains("HttpOnly; SameSite=Lax"));
    let answer = mallory.get(&callback).await;
    not_logged_in(&desk, &mallory, &answer, "login_state_mismatch");
    // Another provider's answer (RFC 9207), and one that does not say whose it is.
    let without_iss: Vec<_> =
        callback.split('&').filter(|part| !part.starts_with("iss=")).collect();
    for (at, code) in [
        (
            format!("{}&iss=https%3A%2F%2Fevil.example.org", without_iss.join("&")),
            "login_issuer_mismatch",
        ),
        (without_iss.join("&"), "login_issuer_mismatch"),
        (format!("{callback}&state=x"), "login_malformed"),
    ] {
        let mut browser = desk.browser();
        let cookie = alice.cookie(&desk.base, LOGIN_COOKIE).expect("a login");
        browser.steal(&desk.base, LOGIN_COOKIE, &cookie);
        let answer = browser.get(&at).await;
        not_logged_in(&desk, &browser, &answer, code);
    }
    let cookie = alice.cookie(&desk.base, LOGIN_COOKIE).expect("a login");
    let answer = alice.get(&callback).await.expect(200);
    let set: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap()).collect();
    assert!(
        set.iter().any(|set| set.starts_with(SESSION_COOKIE)
            && set.contains("Path=/; Secure; HttpOnly; SameSite=Strict")),
        "{set:?}"
    );
    // Even whoever has everything that the browser had does not get in a second time.
    let mut thief = desk.browser();
    thief.steal(&desk.base, LOGIN_COOKIE, &cookie);
    let answer = thief.get(&callback).await;
    not_logged_in(&desk, &thief, &answer, "login_replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_logins_are_on_record_and_anybodys_noise_does_not_fill_the_log() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    let mut mallory = desk.browser();
    for _ in 0..40 {
        mallory.get(&format!("{}/login", desk.base)).await.expect(303);
        let answer = mallory.get(&format!("{}/login/callback?state=x", desk.base)).await;
        not_logged_in(&desk, &mallory, &answer, "login_state_mismatch");
    }
    let leaves = log::export(&desk.daemon.operator(PRODUCTION), &desk.daemon.path("log")).await;
    let refused = leaves.iter().filter(|leaf| leaf.to_string().contains("login_refused")).count();
    assert_eq!(refused, 30, "one by one for an hour's first");
}

/// Runs statements on the database of a daemon; whether there was anybody to do it.
async fn on_the_database(desk: &Desk, statements: &str) -> bool {
    let Some(python) = crate::support::python::interpreter() else { return false };
    let file = desk.daemon.data_dir().join(PRODUCTION).join("private/marque.sqlite");
    let program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=30); c.executescript(sys.argv[2])";
    let ran = tokio::process::Command::new(python)
        .args(["-c", program])
        .arg(&file)
        .arg(statements)
        .output()
        .await
        .expect("Python runs");
    assert!(ran.status.success(), "{ran:?}");
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_logged_in_of_whom_the_log_does_not_say_it() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    desk.log_in("alice").await;
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON leaves BEGIN SELECT RAISE(ABORT, 'no room'); END;";
    if !on_the_database(&desk, full).await {
        return;
    }
    let mut alice = desk.browser();
    let callback = desk.to_callback(&mut alice, "alice", "").await;
    let answer = alice.get(&callback).await;
    not_logged_in(&desk, &alice, &answer, "login_unavailable");
    on_the_database(&desk, "DROP TRIGGER full;").await;
    desk.log_in("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confidential_client_shows_its_secret_and_with_another_nobody_logs_in() {
    let Some(modules) = modules() else { return };
    let secret = |text: &'static str| {
        move |trust_domains: &Path| {
            let file = trust_domains.join(PRODUCTION).join("login.secret");
            fs::write(file, format!("{text}\n")).expect("write the secret");
        }
    };
    let more = "client_secret_file = \"login.secret\"";
    let own = Desk::start_as(SECRET_APP, &modules, more, secret(APP_SECRET)).await;
    let mut alice = own.log_in("alice").await;
    assert_eq!(own.session(&mut alice).await["subject"], "alice");
    assert!(!own.daemon.output().contains(APP_SECRET));
    let other = Desk::start_as(SECRET_APP, &modules, more, secret("another+secret/&=")).await;
    let refused = until("an answer", async || {
        let mut browser = other.browser();
        let callback = other.to_callback(&mut browser, "alice", "").await;
        let answer = browser.get(&callback).await;
        (!answer.body.contains("login_unavailable")).then_some((browser, answer))
    })
    .await;
    not_logged_in(&other, &refused.0, &refused.1, "login_code_refused");
    assert!(!other.daemon.output().contains("another+secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_nonce_another_challenge_or_a_refusal_logs_nobody_in() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    desk.log_in("alice").await;
    let begin = async |browser: &mut Browser| {
        let begun = browser.get(&format!("{}/login", desk.base)).await.expect(303);
        let url = begun.headers["location"].to_str().unwrap().to_owned();
        assert!(url.contains("code_challenge_method=S256") && url.contains("nonce="), "{url}");
        format!("{url}&login_hint=alice")
    };
    for name in ["nonce", "code_challenge"] {
        let mut browser = desk.browser();
        let url = begin(&mut browser).await;
        let own = url.split('&').find(|part| part.starts_with(&format!("{name}="))).unwrap();
        let changed = url.replace(own, &format!("{name}={}", "A".repeat(43)));
        let callback = desk.at_provider(&mut browser, &changed).await;
        let answer = browser.get(&callback).await;
        not_logged_in(&desk, &browser, &answer, "login_code_refused");
    }
    // Without a challenge the provider gives no code; what it says instead logs nobody in.
    let mut browser = desk.browser();
    let url = begin(&mut browser).await;
    let downgraded: Vec<_> =
        url.split('&').filter(|part| !part.starts_with("code_challenge")).collect();
    let callback = desk.at_provider(&mut browser, &downgraded.join("&")).await;
    assert!(callback.contains("error="), "{callback}");
    let answer = browser.get(&callback).await;
    not_logged_in(&desk, &browser, &answer, "login_refused");
}
