//! Who somebody is, and who else.

use serde_json::{Value, json};

use super::{
    NON_PRODUCTION_DOCUMENT, RESTART, recorded, register_for_everybody, restart_of, unregistered,
};
use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::folder::append;
use crate::support::http::Call;
use crate::support::oauth::{Client, PREVIEW, restart};

#[tokio::test(flavor = "multi_thread")]
async fn identity_laundering() {
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, NON_PRODUCTION_DOCUMENT, "\n[identities]\nsharing = \"deny\"\n");
    })
    .await;
    let id = register_for_everybody(&daemon).await;
    let mut holder = unregistered(&daemon, "holder");
    let mut launderer = unregistered(&daemon, "launderer");
    holder.jwt_svid("a").await;
    // Another program in the same window has none of it, in no form, and the holder keeps what it has.
    for _ in 0..2 {
        launderer.try_jwt_svid(&["a"]).await.expect_err("an identity that another program has");
        launderer.x509_svid().await.expect_err("an identity that another program has");
    }
    holder.jwt_svid("a").await;
    let operator = daemon.operator(NON_PRODUCTION);
    let report = operator.run(&["report", "shared-identities", "--fail"]).await.failed();
    assert!(report.out.contains(&id), "{report:?}");
    let leaves = recorded(&daemon, NON_PRODUCTION, &[]).await;
    let told: Vec<&Value> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.identity.shared").collect();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(told["data"]["agent"], id);
    assert_eq!(told["data"]["detail"]["newcomer"]["pids"][0], launderer.pid());
}

#[tokio::test(flavor = "multi_thread")]
async fn broad_service_account() {
    let daemon = Daemon::start().await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let id = register_for_everybody(&daemon).await;
    let (mut one, mut two) = (unregistered(&daemon, "job-one"), unregistered(&daemon, "job-two"));
    let place = daemon.place(NON_PRODUCTION).clone();
    let account = one.jwt_svid(&place.issuer_url).await;
    two.jwt_svid(&place.issuer_url).await;
    // Whoever uses it is told apart, and operators are told.
    let operator = daemon.operator(NON_PRODUCTION);
    let report = operator.run(&["report", "shared-identities", "--fail"]).await.failed();
    let told = report.json();
    assert_eq!(told[0]["spiffe_id"], id, "{told}");
    assert_eq!(told[0]["holders"].as_array().map(Vec::len), Some(2), "{told}");

    // It asks for nothing, uses nothing of an agent's, and reads no token that is for another service.
    let call = Call::json(&place.intents_url, &restart()).bearer(&account);
    agent.send(call).await.expect(403).refused("agent_not_allowed");
    let intent = agent.ask_restart().await;
    let as_account = Client {
        workload: one,
        svid: account,
        http: daemon.http(NON_PRODUCTION),
        place: place.clone(),
    };
    as_account.look(&intent).await.expect(404);
    as_account.exchange(&intent).await.expect(400).refused("grant_not_bound_to_session");
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    assert!(!as_account.is_active(&token).await, "an account that everybody has reads every token");
    assert!(preview.is_active(&token).await);
    let wanted =
        [("intent.denied", "agent_not_allowed"), ("token.refused", "grant_not_bound_to_session")];
    let leaves = recorded(&daemon, NON_PRODUCTION, &wanted).await;
    assert!(leaves.iter().any(|leaf| leaf["type"] == "org.marque.identity.shared"), "{leaves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accumulated_grants() {
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, NON_PRODUCTION_DOCUMENT, "\n[grants]\nmax_open_per_agent = 3\n");
        append(trust_domains, RESTART, "\n[concurrency]\nmax_open_per_target = 2\n");
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let mut intents = Vec::new();
    for preview in ["pr-1", "pr-1", "pr-2"] {
        intents.push(agent.ask(&restart_of(preview)).await.expect(201).text("id"));
    }
    // Neither more of all, nor more of one.
    agent.ask(&restart_of("pr-3")).await.expect(403).refused("concurrent_grant_limit");
    agent.end(&intents[2], "cancel", &json!({})).await.expect(200);
    agent.ask(&restart_of("pr-1")).await.expect(403).refused("concurrent_grant_limit");
    intents[2] = agent.ask(&restart_of("pr-4")).await.expect(201).text("id");
    let mut tokens = Vec::new();
    for intent in &intents {
        tokens.push(agent.exchange(intent).await.expect(200).text("access_token"));
    }
    let operator = daemon.operator(NON_PRODUCTION);
    let counted = operator.json(&["intent", "list", "--by", "agent"]).await;
    assert_eq!(counted[0]["grants"], 3, "{counted}");

    // One word ends all of them.
    let id = agent.place.id(RESTARTER.path);
    let revoke = ["intent", "revoke", "--agent", &id, "--reason", "too much of it"];
    operator.run(&revoke).await.succeeded();
    for (intent, token) in intents.iter().zip(&tokens) {
        assert!(!agent.is_active(token).await, "a token outlived the end of all");
        agent.exchange(intent).await.refused("grant_revoked");
    }
    let wanted = [("intent.denied", "concurrent_grant_limit"), ("token.refused", "grant_revoked")];
    let leaves = recorded(&daemon, NON_PRODUCTION, &wanted).await;
    let revoked = leaves.iter().filter(|leaf| leaf["type"] == "org.marque.intent.revoked").count();
    assert_eq!(revoked, 3, "{leaves:?}");
}
