//! An agent asks for another: by its own live intent, for no more than it has, and with the whole chain looked at
//! (M 20 to M 23).

use std::path::Path;

use serde_json::{Value, json};

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::Answer;
use crate::support::oauth::Client;
use crate::support::programs::copy_of_this_program;

/// Looks after one preview; may ask for agents below `/agent/chain`, three deep.
const PARENT: &str = r#"apiVersion = "marque/v1"
kind = "Playbook"
id = "look-after-preview"
version = 1
title = "Look after one preview"
owner = "group:platform-dev"
review_by = "2027-03-01"
tenant = "example"
trust_domain = "dev.example.org"
status = "active"
purpose = "preview"
data_classes = ["events", "logs"]
resources = ["k8s://dev/ns/previews/deployment/{{params.preview}}", "k8s://dev/ns/previews/service/{{params.preview}}"]
delivery = "token"

[risk]
base = 5

[who]
agents = ["spiffe://dev.example.org/agent/preview-restarter/*"]

[parameters]
type = "object"
additionalProperties = false
required = ["preview"]

[parameters.properties.preview]
type = "string"
pattern = "^pr-[0-9]{1,6}$"

[[permits]]
audience = "https://preview.dev.example.org"
scopes = ["deployments.get", "deployments.restart"]

[[permits.authorization_details]]
type = "k8s_object"
actions = ["get", "restart"]
identifier = "ns/previews"

[on_behalf]
max_depth = 2
agents = ["spiffe://dev.example.org/agent/chain/b", "spiffe://dev.example.org/agent/chain/c", "spiffe://dev.example.org/agent/preview-restarter/*"]
equal = ["audiences"]

[time]
expected_runtime = "2m"
retry_buffer = "1m"
max_duration = "10m"
uses = 3
request_ttl = "10m"
start_within = "10m"

[approval]
mode = "auto"
on_timeout = "deny"
"#;

/// The same for the agents of the chain, with one thing less of each.
fn child() -> String {
    PARENT
        .replace("look-after-preview", "look-at-preview")
        .replace("agent/preview-restarter/*\"]\n\n[parameters]", "agent/chain/*\"]\n\n[parameters]")
        .replace("purpose = \"preview\"", "purpose = \"preview.look\"")
        .replace("[\"events\", \"logs\"]", "[\"events\"]")
        .replace(", \"k8s://dev/ns/previews/service/{{params.preview}}\"", "")
        .replace(", \"deployments.restart\"", "")
        .replace("[\"get\", \"restart\"]", "[\"get\"]")
        .replace("uses = 3", "uses = 1")
}

fn write(trust_domains: &Path, id: &str, text: &str) {
    let file = trust_domains.join(NON_PRODUCTION).join("playbooks").join(format!("{id}.toml"));
    std::fs::write(file, text).expect("write the playbook");
}

/// A program that is registered as an agent of the chain.
async fn agent(daemon: &Daemon, name: &str, program: &str) -> Client {
    let place = daemon.place(NON_PRODUCTION).clone();
    let program = copy_of_this_program(program);
    let id = place.id(&format!("/agent/chain/{name}"));
    daemon.operator(NON_PRODUCTION).register(&id, "agent", &program).await;
    let mut workload = Workload::start(&program, &place);
    let svid = workload.jwt_svid(&place.issuer_url).await;
    Client { workload, svid, http: daemon.http(NON_PRODUCTION), place }
}

struct Chain {
    daemon: Daemon,
    a: Client,
    b: Client,
    c: Client,
}

async fn start() -> Chain {
    let daemon = Daemon::start_with(|trust_domains| {
        write(trust_domains, "look-after-preview", PARENT);
        write(trust_domains, "look-at-preview", &child());
        let wider = child()
            .replace("\"look-at-preview\"", "\"delete-preview\"")
            .replace("\"deployments.get\"", "\"deployments.delete\"");
        write(trust_domains, "delete-preview", &wider);
        let asked_about = child().replace("\"look-at-preview\"", "\"inspect-preview\"").replace(
            "mode = \"auto\"\non_timeout = \"deny\"\n",
            "mode = \"always\"\non_timeout = \"deny\"\n\n[[approval.levels]]\nany = [{ approve = 1 }]\n",
        );
        write(trust_domains, "inspect-preview", &asked_about);
        let same = PARENT
            .replace("look-after-preview", "all-of-preview")
            .replace(
                "agent/preview-restarter/*\"]\n\n[parameters]",
                "agent/chain/*\"]\n\n[parameters]",
            )
            .replace("uses = 3", "uses = 1");
        write(trust_domains, "all-of-preview", &same);
    })
    .await;
    let a = Client::start(&daemon, RESTARTER).await;
    let of = async |name: &str, program: &str| agent(&daemon, name, program).await;
    let (b, c) = (of("b", "cert-rotator-one").await, of("c", "cert-rotator-two").await);
    Chain { daemon, a, b, c }
}

fn asked(playbook: &str) -> Value {
    json!({ "playbook": playbook, "parameters": { "preview": "pr-7" } })
}

impl Chain {
    fn id(&self, name: &str) -> String {
        self.a.place.id(&format!("/agent/chain/{name}"))
    }

    fn asked_for(&self, playbook: &str, name: &str, parent: &str) -> Value {
        let mut body = asked(playbook);
        body["for_agent"] = json!(self.id(name));
        body["parent"] = json!(parent);
        body
    }

    async fn parent(&self) -> String {
        self.a.ask(&asked("look-after-preview")).await.expect(201).text("id")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m_23_an_agent_asks_for_another_and_the_chain_is_shown() {
    let chain = start().await;
    let parent = chain.parent().await;
    let answer = chain.a.ask(&chain.asked_for("look-at-preview", "b", &parent)).await.expect(201);
    let child = answer.text("id");
    let grant = answer.json()["grant"].clone();
    assert_eq!((&grant["agent"], &grant["parent"]["id"]), (&json!(chain.id("b")), &json!(parent)));
    // It is the other agent's. Whoever asked for it looks at it, and nobody else does.
    assert_eq!(chain.a.look(&child).await.expect(200).json()["digest"], answer.json()["digest"]);
    chain.c.look(&child).await.expect(404);
    chain.a.exchange(&child).await.oauth_error("access_denied");
    chain.b.exchange(&child).await.expect(200);
    let shown = chain.daemon.operator(NON_PRODUCTION).json(&["intent", "show", &child]).await;
    assert_eq!(shown["grant"]["parent"]["agent"], json!(chain.a.place.id(RESTARTER.path)));
    let operator = chain.daemon.operator(NON_PRODUCTION);
    operator.run(&["audit", "verify"]).await.succeeded();
    // The path of the one above has the one below further in, and its token below that (M 116).
    let path = operator.run(&["audit", "path", "--grant", &parent]).await.succeeded().out;
    let depths: Vec<(Value, Value)> = path
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|step| step["event"]["data"]["intent"] == json!(child))
        .map(|step| (step["event"]["type"].clone(), step["depth"].clone()))
        .collect();
    for step in [("org.marque.intent.requested", 1), ("org.marque.token.issued", 2)] {
        assert!(depths.contains(&(json!(step.0), json!(step.1))), "{step:?}: {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_behalf_escalation() {
    let chain = start().await;
    let parent = chain.parent().await;
    let ask = async |playbook: &str, name: &str, parent: &str| {
        chain.a.ask(&chain.asked_for(playbook, name, parent)).await
    };
    ask("delete-preview", "b", &parent).await.refused("exceeds_parent_scope");
    // Registered, and not among those that it may be handed on to.
    agent(&chain.daemon, "d", "ingress").await;
    ask("look-at-preview", "d", &parent).await.refused("agent_not_allowed");
    // Somebody else's intent reads like one that is not there.
    chain.b.ask(&chain.asked_for("look-at-preview", "c", &parent)).await.refused("chain_invalid");
    ask("look-at-preview", "b", "int_0123456789abcdefghjkmnpqrs").await.refused("chain_invalid");
    let mut narrow = chain.asked_for("look-at-preview", "b", &parent);
    narrow["narrow"] = json!({ "scopes": ["deployments.restart"] });
    chain.a.ask(&narrow).await.refused("exceeds_playbook_ceiling");
    // An intent that may not be handed on gives nothing.
    let alone = chain.a.ask(&crate::support::oauth::restart()).await.text("id");
    ask("look-at-preview", "b", &alone).await.refused("chain_too_deep");
    // What has ended holds nothing up.
    let child = ask("look-at-preview", "b", &parent).await.expect(201).text("id");
    chain
        .daemon
        .operator(NON_PRODUCTION)
        .run(&["intent", "revoke", &parent, "--reason", "a test"])
        .await
        .succeeded();
    ask("look-at-preview", "c", &parent).await.refused("chain_invalid");
    chain.b.exchange(&child).await.oauth_error("access_denied");
}

/// Registers the agent anew, with these rights.
async fn with_rights(chain: &Chain, name: &str, program: &str, rights: &[&str]) {
    let operator = chain.daemon.operator(NON_PRODUCTION);
    let entries = operator.json(&["entry", "list"]).await;
    let id = chain.id(name);
    let held = entries.as_array().unwrap().iter().find(|entry| entry["spiffe_id"] == json!(id));
    operator.run(&["entry", "delete", held.unwrap()["id"].as_str().unwrap()]).await.succeeded();
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let path = format!("unix:path:{}", copy_of_this_program(program).display());
    let entry =
        ["entry", "create", "--expires-in", "1d", "--spiffe-id", &id, "--owner", "group:tests"];
    let selectors = ["--selector", &uid, "--selector", &path];
    operator.json(&[&entry[..], &selectors, rights].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_entry_keeps_it_out_of_delegation_is_handed_nothing_and_hands_on_nothing() {
    let chain = start().await;
    let parent = chain.parent().await;
    let why = async |answer: Answer| {
        let id = answer.refused("agent_not_allowed").text("request_id");
        chain.daemon.operator(NON_PRODUCTION).json(&["denials", "show", &id]).await.to_string()
    };
    let for_c = chain.asked_for("look-at-preview", "c", &parent);
    let child = chain.a.ask(&for_c).await.expect(201).text("id");
    with_rights(&chain, "c", "cert-rotator-two", &["--never-delegates"]).await;
    let on = chain.asked_for("look-at-preview", "b", &child);
    let told = why(chain.c.ask(&on).await).await;
    assert!(told.contains("may_delegate"), "{told}");
    // What is its own it uses all the same.
    chain.c.exchange(&child).await.expect(200);
    with_rights(&chain, "b", "cert-rotator-one", &["--never-acts-for-others"]).await;
    let for_b = chain.asked_for("look-at-preview", "b", &parent);
    let told = why(chain.a.ask(&for_b).await).await;
    assert!(told.contains("may_act_for_others"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_collapse() {
    let chain = start().await;
    let parent = chain.parent().await;
    // All of it, unchanged, is not handed on.
    let all = chain.asked_for("all-of-preview", "b", &parent);
    chain.a.ask(&all).await.refused("cannot_compare_attenuation");
    // Nor does a chain turn back on itself.
    let child = chain.a.ask(&chain.asked_for("look-at-preview", "b", &parent)).await.expect(201);
    let child = child.text("id");
    let back = chain.asked_for("look-at-preview", "b", &child);
    chain.b.ask(&back).await.refused("chain_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_ancestor_stops_all_below() {
    let chain = start().await;
    let parent = chain.parent().await;
    let child = chain.a.ask(&chain.asked_for("look-at-preview", "b", &parent)).await.expect(201);
    let agent = chain.a.place.id(RESTARTER.path);
    chain.daemon.operator(NON_PRODUCTION).kill(&["agent", &agent]).await;
    chain.b.exchange(&child.text("id")).await.oauth_error("access_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_for_another_withdraws_it_before_any_use_and_does_nothing_else_with_it() {
    let chain = start().await;
    let parent = chain.parent().await;
    let ask = async || {
        let asked = chain.asked_for("look-at-preview", "b", &parent);
        chain.a.ask(&asked).await.expect(201).text("id")
    };
    let child = ask().await;
    chain.c.end(&child, "cancel", &json!({})).await.expect(404);
    let done = json!({ "outcome": "success" });
    chain.a.end(&child, "complete", &done).await.refused("agent_not_allowed");
    chain.a.end(&child, "heartbeat", &json!({})).await.refused("agent_not_allowed");
    for _time in 0..2 {
        let cancelled = chain.a.end(&child, "cancel", &json!({})).await.expect(200).json();
        assert_eq!(cancelled["state"], "cancelled");
    }
    chain.b.exchange(&child).await.oauth_error("access_denied");
    // What is in use is the other agent's alone.
    let used = ask().await;
    chain.b.exchange(&used).await.expect(200);
    chain.a.end(&used, "cancel", &json!({})).await.refused("grant_consumed");
    assert_eq!(chain.b.look(&used).await.expect(200).json()["state"], "consumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_to_what_was_asked_for_another_is_a_no_to_whoever_asked() {
    let chain = start().await;
    let parent = chain.parent().await;
    let operator = chain.daemon.operator(NON_PRODUCTION);
    let target_denied = async |session: &str| {
        let mut own = asked("look-after-preview");
        own["session"] = json!(session);
        let intent = chain.a.ask(&own).await.expect(201).text("id");
        let shown = operator.json(&["intent", "show", &intent]).await;
        shown["grant"]["evidence"]["history"]["target_denied"] == true
    };
    let child = chain.asked_for("inspect-preview", "b", &parent);
    let child = chain.a.ask(&child).await.expect(202).text("id");
    assert!(!target_denied("before").await);
    operator.run(&["deny", &child, "--because", "not-needed"]).await.succeeded();
    assert!(target_denied("after").await);
}
