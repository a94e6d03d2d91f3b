//! The life of an intent: silence, an agent's process that ends, rules that change, caps, and one revocation for all.

use std::fs;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::folder::{append, edit};
use crate::support::log;
use crate::support::oauth::{Client, approved_rotation, restart};
use crate::support::wait::until;

const RESTART: &str = "dev.example.org/playbooks/restart-preview.toml";
const ROTATION: &str = "prod.example.org/playbooks/ingress-cert-rotation.toml";

/// The intent as an operator sees it, as soon as it is in this state.
async fn ended(daemon: &Daemon, trust_domain: &'static str, intent: &str, state: &str) -> Value {
    until(&format!("{intent} {state}"), async || {
        let shown = daemon.operator(trust_domain).json(&["intent", "show", intent]).await;
        (shown["state"] == state).then_some(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_falls_idle_ends_with_its_token_and_a_heartbeat_puts_that_off() {
    let daemon = Daemon::start_with(|trust_domains| {
        let idle = "uses = 2\nidle_timeout = \"8s\"\n";
        edit(trust_domains, RESTART, "uses = 1\n", idle);
    })
    .await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let token = restarter.exchange(&intent).await.expect(200).text("access_token");
    let first = restarter.look(&intent).await.expect(200).json();
    assert_eq!(
        (&first["state"], &first["grant"]["ends"]),
        (&json!("active"), &json!({"idle_timeout_s": 8}))
    );
    // A quarter of the clock has to run before a word is written down.
    let heard = until("a heartbeat that counts", async || {
        let beat = restarter.end(&intent, "heartbeat", &json!({})).await.expect(200).json();
        (beat["expires_at"] != first["expires_at"]).then_some(beat)
    })
    .await;
    assert_eq!(heard["state"], "active");
    assert!(restarter.is_active(&token).await);
    let over = ended(&daemon, NON_PRODUCTION, &intent, "expired").await;
    assert_eq!((&over["ended_for"], &over["outcome"]), (&json!("idle"), &json!("unknown")));
    assert!(!restarter.is_active(&token).await, "the token outlived its idle grant");
    restarter.end(&intent, "heartbeat", &json!({})).await.refused("grant_expired");
    restarter.exchange(&intent).await.refused("grant_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_71_grants_end_when_the_agents_process_was_killed() {
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, ROTATION, "\n[liveness]\nagent = true\n");
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let pending = rotator.ask_rotation().await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let svid = rotator.svid.clone();
    // Another process of the same program lives on: nothing ends yet.
    let second = Client::start(&daemon, ROTATOR).await;
    drop(rotator);
    assert_eq!(second.look(&pending).await.expect(200).json()["state"], "pending");
    assert!(second.is_active(&token).await);
    drop(second);
    let over = ended(&daemon, PRODUCTION, &pending, "expired").await;
    assert_eq!(over["ended_for"], "agent_lost");
    // Its only use was spent, so what is left of it is a report that will not come.
    let over = ended(&daemon, PRODUCTION, &intent, "closed_unreported").await;
    assert_eq!((&over["ended_for"], &over["outcome"]), (&json!("agent_lost"), &json!("unknown")));
    // A new process of the agent asks anew; what the dead one held stays dead, whoever kept its SVID.
    let third = Client::start(&daemon, ROTATOR).await;
    assert!(!third.is_active(&token).await, "the token outlived the agent's process");
    third.exchange(&intent).await.oauth_error("access_denied");
    drop(third);
    // With no live process nobody gets such a grant: nobody would see it end.
    let http = daemon.http(PRODUCTION);
    until("a refusal without a live process", async || {
        let url = &daemon.place(PRODUCTION).intents_url;
        let ask = crate::support::http::Call::json(url, &crate::support::oauth::rotation());
        let answer = http.send(ask.bearer(&svid)).await;
        (answer.status != 202).then(|| answer.refused("agent_not_attested"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m_72_a_grant_that_the_changed_rules_would_not_give_is_revoked_at_the_next_start() {
    let mut daemon = Daemon::start_with(|trust_domains| {
        // The same request is held against the rules with the justification that came with it.
        let demand = "\n[logging]\nrequire = [\"justification\"]\nprompt = \"none\"\n";
        append(trust_domains, ROTATION, demand);
        // The shipped cases ask without one.
        fs::remove_dir_all(trust_domains.join(PRODUCTION).join("policy/tests")).expect("the cases");
    })
    .await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let approved = restarter.ask_restart().await;
    let another = json!({ "playbook": "restart-preview", "parameters": { "preview": "pr-1208" } });
    let consumed = restarter.ask(&another).await.expect(201).text("id");
    let token = restarter.exchange(&consumed).await.expect(200).text("access_token");
    let kept = approved_rotation(&daemon, &rotator).await;
    let waiting = rotator.ask_rotation().await;
    let digest = rotator.look(&waiting).await.expect(200).json()["digest"].clone();
    drop((restarter, rotator));
    assert!(daemon.stop().await.success());

    // One playbook permits less from now on, the other more: that changes nothing for what was approved, but whoever
    // approves from now on approves something else.
    let folder = daemon.path("trust-domains");
    edit(&folder, RESTART, "actions = [\"get\", \"patch\"]", "actions = [\"get\"]");
    edit(&folder, RESTART, "version = 1\n", "version = 2\n");
    let text = fs::read_to_string(folder.join(ROTATION)).expect("the playbook");
    let version =
        text.lines().find(|line| line.starts_with("version = ")).expect("a version").to_owned();
    edit(&folder, ROTATION, &version, "version = 9000");
    edit(&folder, ROTATION, "max_duration = \"10m\"", "max_duration = \"11m\"");
    daemon.launch().await;

    for intent in [&approved, &consumed] {
        let over = ended(&daemon, NON_PRODUCTION, intent, "revoked").await;
        assert_eq!(over["ended_for"], "policy_drift", "{over}");
        assert!(over["reason"].as_str().unwrap().contains("exceeds_playbook_ceiling"), "{over}");
    }
    let restarter = Client::start(&daemon, RESTARTER).await;
    assert!(!restarter.is_active(&token).await, "the token outlived its grant");
    let rotator = Client::start(&daemon, ROTATOR).await;
    assert_eq!(rotator.look(&kept).await.expect(200).json()["state"], "approved");
    let anew = rotator.look(&waiting).await.expect(200).json();
    assert_eq!((&anew["state"], &anew["approvals_missing"]), (&json!("pending"), &json!(1)));
    assert_ne!(anew["digest"], digest, "approvers would approve what is not given");
    daemon.operator(PRODUCTION).approve(&waiting).await;
    rotator.exchange(&waiting).await.expect(200);
    log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m_75_open_grants_are_capped_counted_and_ended_by_one_revocation() {
    let daemon = Daemon::start_with(|trust_domains| {
        let caps = "\n[grants]\nmax_open_per_agent = 3\n";
        append(trust_domains, "dev.example.org/trust-domain.toml", caps);
        append(trust_domains, RESTART, "\n[concurrency]\nmax_open_per_target = 2\n");
    })
    .await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let of = |preview: &str| json!({ "playbook": "restart-preview", "parameters": { "preview": preview } });
    let mut intents = vec![restarter.ask_restart().await];
    let token = restarter.exchange(&intents[0]).await.expect(200).text("access_token");
    for preview in ["pr-2", "pr-3"] {
        intents.push(restarter.ask(&of(preview)).await.expect(201).text("id"));
    }
    restarter.ask(&of("pr-4")).await.refused("concurrent_grant_limit");
    let operator = daemon.operator(NON_PRODUCTION);
    let counted = operator.json(&["intent", "list", "--by", "agent"]).await;
    let id = daemon.place(NON_PRODUCTION).id(RESTARTER.path);
    assert_eq!(counted[0]["name"], json!(id), "{counted}");
    assert_eq!(counted[0]["grants"], 3, "{counted}");
    let targets = operator.json(&["intent", "list", "--by", "target"]).await;
    assert_eq!(targets.as_array().map(Vec::len), Some(3), "{targets}");

    let ended =
        operator.json(&["intent", "revoke", "--agent", &id, "--reason", "it misbehaves"]).await;
    assert_eq!(ended["intents"].as_array().map(Vec::len), Some(3), "{ended}");
    for intent in &intents {
        let shown = restarter.look(intent).await.expect(200).json();
        assert_eq!((&shown["state"], &shown["ended_for"]), (&json!("revoked"), &json!("operator")));
    }
    assert!(!restarter.is_active(&token).await, "a token outlived the revocation of all");
    restarter.ask(&restart()).await.expect(201);
    let none = operator
        .json(&[
            "intent",
            "revoke",
            "--agent",
            &daemon.place(NON_PRODUCTION).id("/agent/nobody"),
            "--reason",
            "none",
        ])
        .await;
    assert_eq!(none["intents"], json!([]));
}
