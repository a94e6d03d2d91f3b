//! The kill switch's scopes and modes, what a dry run says, an agent that stops itself, and the drill.

use std::fs;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::folder::append;
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, approved_rotation, rotation};
use crate::support::operator::Operator;
use crate::support::wait::until;

/// An agent with a live token and another approved intent, and the resource server that asks about it.
struct AtWork {
    daemon: Daemon,
    operator: Operator,
    agent: Client,
    resource: Client,
    used: String,
    token: String,
    unused: String,
}

impl AtWork {
    async fn begin() -> Self {
        let daemon = Daemon::start().await;
        let operator = daemon.operator(PRODUCTION);
        let agent = Client::start(&daemon, ROTATOR).await;
        let resource = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
        let used = ask(&operator, &agent, "session-1", "task-1").await;
        let token = agent.exchange(&used).await.expect(200).text("access_token");
        let unused = ask(&operator, &agent, "session-2", "task-2").await;
        assert!(resource.is_active(&token).await);
        Self { daemon, operator, agent, resource, used, token, unused }
    }

    async fn is_live(&self) -> bool {
        self.resource.is_active(&self.token).await
    }

    fn jti(&self) -> String {
        let payload = self.token.split('.').nth(1).expect("a payload");
        let payload = marque_jose::base64url::decode(payload).expect("base64url");
        let claims: Value = serde_json::from_slice(&payload).expect("claims");
        claims["jti"].as_str().expect("a jti").to_owned()
    }

    async fn kills(&self) -> Value {
        self.operator.json(&["kill", "list"]).await[0].clone()
    }
}

/// An approved intent under these labels.
async fn ask(operator: &Operator, agent: &Client, session: &str, task: &str) -> String {
    let mut body = rotation();
    body["session"] = session.into();
    body["task"] = task.into();
    let intent = agent.ask(&body).await.expect(202).text("id");
    operator.approve(&intent).await;
    intent
}

#[tokio::test(flavor = "multi_thread")]
async fn m_119_scopes_of_one_grant_stop_its_token_and_leave_the_other_grant_alone() {
    let work = AtWork::begin().await;
    let (jti, used) = (work.jti(), work.used.clone());
    for scope in [
        ["credential", jti.as_str()],
        ["grant", &used],
        ["task", "task-1"],
        ["session", "session-1"],
    ] {
        assert!(work.is_live().await, "before {scope:?}");
        work.operator.kill(&[&scope[..], &["--for", "2s"]].concat()).await;
        assert!(!work.is_live().await, "{scope:?} stops the token");
        // It ends by itself, and the token is live again: nothing of a kill is for good.
        let end = format!("the end of the kill of {scope:?}");
        until(&end, async || work.is_live().await.then_some(())).await;
    }
    assert_eq!(work.kills().await["epoch"], 8, "each kill and each end begins an epoch");
    work.agent.exchange(&work.unused).await.expect(200);
    let leaves = log::export(&work.operator, &work.daemon.path("log")).await;
    let of = |kind: &str| leaves.iter().filter(|leaf| leaf["type"] == kind).count();
    assert_eq!((of("org.marque.kill"), of("org.marque.kill.lifted")), (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn m_119_each_wide_scope_stops_issuance_and_use_with_its_own_code() {
    let work = AtWork::begin().await;
    let entries = work.operator.json(&["entry", "list"]).await;
    let agent = work.agent.place.id(ROTATOR.path);
    let entry = entries.as_array().expect("entries").iter().find(|one| one["spiffe_id"] == *agent);
    let owner = entry.expect("the agent's entry")["owner"].as_str().expect("an owner").to_owned();
    let intent = work.operator.json(&["intent", "show", &work.used]).await;
    let tenant = intent["grant"]["tenant"].as_str().unwrap_or("default").to_owned();
    let version = intent["grant"]["playbook"]["version"].as_u64().unwrap_or(1);
    let playbook = format!("ingress-cert-rotation@{version}");
    for (kind, selector, code) in [
        ("playbook", playbook.as_str(), "kill_switch_playbook"),
        ("sponsor", &owner, "kill_switch_sponsor"),
        ("tenant", &tenant, "kill_switch_tenant"),
        ("task", "task-2", "kill_switch_task"),
    ] {
        work.operator.kill(&[kind, selector, "--for", "3s"]).await;
        let refused = work.agent.exchange(&work.unused).await;
        refused.oauth_error("access_denied").refused(code);
        let end = format!("the end of the kill of the {kind}");
        until(&end, async || (work.kills().await["kills"] == json!([])).then_some(())).await;
    }
    work.agent.exchange(&work.unused).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_its_entry_frees_no_agent_whom_a_kill_of_its_sponsor_hit() {
    let work = AtWork::begin().await;
    let entries = work.operator.json(&["entry", "list"]).await;
    let agent = work.agent.place.id(ROTATOR.path);
    let entry = entries.as_array().expect("entries").iter().find(|one| one["spiffe_id"] == *agent);
    let entry = entry.expect("the agent's entry");
    let id = entry["id"].as_str().expect("an id");
    work.operator.kill(&["sponsor", entry["owner"].as_str().expect("an owner")]).await;
    assert!(!work.is_live().await);
    work.operator.run(&["entry", "delete", id]).await.succeeded();
    assert!(!work.is_live().await, "only two people let it go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_stops_at_its_own_points() {
    for (mode, live, issues, asks, identity) in [
        ("drain", true, true, false, true),
        ("stop-issuance", true, false, false, false),
        ("stop-use", false, true, false, true),
        ("stop-and-revoke-upstream", false, false, false, false),
    ] {
        let mut work = AtWork::begin().await;
        let agent = work.agent.place.id(ROTATOR.path);
        work.operator.kill(&["agent", &agent, "--mode", mode]).await;
        assert_eq!(work.is_live().await, live, "{mode}: the token that is out");
        let issued = work.agent.exchange(&work.unused).await;
        assert_eq!(issued.status == 200, issues, "{mode}: {issued:?}");
        if issues {
            let token = issued.text("access_token");
            assert_eq!(work.resource.is_active(&token).await, live, "{mode}: the new token");
        }
        let asked = work.agent.ask(&rotation()).await;
        // Under a stop of use alone what may be asked for stays so.
        let may_ask = asks || mode == "stop-use";
        assert_eq!(asked.status == 202, may_ask, "{mode}: {asked:?}");
        let svid = work.agent.workload.try_jwt_svid(&["x"]).await;
        assert_eq!(svid.is_ok(), identity, "{mode}: {svid:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_who_would_be_hit_and_changes_nothing() {
    let mut work = AtWork::begin().await;
    work.agent.workload.watch().await;
    let agent = work.agent.place.id(ROTATOR.path);
    let impact = work.operator.json(&["kill", "agent", &agent, "--dry-run"]).await[0].clone();
    assert_eq!(impact["agents"]["names"], json!([agent]), "{impact}");
    let grants: Vec<&str> =
        impact["grants"]["names"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(grants.contains(&work.unused.as_str()), "{impact}");
    assert_eq!(impact["tokens"]["names"], json!([work.jti()]), "{impact}");
    assert!(impact["streams"].as_u64() >= Some(1), "{impact}");
    let other =
        work.operator.json(&["kill", "task", "nobody-has-it", "--dry-run"]).await[0].clone();
    for kind in ["agents", "grants", "tokens"] {
        assert_eq!(other[kind]["count"], 0, "{other}");
    }
    assert_eq!(work.kills().await["epoch"], 0);
    assert!(work.is_live().await);
    let leaves = log::export(&work.operator, &work.daemon.path("log")).await;
    assert!(leaves.iter().all(|leaf| leaf["type"] != "org.marque.kill"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_stops_itself_and_nobody_else() {
    let work = AtWork::begin().await;
    let second = Client::start(&work.daemon, SECOND_ROTATOR).await;
    let theirs = approved_rotation(&work.daemon, &second).await;
    let url = work.agent.place.intents_url.replace("/v1/intents", "/v1/stop");
    let stop = |body: Value| work.agent.send(Call::json(&url, &body).bearer(&work.agent.svid));
    // It cannot name anybody.
    let named = stop(json!({"agent": second.place.id(SECOND_ROTATOR.path)})).await.expect(400);
    named.refused("unrecognised_field");
    let stopped = stop(json!({"reason": "this is not what I was started for"})).await.expect(200);
    let agent = work.agent.place.id(ROTATOR.path);
    assert_eq!(stopped.text("stopped"), agent);
    assert!(!work.is_live().await);
    work.agent.exchange(&work.unused).await.refused("kill_switch_agent");
    second.exchange(&theirs).await.expect(200);
    let kills = work.kills().await;
    assert_eq!((kills["epoch"].as_u64(), &kills["kills"][0]["actor"]), (Some(1), &json!(agent)));
    // A second word adds nothing.
    let again = stop(json!({})).await.expect(200);
    assert_eq!(again.text("id"), stopped.text("id"));
    assert_eq!(work.kills().await["epoch"], 1);
    // And nobody does it without showing who they are.
    work.agent.send(Call::json(&url, &json!({}))).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_reaches_every_point_and_hits_nobody() {
    let work = AtWork::begin().await;
    let report = work.operator.json(&["kill", "drill"]).await[0].clone();
    let points = report["points"].as_array().expect("points");
    assert_eq!(points.len(), 5, "{report}");
    for point in points {
        assert!(point["micros"].as_u64().is_some_and(|micros| micros < 1_000_000), "{report}");
    }
    assert!(work.is_live().await);
    work.agent.exchange(&work.unused).await.expect(200);
    let kills = work.kills().await;
    assert_eq!(kills["kills"][0]["id"], report["kill"], "{kills}");
    assert!(kills["kills"][0]["expires_at"].is_string(), "it ends by itself: {kills}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_state_is_published_and_rises_with_each_kill() {
    let work = AtWork::begin().await;
    let url = format!("{}/oauth2/kill-state", work.agent.place.issuer_url);
    let epoch = async || {
        let answer = work.agent.send(Call::get(&url)).await.expect(200);
        assert_eq!(answer.headers["content-type"], "application/kill-state+jwt");
        assert_eq!(answer.headers["cache-control"], "no-store");
        let payload = answer.body.split('.').nth(1).expect("a payload");
        let payload = marque_jose::base64url::decode(payload).expect("base64url");
        let claims: Value = serde_json::from_slice(&payload).expect("claims");
        assert_eq!(claims["sub"], url.as_str());
        claims["kill_epoch"].as_u64().expect("an epoch")
    };
    assert_eq!(epoch().await, 0);
    work.operator.kill(&["task", "nobody-has-it"]).await;
    assert_eq!(epoch().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn m_120_a_kill_holds_while_the_database_is_read_only() {
    let mut work = AtWork::begin().await;
    let file = work.daemon.data_dir().join(PRODUCTION).join("private/marque.sqlite");
    assert!(fs::exists(&file).expect("looks"), "the store is at {}", file.display());
    let lock = rusqlite::Connection::open(&file).expect("the store's file");
    // Whoever holds this lock is the only one who writes; everybody reads.
    lock.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let agent = work.agent.place.id(ROTATOR.path);
    work.operator.kill(&["agent", &agent]).await;
    assert!(!work.is_live().await, "nothing has to be written for a token to be dead");
    let svid = work.agent.workload.try_jwt_svid(&["x"]).await.expect_err("no SVID either");
    assert!(svid.contains("PermissionDenied") || svid.contains("NoIdentityIssued"), "{svid}");
    drop(lock);
    work.daemon.kill().await;
    work.daemon.launch().await;
    let operator = work.daemon.operator(PRODUCTION);
    let kills = operator.json(&["kill", "list"]).await[0].clone();
    assert_eq!(kills["kills"][0]["selector"], agent.as_str(), "{kills}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_120_a_kill_needs_no_identity_provider() {
    let daemon = Daemon::start_with(|folder| {
        // Nobody listens there.
        let login = "\n[approver_login]\nenvironment = \"production\"\n\
             issuer = \"https://localhost:1\"\n\
             authorization_endpoint = \"https://localhost:1/auth\"\n\
             token_endpoint = \"https://localhost:1/token\"\n\
             jwks_uri = \"https://localhost:1/jwks\"\nclient_id = \"marque\"\n\
             ca_file = \"login-ca.pem\"\ngroups_claim = \"groups\"\n\
             [approver_login.groups]\nsre = \"platform-sre\"\n";
        append(folder, "prod.example.org/trust-domain.toml", login);
        let root = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a root");
        append(folder, "prod.example.org/login-ca.pem", &root.cert.pem());
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let agent = rotator.place.id(ROTATOR.path);
    daemon.operator(PRODUCTION).kill(&["agent", &agent]).await;
    rotator.exchange(&intent).await.refused("kill_switch_agent");
}
