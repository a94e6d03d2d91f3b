//! A real Envoy and a revoked SVID. Only here is there an authority that signs revocation lists.

use std::sync::Arc;
use std::time::Duration;

use marque_registry::EntryRole;
use marque_spiffe::Clock as _;
use marque_workload::BundleSet;

use super::super::super::serve::Limits;
use super::super::super::stage::Stage;
use super::*;

#[expect(dead_code, reason = "the end-to-end tests use all of it")]
#[path = "../../../../../tests/e2e/support/envoy.rs"]
mod envoy;
#[expect(dead_code, reason = "the end-to-end tests use all of it")]
#[path = "../../../../../tests/e2e/support/wait.rs"]
mod wait;

use envoy::{Envoy, GREETING, Plan, connect_with, plain_server};

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_refuses_an_svid_that_is_revoked_and_takes_others() {
    let Some(program) = envoy::program() else { return };
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let [good, revoked] = ["/agent/good", "/agent/revoked"]
        .map(|path| stage.scratch.x509_svid(&stage.scratch.id(path)));
    let (_, leaf) = x509_parser::parse_x509_certificate(&revoked.chain[0]).unwrap();
    let now = SystemClock.now();
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let list = stage.scratch.root().revocation_list(&[leaf.raw_serial()], now - minute, now + hour);
    let served = stage.serve_workload(Limits::default());
    let socket = served.socket.clone();
    let plan = Plan {
        socket: &socket,
        api_type: "GRPC",
        identity: "default",
        trust: "ROOTCA",
        peer: None,
        plain_port: plain_server().await,
        tls_port: 1,
    };
    let envoy = Envoy::start(&program, &stage.folder.path().join("e"), &plan).await;
    let port = envoy.port("inbound").await;
    let gets_in = async |svid: &marque_testkit::ScratchX509Svid| {
        let said = connect_with(port, svid.chain.clone(), svid.private_key.clone()).await;
        said.is_ok_and(|said| said == GREETING)
    };
    assert!(gets_in(&good).await && gets_in(&revoked).await);
    stage.push(|state| {
        state.bundles = Arc::new(BundleSet::clone(&state.bundles).with_crls([list.into()]));
    });
    wait::until("the list to be heeded", async || (!gets_in(&revoked).await).then_some(())).await;
    assert!(gets_in(&good).await);
}
