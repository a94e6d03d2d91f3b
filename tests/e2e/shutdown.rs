//! How the daemon ends.

use crate::support::daemon::{Daemon, ROTATOR};
use crate::support::oauth::{Client, approved_rotation};
use crate::support::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_and_connections_do_not_hold_up_the_end() {
    let mut daemon = Daemon::start().await;
    let mut rotator = Client::start(&daemon, ROTATOR).await;
    rotator.workload.watch().await;
    let place = rotator.place.clone();
    let status = daemon.stop().await;
    assert!(status.success(), "{status}: {}", daemon.output());
    let end = rotator.workload.watch_ended().await;
    assert!(!end.is_empty(), "{end}");
    for socket in [&place.workload_api_socket, &place.admin_socket] {
        let connected = tokio::net::UnixStream::connect(socket).await;
        assert!(connected.is_err(), "{} still answers", socket.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ended_is_said_to_be_gone() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let said = daemon.operator(ROTATOR.trust_domain).run(&["status"]).await.failed();
    assert!(said.err.contains("next"), "the error does not say what to do next: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_intents_and_tokens_outlive_a_restart() {
    let mut daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let used = approved_rotation(&daemon, &rotator).await;
    rotator.exchange(&used).await.expect(200);
    let unused = approved_rotation(&daemon, &rotator).await;
    drop(rotator);
    assert!(daemon.stop().await.success());
    daemon.launch().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.exchange(&used).await.refused("grant_consumed");
    rotator.exchange(&unused).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_writes_its_own_log() {
    let daemon = Daemon::start().await;
    daemon.operator(ROTATOR.trust_domain).kill(&["playbook", "ingress-cert-rotation"]).await;
    until("the kill in the daemon's log", async || {
        daemon.output().contains("kill switch").then_some(())
    })
    .await;
}
