//! Two agents speak to each other with nothing but what the Workload API gave them: crates.io `spiffe-rustls`.

use crate::support::daemon::{Daemon, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR};

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_know_each_other_by_mutual_tls() {
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION);
    let (server_id, client_id) = (place.id(ROTATOR.path), place.id(SECOND_ROTATOR.path));
    let (mut server, mut client) = (daemon.agent(ROTATOR), daemon.agent(SECOND_ROTATOR));
    let port = server.serve_tls(&client_id).await;
    assert_eq!(client.connect_tls(port, &server_id).await.as_deref(), Ok("over mutual TLS"));
    assert_eq!(server.tls_served().await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_not_expected_is_refused_by_either_side() {
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION);
    let (server_id, client_id) = (place.id(ROTATOR.path), place.id(SECOND_ROTATOR.path));
    let stranger = place.id("/agent/stranger");
    let (mut server, mut client) = (daemon.agent(ROTATOR), daemon.agent(SECOND_ROTATOR));
    let port = server.serve_tls(&stranger).await;
    client.connect_tls(port, &server_id).await.expect_err("the server expects somebody else");
    server.tls_served().await.expect_err("a stranger");
    let port = server.serve_tls(&client_id).await;
    client.connect_tls(port, &stranger).await.expect_err("the client expects somebody else");
    server.tls_served().await.expect_err("the client went away");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handshake_crosses_the_firebreak() {
    let daemon = Daemon::start().await;
    let server_id = daemon.place(PRODUCTION).id(ROTATOR.path);
    let other_id = format!("spiffe://{}{}", RESTARTER.trust_domain, RESTARTER.path);
    let (mut server, mut client) = (daemon.agent(ROTATOR), daemon.agent(RESTARTER));
    let port = server.serve_tls(&other_id).await;
    client.connect_tls(port, &server_id).await.expect_err("another root");
    server.tls_served().await.expect_err("another root");
}
