//! What people approve, and what it is worth.

use serde_json::{Value, json};
use tonic::Request;

use super::{PRODUCTION_DOCUMENT, ROTATION, another_playbook, exchange_with, recorded, shown};
use crate::approvals::{APPROVE, ApproveIntentRequest};
use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::folder::{append, edit};
use crate::support::grpc;
use crate::support::oauth::{Client, INGRESS, approved_rotation, rotation};
use crate::support::tokens::claims;

#[tokio::test(flavor = "multi_thread")]
async fn role_based_approval() {
    let daemon = Daemon::start_with(|trust_domains| {
        let groups = "groups = [\"operators\", \"platform-sre\"]";
        another_playbook(
            trust_domains,
            ROTATION,
            "guarded-rotation",
            &[(groups, "groups = [\"security\"]")],
        );
        let somebody = "\n[[operators]]\nuid = 64003\ngroups = [\"security\"]\n";
        append(trust_domains, PRODUCTION_DOCUMENT, somebody);
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let operator = daemon.operator(PRODUCTION);
    // Who may use the admin socket is an operator, and no approver of what is not theirs to decide.
    let mut guarded = rotation();
    guarded["playbook"] = json!("guarded-rotation");
    let guarded = rotator.ask(&guarded).await.expect(202).text("id");
    let said = operator.run(&["approve", "--yes", &guarded]).await.failed();
    assert!(said.err.contains("approver_not_eligible"), "{said:?}");
    rotator.exchange(&guarded).await.refused("approval_pending");

    // Whoever is one approves an intent with its parameters: the digest of another one is worth nothing.
    let asked = rotator.ask_rotation().await;
    let mut elsewhere = rotation();
    elsewhere["parameters"]["service"] = json!("payments");
    let other = rotator.ask(&elsewhere).await.expect(202).text("id");
    let digest = shown(&daemon, &other).await["grant"]["digest"].clone();
    let grant_digest = digest.as_str().expect("a digest").to_owned();
    let mut admin = grpc::Client::connect(&rotator.place.admin_socket).await;
    let blind = Request::new(ApproveIntentRequest { id: asked.clone(), grant_digest });
    let refused = admin.refused(APPROVE, blind).await;
    let code = refused.metadata().get("marque-code").and_then(|code| code.to_str().ok());
    assert_eq!(code, Some("approval_digest_mismatch"), "{refused:?}");
    operator.approve(&asked).await;
    rotator.exchange(&other).await.refused("approval_pending");
    rotator.exchange(&asked).await.expect(200);
    let wanted = [
        ("approval.refused", "approver_not_eligible"),
        ("approval.refused", "approval_digest_mismatch"),
        ("token.refused", "approval_pending"),
    ];
    recorded(&daemon, PRODUCTION, &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_detached_from_privilege_boundary() {
    let mut daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let approved = approved_rotation(&daemon, &rotator).await;
    let waiting = rotator.ask_rotation().await;
    let before = shown(&daemon, &waiting).await["grant"]["digest"].clone();
    let digest = shown(&daemon, &approved).await["grant"]["digest"].clone();
    drop(rotator);
    assert!(daemon.stop().await.success());

    // The playbook says more from now on: another scope, another action, more uses.
    let folder = daemon.path("trust-domains");
    edit(&folder, ROTATION, "version = 1\n", "version = 2\n");
    edit(&folder, ROTATION, "[\"secrets.update\"]", "[\"secrets.update\", \"secrets.delete\"]");
    edit(&folder, ROTATION, "uses = 1", "uses = 5");
    edit(&folder, ROTATION, "[\"get\", \"patch\"]", "[\"get\", \"patch\", \"delete\"]");
    daemon.launch().await;
    let rotator = Client::start(&daemon, ROTATOR).await;

    // What was approved stays what it was, whatever the file says.
    let wider = exchange_with(&rotator, &approved, "scope", "secrets.update secrets.delete");
    rotator.token(&wider).await.expect(400).oauth_error("invalid_scope");
    let details = json!([
        { "type": "marque_intent", "intent_id": approved },
        { "type": "k8s_object", "actions": ["delete"], "identifier": "ns/ingress/secret/checkout-tls" },
    ]);
    let wider = exchange_with(&rotator, &approved, "authorization_details", &details.to_string());
    rotator.token(&wider).await.expect(400).oauth_error("invalid_authorization_details");
    let token = rotator.exchange(&approved).await.expect(200).text("access_token");
    let said = claims(&token);
    assert_eq!(said["scope"], INGRESS.scope, "{said}");
    assert_eq!(said["authorization_details"][1]["actions"], json!(["get", "patch"]), "{said}");
    assert_eq!((&said["intent"]["digest"], &said["intent"]["version"]), (&digest, &json!(1)));
    rotator.exchange(&approved).await.refused("grant_consumed");

    // What waits is something else by now, and is approved as that or not at all.
    let after = shown(&daemon, &waiting).await["grant"]["digest"].clone();
    assert_ne!(before, after, "approvers would approve what is not given");
    let mut admin = grpc::Client::connect(&rotator.place.admin_socket).await;
    let grant_digest = before.as_str().expect("a digest").to_owned();
    let stale = Request::new(ApproveIntentRequest { id: waiting.clone(), grant_digest });
    let refused = admin.refused(APPROVE, stale).await;
    let code = refused.metadata().get("marque-code").and_then(|code| code.to_str().ok());
    assert_eq!(code, Some("approval_digest_mismatch"), "{refused:?}");
    rotator.exchange(&waiting).await.refused("approval_pending");

    let wanted = [
        ("token.refused", "exceeds_playbook_ceiling"),
        ("token.refused", "grant_consumed"),
        ("approval.refused", "approval_digest_mismatch"),
    ];
    let leaves = recorded(&daemon, PRODUCTION, &wanted).await;
    let issued: Vec<&Value> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.token.issued").collect();
    assert_eq!(issued.len(), 1, "{issued:?}");
    assert_eq!(issued[0]["data"]["grant_digest"], digest, "{issued:?}");
}
