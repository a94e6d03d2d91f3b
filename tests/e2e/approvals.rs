//! Deciding: who approves, what an approval is bound to, and what a denial ends.

use prost::Message;
use tonic::Request;

use crate::support::agent::Workload;
use crate::support::daemon::{
    Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR,
};
use crate::support::oauth::{Client, restart, rotation};
use crate::support::operator::Said;
use crate::support::programs::{copy_of_this_program, marque};
use crate::support::{grpc, log};

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_own_process_cannot_approve() {
    let daemon = Daemon::start().await;
    let mut rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let approve = daemon.operator(PRODUCTION).arguments(&["approve", "--yes", &intent]);
    let ran = rotator.workload.run(marque(), &approve).await;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.said.contains("self_approval_forbidden"), "{ran:?}");
    rotator.exchange(&intent).await.refused("approval_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agents_process_cannot_approve_either() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let approve = daemon.operator(PRODUCTION).arguments(&["approve", "--yes", &intent]);
    for role in [SECOND_ROTATOR, RESTARTER] {
        let ran = daemon.agent(role).run(marque(), &approve).await;
        assert_ne!(ran.code, 0, "{}: {ran:?}", role.path);
    }
    rotator.exchange(&intent).await.refused("approval_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_of_an_agent_reaches_no_admin_command() {
    let daemon = Daemon::start().await;
    let mut rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    let agent = rotator.place.id(SECOND_ROTATOR.path);
    for command in [
        vec!["approve", "--yes", &intent],
        vec!["deny", &intent, "--because", "other"],
        vec!["entry", "list"],
        vec![
            "entry",
            "create",
            "--expires-in",
            "1d",
            "--spiffe-id",
            "spiffe://prod.example.org/agent/x",
            "--role",
            "agent",
            "--owner",
            "x",
            "--selector",
            "unix:uid:0",
        ],
        vec!["entry", "delete", "01"],
        vec!["intent", "list"],
        vec!["intent", "revoke", &intent, "--reason", "x"],
        vec!["playbook", "list"],
        vec!["audit", "verify"],
        vec!["status"],
        vec!["kill", "agent", &agent, "--yes", "--reason", "x"],
    ] {
        let shell: Vec<String> =
            operator.arguments(&command).iter().map(|word| format!("'{word}'")).collect();
        let line = format!("'{}' {}; exit $?", marque().display(), shell.join(" "));
        let ran =
            rotator.workload.run(std::path::Path::new("/bin/sh"), &["-c".to_owned(), line]).await;
        assert_ne!(ran.code, 0, "{command:?}: {ran:?}");
    }
    daemon.operator(PRODUCTION).approve(&intent).await;
    rotator.exchange(&intent).await.expect(200);
}

/// The admin API's request, with its fields numbered by hand: the command line never sends a digest of its own making.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ApproveIntentRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) grant_digest: String,
}

pub(crate) const APPROVE: &str = "/marque.admin.v1.Admin/ApproveIntent";

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_another_digest_is_refused() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let shown = daemon.operator(PRODUCTION).json(&["intent", "show", &intent]).await;
    let digest = shown["grant"]["digest"].as_str().expect("a digest").to_owned();
    let flipped = if digest.ends_with('0') { "1" } else { "0" };
    let other = format!("{}{flipped}", &digest[..digest.len() - 1]);
    let mut admin = grpc::Client::connect(&rotator.place.admin_socket).await;
    let approve = |grant_digest: &str| {
        Request::new(ApproveIntentRequest {
            id: intent.clone(),
            grant_digest: grant_digest.to_owned(),
        })
    };
    let refused = admin.refused(APPROVE, approve(&other)).await;
    let code = refused.metadata().get("marque-code").and_then(|code| code.to_str().ok());
    assert_eq!(code, Some("approval_digest_mismatch"), "{refused:?}");
    admin.refused(APPROVE, approve("")).await;
    rotator.exchange(&intent).await.refused("approval_pending");
    admin.call(APPROVE, approve(&digest)).await.expect("the digest that was shown");
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_approval_changes_nothing() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    let shown = operator.json(&["intent", "show", &intent]).await;
    let grant_digest = shown["grant"]["digest"].as_str().expect("a digest").to_owned();
    let mut admin = grpc::Client::connect(&rotator.place.admin_socket).await;
    let approval = ApproveIntentRequest { id: intent.clone(), grant_digest };
    for _time in 0..2 {
        admin.call(APPROVE, Request::new(approval.clone())).await.expect("an approval");
    }
    rotator.exchange(&intent).await.expect(200);
    rotator.exchange(&intent).await.refused("grant_consumed");
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let approvals =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.intent.approved").count();
    assert_eq!(approvals, 1, "one approval was recorded more than once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_intent_gives_no_token() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    // Words of one's own are no reason; which there are is said.
    let said = operator.run(&["deny", &intent, "--remark", "outside of the change window"]).await;
    assert!(said.code == 2 && said.err.contains("ticket-mismatch"), "{said:?}");
    let deny = ["deny", &intent, "--because", "wrong-time", "--remark", "outside of the window"];
    let denied = operator.json(&deny).await;
    assert_eq!(denied["reason"], "wrong_time: outside of the window", "{denied}");
    rotator.exchange(&intent).await.oauth_error("access_denied").refused("approval_denied");
    assert_eq!(rotator.look(&intent).await.expect(200).json()["state"], "denied");
    let said = operator.run(&["approve", "--yes", &intent]).await;
    assert_ne!(said.code, 0, "a denied intent was approved: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_of_one_trust_domain_decides_nothing_in_the_other() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let said = daemon.operator(NON_PRODUCTION).run(&["approve", "--yes", &intent]).await;
    assert_ne!(said.code, 0, "{said:?}");
    rotator.exchange(&intent).await.refused("approval_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_shown_the_resolved_grant_before_deciding() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    let waiting = operator.json(&["intent", "list", "--state", "pending"]).await;
    assert!(waiting.to_string().contains(&intent), "{waiting}");
    let shown = operator.json(&["intent", "show", &intent]).await.to_string();
    for part in [
        "ingress-cert-rotation",
        "CHG-1842",
        "checkout",
        "eu-west-1",
        ROTATOR.path,
        crate::support::oauth::INGRESS.audience,
        crate::support::oauth::INGRESS.scope,
    ] {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_asks_for_nothing_and_so_approves_nothing_of_its_own() {
    let daemon = Daemon::start().await;
    // A service under the very path that the playbook names its agents by.
    let service =
        Client::service(&daemon, NON_PRODUCTION, "/agent/preview-restarter/service").await;
    service.ask(&restart()).await.refused("agent_not_allowed");
    let leaves = log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
    assert!(leaves.iter().any(|leaf| leaf["type"] == "org.marque.intent.denied"), "{leaves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_of_an_agent_that_is_not_registered_any_more_is_not_approved() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let program = copy_of_this_program("cert-rotator-leaver");
    let id = daemon.place(PRODUCTION).id("/agent/cert-rotator/leaver");
    let entry = operator.register(&id, "agent", &program).await;
    let mut workload = Workload::start(&program, daemon.place(PRODUCTION));
    let place = daemon.place(PRODUCTION).clone();
    let svid = workload.jwt_svid(&place.issuer_url).await;
    let client = Client { workload, svid, http: daemon.http(PRODUCTION), place };
    let intent = client.ask_rotation().await;
    operator.run(&["entry", "delete", &entry]).await.succeeded();
    let said = operator.run(&["approve", "--yes", &intent]).await.failed();
    assert!(said.err.contains("agent_not_attested"), "{said:?}");
    client.ask(&rotation()).await.refused("agent_not_attested");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_under_a_key_is_safe_to_send_again_and_stands_for_itself_alone() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let (one, two) = (rotator.ask_rotation().await, second.ask_rotation().await);
    let with = async |key: &str, arguments: &[&str]| {
        operator.run(&[arguments, &["--idempotency-key", key]].concat()).await
    };
    let conflict = |said: Said| {
        assert!(said.code == 1 && said.err.contains("idempotency_conflict"), "{said:?}");
    };
    let approve = ["approve", "--yes", &one, "--max-duration", "5m"];
    let first = with("k-1", &approve).await.succeeded().json();
    assert_eq!(first["state"], "approved");
    let again = with("k-1", &approve).await.succeeded().json();
    assert_eq!(
        (&again["state"], &again["grant"]["digest"]),
        (&first["state"], &first["grant"]["digest"])
    );
    // Without the key it is another approval, for which it is too late.
    operator.run(&approve).await.failed();
    conflict(with("k-1", &["approve", "--yes", &two]).await);
    conflict(with("k-1", &["deny", &two, "--because", "not-needed"]).await);
    let deny = ["deny", &two, "--because", "not-needed"];
    for _time in 0..2 {
        assert_eq!(with("k-2", &deny).await.succeeded().json()["state"], "denied");
    }
    // Without the key it is another refusal, which comes too late.
    operator.run(&deny).await.failed();
    conflict(with("k-2", &["deny", &two, "--because", "too-broad"]).await);
    let revoke = ["intent", "revoke", &one, "--reason", "a test"];
    for _time in 0..2 {
        assert_eq!(with("k-3", &revoke).await.succeeded().json()["state"], "revoked");
    }
    operator.run(&revoke).await.failed();
    conflict(with("k-3", &["intent", "revoke", &one, "--reason", "another"]).await);
    let held = ["intent", "revoke", "--target", "x", "--reason", "a test"];
    assert_eq!(with("k-4", &held).await.code, 2);
    let malformed = with(&"k".repeat(129), &deny).await.failed();
    assert!(malformed.err.contains("invalid_request"), "{malformed:?}");
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let ended = |kind: &str| leaves.iter().filter(|leaf| leaf["type"] == kind).count();
    assert_eq!(ended("org.marque.intent.denied") + ended("org.marque.intent.revoked"), 2);
}
