//! What a token is good for, and in whose hands.

use serde_json::json;

use super::{
    NON_PRODUCTION_DOCUMENT, RESTART, ROTATION, another_playbook, checked, exchange_with, recorded,
    restart_of,
};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::folder::{append, edit};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{
    ASSERTION_TYPE, Client, GRANT_TYPE, PREVIEW, approved_rotation, exchange_fields,
};
use crate::support::programs::marque;
use crate::support::tokens::{ScratchKey, claims};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The two details of a request: the intent, and the object that it is wanted for.
fn details(intent: &str, object: &serde_json::Value) -> String {
    json!([{ "type": "marque_intent", "intent_id": intent }, object]).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_binding() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    // One secret in one namespace was approved; not the namespace, the cluster, another cluster or the account.
    let location = "https://k8s.eu-west-1.prod.example.org";
    for (locations, actions, identifier) in [
        (location, "get", "ns/ingress/secret"),
        (location, "get", "ns/ingress"),
        (location, "get", "ns"),
        (location, "get", "*"),
        (location, "get", "ns/ingress/secret/payments-tls"),
        (location, "delete", "ns/ingress/secret/checkout-tls"),
        ("https://k8s.us-east-1.prod.example.org", "get", "ns/ingress/secret/checkout-tls"),
        ("https://account.prod.example.org", "get", "ns/ingress/secret/checkout-tls"),
    ] {
        let object = json!({
            "type": "k8s_object", "locations": [locations], "actions": [actions], "identifier": identifier,
        });
        let fields =
            exchange_with(&rotator, &intent, "authorization_details", &details(&intent, &object));
        let answer = rotator.token(&fields).await.expect(400);
        answer.oauth_error("invalid_authorization_details");
    }
    for (name, value, error) in [
        ("scope", "secrets.update cluster.admin", "invalid_scope"),
        ("audience", "https://cluster.prod.example.org", "invalid_target"),
        ("resource", "k8s://eu-west-1/ns/ingress", "invalid_target"),
    ] {
        let fields = exchange_with(&rotator, &intent, name, value);
        rotator.token(&fields).await.expect(400).oauth_error(error);
    }
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let said = claims(&token);
    assert_eq!(said["aud"], "https://ingress.prod.example.org", "{said}");
    assert_eq!(said["scope"], "secrets.update", "{said}");
    let granted = json!({
        "type": "k8s_object", "locations": [location], "actions": ["get", "patch"],
        "identifier": "ns/ingress/secret/checkout-tls",
    });
    assert_eq!(said["authorization_details"][1], granted, "{said}");
    assert_eq!(said["authorization_details"].as_array().map(Vec::len), Some(2), "{said}");
    // A service that it is not for learns nothing of it.
    let other = Client::service(&daemon, PRODUCTION, "/service/cluster").await;
    assert!(!other.is_active(&token).await);
    recorded(&daemon, PRODUCTION, &[("token.refused", "exceeds_playbook_ceiling")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privilege_creep() {
    let daemon = Daemon::start_with(|trust_domains| {
        let scope = ("deployments.restart", "deployments.scale");
        another_playbook(trust_domains, RESTART, "scale-preview", &[scope]);
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let mut request = restart_of("pr-1");
    request["task"] = json!("task_restart");
    let restarting = agent.ask(&request).await.expect(201).text("id");
    request["playbook"] = json!("scale-preview");
    request["task"] = json!("task_scale");
    let scaling = agent.ask(&request).await.expect(201).text("id");
    // The same agent in two workflows: neither grant says anything in the other.
    for (intent, scope) in [(&restarting, "deployments.scale"), (&scaling, "deployments.restart")] {
        let fields = exchange_with(&agent, intent, "scope", scope);
        agent.token(&fields).await.expect(400).oauth_error("invalid_scope");
    }
    let both = json!([
        { "type": "marque_intent", "intent_id": restarting },
        { "type": "marque_intent", "intent_id": scaling },
    ]);
    let both = exchange_with(&agent, &restarting, "authorization_details", &both.to_string());
    agent.token(&both).await.expect(400).oauth_error("invalid_authorization_details");
    let token = agent.exchange(&restarting).await.expect(200).text("access_token");
    let said = claims(&token);
    assert_eq!(
        (&said["scope"], &said["task_id"]),
        (&json!("deployments.restart"), &json!("task_restart"))
    );
    // Nor does its token become one of the other.
    let fields = [
        ("grant_type", GRANT_TYPE),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &agent.svid),
        ("subject_token", &token),
        ("subject_token_type", ACCESS_TOKEN),
        ("scope", "deployments.scale"),
    ];
    let derived = agent.send(Call::form(&agent.place.token_endpoint, &fields)).await;
    derived.expect(400).oauth_error("invalid_scope");
    let wanted =
        [("token.refused", "exceeds_playbook_ceiling"), ("token.refused", "exceeds_parent_scope")];
    recorded(&daemon, NON_PRODUCTION, &wanted).await;
}

/// The exchange of a token for another one, with a proof of this key beside it.
async fn derive(client: &Client, token: &str, proof: Option<String>) -> Answer {
    let fields = [
        ("grant_type", GRANT_TYPE),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &client.svid),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    let call = Call::form(&client.place.token_endpoint, &fields);
    let call = match proof {
        Some(proof) => call.header("dpop", proof),
        None => call,
    };
    client.send(call).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_or_inherited_tokens() {
    let daemon = Daemon::start().await;
    let mut agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    let (key, endpoint) = (ScratchKey::new(), agent.place.token_endpoint.clone());
    let fields = exchange_fields(&agent.svid, &intent);
    let call = Call::form(&endpoint, &fields).header("dpop", key.proof(&endpoint, "one", None));
    let token = agent.send(call).await.expect(200).text("access_token");
    assert!(claims(&token)["cnf"]["jkt"].is_string());
    // Who finds it in a cache has no key to it, or another one.
    derive(&agent, &token, None).await.expect(400).refused("sender_constraint_failed");
    let other = ScratchKey::new().proof(&endpoint, "two", None);
    derive(&agent, &token, Some(other)).await.expect(400).refused("sender_constraint_failed");
    // What the agent starts inherits its files, its user and its memory, and is somebody else.
    let socket = agent.place.workload_api_socket.display().to_string();
    let inherits = ["svid", "jwt", "--audience", "a", "--socket", &socket].map(ToOwned::to_owned);
    let ran = agent.workload.run(marque(), &inherits).await;
    assert_ne!(ran.code, 0, "a child of the agent has its identity: {ran:?}");
    // And a copy of it is worth nothing once the work is done.
    let own = key.proof(&endpoint, "three", None);
    derive(&agent, &token, Some(own)).await.expect(200);
    agent.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    assert!(!preview.is_active(&token).await, "a cached token outlived its work");
    let own = key.proof(&endpoint, "four", None);
    derive(&agent, &token, Some(own)).await.expect(400).oauth_error("invalid_request");
    recorded(&daemon, NON_PRODUCTION, &[("token.refused", "sender_constraint_failed")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_over_privileged() {
    // A playbook that permits everything is served by nobody.
    let scopes = "scopes = [\"secrets.update\"]";
    for everything in ["scopes = [\"*\"]", "scopes = [\"secrets.*\"]"] {
        let said = checked(ROTATION, scopes, everything).await;
        assert_eq!(said.code, 1, "{everything}: {said:?}");
    }
    // One that permits too much meets the ceilings of its client and its target.
    let daemon = Daemon::start_with(|trust_domains| {
        edit(
            trust_domains,
            RESTART,
            "[\"deployments.restart\"]",
            "[\"deployments.restart\", \"cluster.admin\", \"cluster.read\"]",
        );
        let server = "spiffe_ids = [\"spiffe://dev.example.org/service/preview\"]";
        let bounded = format!("{server}\nmax_token_lifetime = \"30s\"\nscopes = [\"deployments.restart\", \"cluster.read\"]");
        edit(trust_domains, NON_PRODUCTION_DOCUMENT, server, &bounded);
        let client = "\n[[clients]]\nspiffe_id = \"spiffe://dev.example.org/agent/*\"\n\
                      scopes = [\"deployments.restart\", \"cluster.admin\"]\n";
        append(trust_domains, NON_PRODUCTION_DOCUMENT, client);
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    for scope in ["cluster.admin", "cluster.read", "deployments.restart cluster.admin"] {
        let fields = exchange_with(&agent, &intent, "scope", scope);
        agent.token(&fields).await.expect(400).oauth_error("invalid_scope");
    }
    let answer = agent.exchange(&intent).await.expect(200);
    let said = claims(&answer.text("access_token"));
    assert_eq!(said["scope"], "deployments.restart", "{said}");
    let lives = said["exp"].as_u64().expect("exp") - said["iat"].as_u64().expect("iat");
    assert!(lives <= 30, "{said}");
    recorded(&daemon, NON_PRODUCTION, &[("token.refused", "exceeds_playbook_ceiling")]).await;
}
