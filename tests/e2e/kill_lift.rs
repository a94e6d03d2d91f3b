//! To let somebody go on again takes two people.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::folder::append;
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, approved_rotation};
use crate::support::operator::Said;
use crate::support::tools::several_users;

/// Local users that nobody has.
const ALICE: u32 = 64_011;
const BOB: u32 = 64_012;

fn prepare(folder: &Path) {
    for uid in [ALICE, BOB] {
        let operator = format!("\n[[operators]]\nuid = {uid}\ngroups = [\"sre\"]\n");
        append(folder, "prod.example.org/trust-domain.toml", &operator);
    }
}

fn refused(said: &Said, code: &str) {
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(code), "`{code}` is not in {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_119_one_person_stops_and_two_let_go_on_step_by_step() {
    if !several_users() {
        return;
    }
    let daemon = Daemon::start_with(prepare).await;
    // Other users go through the test's folder to the socket.
    fs::set_permissions(daemon.path(""), fs::Permissions::from_mode(0o755)).expect("opened");
    let operator = daemon.operator(PRODUCTION);
    let (alice, bob) = (operator.of_user(ALICE), operator.of_user(BOB));
    let rotator = Client::start(&daemon, ROTATOR).await;
    let resource = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let used = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&used).await.expect(200).text("access_token");
    let unused = approved_rotation(&daemon, &rotator).await;
    let agent = rotator.place.id(ROTATOR.path);
    alice.kill(&["agent", &agent]).await;
    assert!(!resource.is_active(&token).await);
    let kill = alice.json(&["kill", "list"]).await[0]["kills"][0]["id"].clone();
    let kill = kill.as_str().expect("an id");
    let lift = ["kill", "lift", kill, "--to", "drain", "--reason", "repaired"];
    let ask = alice.json(&lift).await["id"].as_str().expect("an id").to_owned();
    let confirm = ["kill", "confirm", &ask, "--yes"];
    refused(&alice.run(&confirm).await, "lift_needs_another_person");
    assert!(!resource.is_active(&token).await);
    let state = bob.json(&confirm).await;
    assert_eq!((&state["epoch"], &state["kills"][0]["mode"]), (&2.into(), &"drain".into()));
    // What was granted may finish, and what is dead is not dead for good.
    assert!(resource.is_active(&token).await);
    rotator.exchange(&unused).await.expect(200);
    rotator.ask(&crate::support::oauth::rotation()).await.refused("kill_switch_agent");
    // Who confirmed may ask for the next step, and the other one confirms.
    let ask = bob.json(&["kill", "lift", "1", "--reason", "all is well"]).await;
    let ask = ask["id"].as_str().expect("an id").to_owned();
    refused(&bob.run(&["kill", "confirm", &ask, "--yes"]).await, "lift_needs_another_person");
    alice.json(&["kill", "confirm", &ask, "--yes"]).await;
    rotator.ask_rotation().await;
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let of = |kind: &str| {
        leaves.iter().filter(|leaf| leaf["type"] == kind).map(Value::to_string).collect::<Vec<_>>()
    };
    let (asked, lifted) = (of("org.marque.kill.lift.asked"), of("org.marque.kill.lifted"));
    assert_eq!((asked.len(), lifted.len()), (2, 2), "{leaves:?}");
    for person in [ALICE, BOB] {
        assert!(lifted.iter().all(|leaf| leaf.contains(&person.to_string())), "{lifted:?}");
    }
    let verified = operator.run(&["audit", "verify"]).await;
    assert_eq!(
        verified.code, 0,
        "what was issued after the lift is no use after a kill: {verified:?}"
    );
}
