//! Signing authorities that change under load: by hand, and over two replicas. The peers are clients that this project did not
//! write: crates.io `spiffe` with `spiffe-rustls`. By the clock they change in `soak.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use spiffe::{JwtSource, JwtSvid};

use crate::fleet::{Fleet, database};
use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::http::{Call, Http};
use crate::support::operator::Operator;
use crate::support::peers::Peers;
use crate::support::programs::{copy_of_this_program, this_program};
use crate::support::wait::{until, within};

const AUDIENCE: &str = "https://resource.example.org";

/// The keys of one purpose and where they stand, in the order of their making.
pub(crate) async fn keys(operator: &Operator, purpose: &str) -> Vec<(String, String)> {
    let listed = operator.json(&["authority", "list"]).await;
    let keys = listed.as_array().unwrap_or_else(|| panic!("{listed}"));
    let of = keys.iter().filter(|key| key["purpose"] == purpose);
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    let mut keys: Vec<_> =
        of.map(|key| (text(key, "published_at"), text(key, "key"), text(key, "state"))).collect();
    keys.sort();
    keys.into_iter().map(|(_, key, state)| (key, state)).collect()
}

async fn active(operator: &Operator, purpose: &str) -> String {
    let keys = keys(operator, purpose).await;
    let active: Vec<_> = keys.iter().filter(|(_, state)| state == "active").collect();
    assert_eq!(active.len(), 1, "{keys:?}");
    active[0].0.clone()
}

/// The leaves that tell of one kind of step.
async fn steps(operator: &Operator, kind: &str) -> Vec<String> {
    let log = operator.run(&["audit", "tail", "--lines", "1000"]).await.succeeded();
    let kind = format!("\"org.marque.authority.{kind}\"");
    log.out.lines().filter(|leaf| leaf.contains(&kind)).map(str::to_owned).collect()
}

/// Shakes hands and verifies tokens without a pause until `stop`; how often.
async fn load(peers: &Peers, tokens: &JwtSource, stop: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        peers.follow().await.expect("a handshake of peers that follow");
        let token = tokens.fetch_jwt_svid([AUDIENCE]).await.unwrap();
        let bundles = tokens.bundle_set().unwrap();
        JwtSvid::parse_and_validate(token.token(), bundles.as_ref(), &[AUDIENCE])
            .expect("a token by the bundle of the moment");
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread")]
async fn every_peer_refuses_a_revoked_authority_within_a_second_and_goes_on_with_the_next() {
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION).clone();
    let operator = daemon.operator(PRODUCTION);
    let id = place.id("/service/e2e");
    operator.register(&id, "service", &this_program()).await;
    let peers = Peers::new(&place.workload_api(), &id).await;
    let tokens = JwtSource::builder().endpoint(place.workload_api());
    let tokens = within("the JWT source", tokens.build()).await.unwrap();
    let lost = peers.standing_still();
    let first = active(&operator, "x509-authority").await;
    let reason = ["--reason", "a drill"];
    let step = async |arguments: &[&str]| operator.run(&[&["authority"], arguments].concat()).await;

    // Each refusal says what to do.
    let refused = step(&[&["taint", &first][..], &reason].concat()).await;
    assert!(refused.code == 1 && refused.err.contains("prepare x509-authority"), "{refused:?}");
    let refused = step(&[&["revoke", &first][..], &reason].concat()).await;
    assert!(refused.code == 1 && refused.err.contains("taint it first"), "{refused:?}");
    let prepared = step(&["prepare", "x509-authority"]).await.succeeded().json();
    let next = prepared["key"].as_str().unwrap().to_owned();
    let refused = step(&["activate", &next]).await;
    assert!(refused.code == 1 && refused.err.contains("--now"), "{refused:?}");
    let unheard_of = step(&["activate", "x509-authority-b-7"]).await;
    assert!(unheard_of.code == 1 && unheard_of.err.contains("authority list"), "{unheard_of:?}");

    let stop = AtomicBool::new(false);
    let forced = async {
        let leaf = peers.source.svid().unwrap().leaf().as_bytes().to_vec();
        step(&[&["taint", &first][..], &reason].concat()).await.succeeded();
        // A splay is for what can wait; this cannot.
        let tainted = Instant::now();
        until("a new SVID", async || {
            (peers.source.svid().unwrap().leaf().as_bytes() != leaf).then_some(())
        })
        .await;
        assert!(tainted.elapsed() < Duration::from_secs(5), "{:?}", tainted.elapsed());
        // Nothing breaks yet: the tainted root is still in the bundle.
        peers.shake_hands(&lost).await.unwrap();
        step(&[&["revoke", &first][..], &reason].concat()).await.succeeded();
        let revoked = Instant::now();
        until("the refusal of the old chain", async || {
            peers.shake_hands(&lost).await.is_err().then_some(())
        })
        .await;
        assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
        stop.store(true, Ordering::Relaxed);
    };
    let ((), rounds) = tokio::join!(forced, load(&peers, &tokens, &stop));
    assert!(rounds > 0);
    peers.shake_hands(&peers.server).await.unwrap();
    assert_eq!(active(&operator, "x509-authority").await, next);
    for kind in ["prepared", "tainted", "revoked"] {
        let leaves = steps(&operator, kind).await;
        assert_eq!(leaves.len(), 1, "{kind}: {leaves:?}");
        let leaf = &leaves[0];
        assert!(kind == "prepared" || leaf.contains(&first) && leaf.contains("a drill"), "{leaf}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_over_one_database_rotate_once_and_sign_with_the_same_key() {
    let Some(server) = database() else { return };
    let fleet = Fleet::new(&server).await;
    let first = fleet.start("a").await;
    // Replicas of one store share the folder of keys.
    fleet.link_keys(&first, "b");
    let second = fleet.start("b").await;
    let (one, other) = (first.operator(), second.operator());
    let prepared = one.json(&["authority", "prepare", "access-token"]).await;
    let next = prepared["key"].as_str().unwrap().to_owned();
    let jwks = async |replica: &crate::fleet::Replica| {
        let http = Http::trusting(&replica.place.ca_file);
        http.send(Call::get(&replica.place.jwks_url)).await.expect(200).body
    };
    until("the prepared key at the second replica", async || {
        jwks(&second).await.contains(&next).then_some(())
    })
    .await;
    other.json(&["authority", "activate", &next, "--now", "--reason", "a drill"]).await;
    until("the active key at the first replica", async || {
        (active(&one, "access-token").await == next).then_some(())
    })
    .await;
    let refused = one.run(&["authority", "activate", &next, "--now", "--reason", "again"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");

    // What either signs verifies at the other.
    let program = copy_of_this_program("fleet-authorities");
    one.register(&first.place.id(crate::fleet::AGENT), "agent", &program).await;
    let here = first.client(&program).await;
    let intent = here.ask_rotation().await;
    one.approve(&intent).await;
    let token = here.exchange(&intent).await.expect(200).text("access_token");
    let header = crate::support::tokens::header(&token);
    assert!(header["kid"].as_str().unwrap().starts_with(&next), "{header}");
    assert!(jwks(&second).await.contains(header["kid"].as_str().unwrap()), "{header}");
    for kind in ["prepared", "activated"] {
        assert_eq!(steps(&one, kind).await.len(), 1, "{kind}");
    }
}
