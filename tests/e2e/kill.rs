//! The kill switch: each scope stops issuance and use at once, and nothing beside its scope.

use serde_json::Value;

use crate::support::daemon::{
    Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR,
};
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, PREVIEW, approved_rotation, restart, rotation};

/// An agent with a live token and another approved intent, and the resource server that asks about it.
struct AtWork {
    agent: Client,
    resource: Client,
    token: String,
    unused: String,
}

impl AtWork {
    async fn in_production(daemon: &Daemon) -> Self {
        let agent = Client::start(daemon, ROTATOR).await;
        let resource = Client::service(daemon, PRODUCTION, INGRESS.path).await;
        let used = approved_rotation(daemon, &agent).await;
        let token = agent.exchange(&used).await.expect(200).text("access_token");
        let unused = approved_rotation(daemon, &agent).await;
        assert!(resource.is_active(&token).await);
        Self { agent, resource, token, unused }
    }

    async fn in_non_production(daemon: &Daemon) -> Self {
        let agent = Client::start(daemon, RESTARTER).await;
        let resource = Client::service(daemon, NON_PRODUCTION, PREVIEW.path).await;
        let used = agent.ask_restart().await;
        let token = agent.exchange(&used).await.expect(200).text("access_token");
        let unused = agent.ask_restart().await;
        assert!(resource.is_active(&token).await);
        Self { agent, resource, token, unused }
    }

    /// Neither the live token nor the approved intent is of any use.
    async fn is_stopped(&self, code: &str) {
        assert!(!self.resource.is_active(&self.token).await, "the token is still live");
        self.agent.exchange(&self.unused).await.oauth_error("access_denied").refused(code);
    }

    async fn asks_in_vain(&self, body: &Value, code: &str) {
        self.agent.ask(body).await.refused(code);
    }

    async fn goes_on(&self) {
        assert!(self.resource.is_active(&self.token).await, "a kill reached beyond its scope");
        self.agent.exchange(&self.unused).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_an_agent_stops_its_issuance_its_use_and_its_stream() {
    let daemon = Daemon::start().await;
    let mut work = AtWork::in_production(&daemon).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let theirs = approved_rotation(&daemon, &second).await;
    work.agent.workload.watch().await;
    daemon.operator(PRODUCTION).kill(&["agent", &work.agent.place.id(ROTATOR.path)]).await;
    work.is_stopped("kill_switch_agent").await;
    work.asks_in_vain(&rotation(), "kill_switch_agent").await;
    let end = work.agent.workload.watch_ended().await;
    assert!(end.contains("PermissionDenied") || end.contains("NoIdentityIssued"), "{end}");
    let svid =
        work.agent.workload.try_jwt_svid(&["x"]).await.expect_err("no SVID for a killed agent");
    assert!(svid.contains("PermissionDenied") || svid.contains("NoIdentityIssued"), "{svid}");
    second.exchange(&theirs).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_playbook_stops_every_intent_of_it() {
    let daemon = Daemon::start().await;
    let work = AtWork::in_production(&daemon).await;
    daemon.operator(PRODUCTION).kill(&["playbook", "ingress-cert-rotation"]).await;
    work.is_stopped("kill_switch_playbook").await;
    work.asks_in_vain(&rotation(), "kill_switch_playbook").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_trust_domain_leaves_the_other_alone() {
    let daemon = Daemon::start().await;
    let production = AtWork::in_production(&daemon).await;
    let other = AtWork::in_non_production(&daemon).await;
    daemon.operator(PRODUCTION).kill(&["trust-domain"]).await;
    production.is_stopped("kill_switch_trust_domain").await;
    production.asks_in_vain(&rotation(), "kill_switch_trust_domain").await;
    other.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_all_stops_both_trust_domains() {
    let daemon = Daemon::start().await;
    let production = AtWork::in_production(&daemon).await;
    let other = AtWork::in_non_production(&daemon).await;
    let endpoints = daemon.endpoints_file().display().to_string();
    let everything =
        ["--endpoints", &endpoints, "kill", "all", "--yes", "--reason", "an end-to-end test"];
    let everything: Vec<String> = everything.map(ToOwned::to_owned).into();
    crate::support::operator::run_marque(&everything).await.succeeded();
    production.is_stopped("kill_switch_global").await;
    production.asks_in_vain(&rotation(), "kill_switch_global").await;
    other.is_stopped("kill_switch_global").await;
    other.asks_in_vain(&restart(), "kill_switch_global").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_outlives_a_crash_and_is_in_the_log() {
    let mut daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let agent = rotator.place.id(ROTATOR.path);
    drop(rotator);
    daemon.operator(PRODUCTION).kill(&["agent", &agent]).await;
    daemon.kill().await;
    daemon.launch().await;
    let svid =
        daemon.agent(ROTATOR).try_jwt_svid(&["x"]).await.expect_err("a killed agent came back");
    assert!(svid.contains("PermissionDenied") || svid.contains("NoIdentityIssued"), "{svid}");
    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;
    let kills: Vec<&Value> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.kill").collect();
    assert_eq!(kills.len(), 1, "{kills:?}");
    assert!(kills[0].to_string().contains(&agent), "{kills:?}");
    assert!(
        leaves.iter().any(|leaf| leaf.to_string().contains(&intent)),
        "the approved intent is in the log"
    );
}
