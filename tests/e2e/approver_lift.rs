//! Two people who log in let somebody go on again, and nobody is two people: not by two sessions, and not by a login and the
//! admin socket.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::approver_login::Desk;
use crate::support::browser::Browser;
use crate::support::daemon::{PRODUCTION, ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::log;
use crate::support::node::modules;
use crate::support::oauth::{Client, INGRESS, approved_rotation};
use crate::support::tools::several_users;

const LIFTERS: &str = "lift_groups = [\"platform-sre\"]";

/// Root is Dana, wherever she comes in.
fn link(trust_domains: &Path) {
    let file = trust_domains.join(PRODUCTION).join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("the document");
    let linked = "[[operators]]\nuid = 0\nemails = [\"Dana@example.org\"]\n";
    fs::write(&file, format!("{text}\n{linked}")).expect("write the document");
}

async fn post(desk: &Desk, browser: &mut Browser, at: &str, body: &Value) -> Answer {
    let url = format!("{}{at}", desk.base);
    let session = browser.get(&format!("{}/session", desk.base)).await.expect(200).json();
    let call = Call::json(&url, body)
        .header("origin", desk.daemon.place(PRODUCTION).issuer_url.clone())
        .header("sec-fetch-site", "same-origin")
        .header("marque-csrf", session["csrf"].as_str().expect("a token"));
    browser.send(&url, call).await
}

async fn kills(desk: &Desk, browser: &mut Browser) -> Value {
    browser.get(&format!("{}/kills", desk.base)).await.expect(200).json()
}

#[track_caller]
fn coded(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_119_two_people_who_log_in_let_go_on_and_nobody_else_does() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, LIFTERS, |_| {}).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let resource = Client::service(&desk.daemon, PRODUCTION, INGRESS.path).await;
    let used = approved_rotation(&desk.daemon, &rotator).await;
    let token = rotator.exchange(&used).await.expect(200).text("access_token");
    let operator = desk.daemon.operator(PRODUCTION);
    let agent = rotator.place.id(ROTATOR.path);
    operator.kill(&["agent", &agent]).await;
    let mut alice = desk.log_in("alice").await;
    let standing = kills(&desk, &mut alice).await;
    assert_eq!(standing["kills"], operator.json(&["kill", "list"]).await[0]["kills"]);
    let kill = standing["kills"][0]["id"].as_str().expect("an id").to_owned();
    let lift = format!("/kills/{kill}/lift");
    let reason = json!({ "reason": "repaired" });
    // In none of the groups, and without a second factor.
    let mut bob = desk.log_in("bob").await;
    coded(&bob.get(&format!("{}/kills", desk.base)).await, 403, "approver_not_eligible");
    coded(&post(&desk, &mut bob, &lift, &reason).await, 403, "approver_not_eligible");
    let mut carol = desk.log_in("carol").await;
    coded(&post(&desk, &mut carol, &lift, &reason).await, 401, "mfa_needed");
    // What is no wish is none, and a page of another site wishes nothing.
    for (body, code) in [
        (json!({}), "invalid_request"),
        (json!({ "reason": "repaired", "to": "less" }), "invalid_request"),
        (json!({ "reason": "repaired", "for": "2h" }), "unrecognised_field"),
        (json!({ "reason": "repaired", "to": "stop" }), "lift_no_step"),
    ] {
        coded(&post(&desk, &mut alice, &lift, &body).await, 400, code);
    }
    let other = post(&desk, &mut alice, "/kills/kill_000000000000000000000000/lift", &reason).await;
    coded(&other, 404, "kill_not_standing");
    let url = format!("{}{lift}", desk.base);
    coded(&alice.send(&url, Call::json(&url, &reason)).await, 403, "cross_site_request");
    assert_eq!(kills(&desk, &mut alice).await["asks"], Value::Null);
    let step = json!({ "reason": "repaired", "to": "drain" });
    let ask = post(&desk, &mut alice, &lift, &step).await.expect(200).json();
    let confirm = format!("/lifts/{}/confirm", ask["id"].as_str().expect("an id"));
    // Nobody is two people by two sessions.
    let mut again = desk.log_in("alice").await;
    for own in [&mut alice, &mut again] {
        let refused = post(&desk, own, &confirm, &json!({})).await;
        coded(&refused, 403, "lift_needs_another_person");
    }
    assert!(!resource.is_active(&token).await);
    let mut dana = desk.log_in("dana").await;
    assert_eq!(kills(&desk, &mut dana).await["asks"], json!([ask]));
    let state = post(&desk, &mut dana, &confirm, &json!({})).await.expect(200).json();
    assert_eq!((&state["epoch"], &state["kills"][0]["mode"]), (&json!(2), &json!("drain")));
    assert!(resource.is_active(&token).await);
    coded(&post(&desk, &mut dana, &confirm, &json!({})).await, 404, "lift_not_asked");
    let leaves = log::export(&operator, &desk.daemon.path("log")).await;
    let lifted: Vec<_> = leaves
        .iter()
        .filter(|leaf| leaf["type"] == "org.marque.kill.lifted")
        .map(Value::to_string)
        .collect();
    let [lifted] = lifted.as_slice() else { panic!("{lifted:?}") };
    assert!(lifted.contains("#alice") && lifted.contains("#dana"), "{lifted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_119_a_login_and_the_admin_socket_do_not_make_two_people_of_one() {
    let Some(modules) = modules() else { return };
    if !several_users() {
        return;
    }
    let desk = Desk::start(&modules, LIFTERS, link).await;
    let operator = desk.daemon.operator(PRODUCTION);
    operator.kill(&["playbook", "ingress-cert-rotation"]).await;
    let mut dana = desk.log_in("dana").await;
    let mut alice = desk.log_in("alice").await;
    let reason = json!({ "reason": "repaired" });
    // Asked for by login, and confirmed on the socket.
    let ask = post(&desk, &mut dana, "/kills/1/lift", &reason).await.expect(200).text("id");
    let refused = operator.run(&["kill", "confirm", &ask, "--yes"]).await;
    assert!(refused.code == 1 && refused.err.contains("lift_needs_another_person"), "{refused:?}");
    // Asked for on the socket, and confirmed by login.
    let lift = ["kill", "lift", "1", "--reason", "all is well"];
    let ask = operator.json(&lift).await["id"].as_str().expect("an id").to_owned();
    let confirm = format!("/lifts/{ask}/confirm");
    let refused = post(&desk, &mut dana, &confirm, &json!({})).await;
    coded(&refused, 403, "lift_needs_another_person");
    assert_eq!(kills(&desk, &mut alice).await["kills"].as_array().map(Vec::len), Some(1));
    // Of two doors, two people are two.
    let state = post(&desk, &mut alice, &confirm, &json!({})).await.expect(200).json();
    assert_eq!(state["kills"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_lifts_by_login_where_the_document_names_no_group() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    desk.daemon.operator(PRODUCTION).kill(&["playbook", "ingress-cert-rotation"]).await;
    let mut alice = desk.log_in("alice").await;
    let reason = json!({ "reason": "repaired" });
    let refused = post(&desk, &mut alice, "/kills/1/lift", &reason).await;
    coded(&refused, 403, "approver_not_eligible");
}
