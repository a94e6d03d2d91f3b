//! Servers of one trust domain that share roots and keys for tokens as they change: a Marque below another Marque, and below a
//! server of Python's that tells what it should not.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spiffe::WorkloadApiClient;

use crate::authorities::keys;
use crate::support::folder::{append, edit};
use crate::support::http::{Call, Http};
use crate::support::issuer::Issuer;
use crate::support::oauth::{inline_fields, restart};
use crate::support::operator::Operator;
use crate::support::peers::Peers;
use crate::support::programs::this_program;
use crate::support::python::interpreter;
use crate::support::wait::until;
use crate::upstream_spire::{
    BELOW, DOCUMENT, SpireServer, TIERS, roots, signs_for_others, stands_below, upstream,
};

/// What the upstream publishes and takes out is known below it within this, on a machine that does other things as well.
const SOON: Duration = Duration::from_secs(15);

/// Has the bundle fetched each second, so that a key may sign after four.
fn fetched_often(folder: &Path) {
    edit(folder, DOCUMENT, "refresh_hint = \"5m\"", "refresh_hint = \"1s\"");
}

async fn tiers() -> (Issuer, Issuer) {
    let above = Issuer::start_with(TIERS, |folder| {
        fetched_often(folder);
        signs_for_others(folder, 0);
    })
    .await;
    above.operator().register(BELOW, "service", crate::support::programs::marque()).await;
    let below = Issuer::start_with(TIERS, |folder| {
        fetched_often(folder);
        stands_below(folder, &above);
    })
    .await;
    (above, below)
}

async fn active(operator: &Operator) -> String {
    let keys = keys(operator, "x509-authority").await;
    let active = keys.into_iter().find(|(_, state)| state == "active");
    active.expect("an active key").0
}

async fn followed(operator: &Operator) -> Vec<String> {
    let log = operator.run(&["audit", "tail", "--lines", "1000"]).await.succeeded();
    let kind = "\"org.marque.authority.followed\"";
    log.out.lines().filter(|leaf| leaf.contains(kind)).map(str::to_owned).collect()
}

/// Shakes hands both ways without a pause until `stop`, and counts.
async fn load(above: &Peers, below: &Peers, stop: &AtomicBool, rounds: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        above.shake_hands_with(below).await.expect("a handshake from above");
        below.shake_hands_with(above).await.expect("a handshake from below");
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

fn leaf(peers: &Peers) -> Vec<u8> {
    peers.source.svid().expect("an SVID").leaf().as_bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_changes_its_root_and_no_handshake_between_the_tiers_fails() {
    let (mut above, mut below) = tiers().await;
    let (above_id, below_id) = (above.place.id("/service/above"), below.place.id("/service/below"));
    above.operator().register(&above_id, "service", &this_program()).await;
    below.operator().register(&below_id, "service", &this_program()).await;
    let upper = Peers::with(&above.place.workload_api(), &below_id).await;
    let lower = Peers::with(&below.place.workload_api(), &above_id).await;
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let operator = above.operator();
    let step = async |arguments: &[&str]| operator.run(&[&["authority"], arguments].concat()).await;
    let first = active(&operator).await;
    let changing = async {
        let old = roots(&above).await;
        let prepared = step(&["prepare", "x509-authority"]).await.succeeded().json();
        let next = prepared["key"].as_str().expect("a key").to_owned();
        let began = Instant::now();
        until("the new root below", async || (roots(&below).await.len() == 2).then_some(())).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        until("the activation", async || {
            (step(&["activate", &next]).await.code == 0).then_some(())
        })
        .await;
        let (shown, standing) = ([leaf(&upper), leaf(&lower)], active(&below.operator()).await);
        let reason = ["--reason", "a drill"];
        step(&[&["taint", &first][..], &reason].concat()).await.succeeded();
        // Below, another certificate is asked for by itself, and what stood on the old root is issued anew.
        until("SVIDs of the new root", async || {
            let now = [leaf(&upper), leaf(&lower)];
            (now[0] != shown[0] && now[1] != shown[1]).then_some(())
        })
        .await;
        assert_ne!(active(&below.operator()).await, standing);
        let before = rounds.load(Ordering::Relaxed);
        step(&[&["revoke", &first][..], &reason].concat()).await.succeeded();
        let began = Instant::now();
        let known = |peers: &Peers| {
            let name = TIERS.parse().expect("a name");
            let bundle = peers.source.try_bundle_for_trust_domain(&name)?;
            Some(bundle.authorities().len())
        };
        until("the end of the old root at a workload below", async || {
            (known(&lower) == Some(1)).then_some(())
        })
        .await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(roots(&below).await, roots(&above).await);
        assert_ne!(roots(&below).await, old);
        until("handshakes afterwards", async || {
            (rounds.load(Ordering::Relaxed) > before + 10).then_some(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(changing, load(&upper, &lower, &stop, &rounds));
    let leaves = followed(&below.operator()).await;
    assert!(leaves.len() >= 3, "heard, added, tainted, removed: {leaves:?}");
    assert!(leaves.iter().any(|leaf| leaf.contains("roots_removed")), "{leaves:?}");
    let verified = below.operator().json(&["audit", "verify"]).await;
    assert!(verified["size"].as_u64() > Some(1), "{verified}");

    // A start without the upstream keeps what was heard.
    let (heard, keys) = (roots(&below).await, jwt_keys(&below).await);
    above
        .down_while(async {
            below.restart(|| ()).await;
            assert_eq!((roots(&below).await, jwt_keys(&below).await), (heard, keys));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_taken_out_without_notice_is_gone_below_and_another_certificate_is_there() {
    let (above, below) = tiers().await;
    let (above_id, below_id) = (above.place.id("/service/above"), below.place.id("/service/below"));
    above.operator().register(&above_id, "service", &this_program()).await;
    below.operator().register(&below_id, "service", &this_program()).await;
    let upper = Peers::with(&above.place.workload_api(), &below_id).await;
    let lower = Peers::with(&below.place.workload_api(), &above_id).await;
    lower.shake_hands_with(&upper).await.expect("a handshake");
    let (old, lost) = (roots(&below).await, lower.standing_still());
    let operator = above.operator();
    let first = active(&operator).await;
    let next = operator.json(&["authority", "prepare", "x509-authority"]).await;
    let next = next["key"].as_str().expect("a key").to_owned();
    let reason = ["--reason", "a drill"];
    for step in [&["taint", &first][..], &["revoke", &first]] {
        operator.run(&[&["authority"], step, &reason].concat()).await.succeeded();
    }
    assert_eq!(active(&operator).await, next);
    let began = Instant::now();
    until("the end of the old root below", async || {
        let now = roots(&below).await;
        (now.len() == 1 && now != old).then_some(())
    })
    .await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(roots(&below).await, roots(&above).await);
    until("handshakes on the new root", async || {
        lower.shake_hands_with(&upper).await.ok()?;
        upper.shake_hands_with(&lower).await.ok()
    })
    .await;
    assert!(upper.shake_hands(&lost).await.is_err(), "what stood on the old root is refused");
    let leaves = followed(&below.operator()).await;
    assert!(leaves.iter().any(|leaf| leaf.contains("roots_removed")), "{leaves:?}");
}

/// The names of the keys for JWT-SVIDs that a trust domain publishes.
async fn jwt_keys(issuer: &Issuer) -> Vec<String> {
    let http = Http::trusting(&issuer.place.ca_file);
    let bundle = http.send(Call::get(&issuer.place.bundle_url)).await.expect(200).json();
    let keys = bundle["keys"].as_array().unwrap_or_else(|| panic!("{bundle}")).clone();
    let keys = keys.into_iter().filter(|key| key["use"] == "jwt-svid");
    keys.map(|key| key["kid"].as_str().expect("a kid").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_of_above_is_one_below_and_gives_no_rights_there() {
    let above = upstream().await;
    let below = Issuer::start_with(TIERS, |folder| {
        stands_below(folder, &above);
        append(folder, DOCUMENT, "\n[oidc_discovery]\n");
    })
    .await;
    let stranger = above.place.id("/agent/stranger");
    above.operator().register(&stranger, "agent", &this_program()).await;
    let issued = WorkloadApiClient::connect_to(above.place.workload_api()).await.expect("a client");
    let audience = below.place.issuer_url.clone();
    let token = issued.fetch_jwt_svid([audience.as_str()], None).await.expect("a JWT-SVID");
    below.operator().register(&below.place.id("/service/below"), "service", &this_program()).await;
    let validates =
        WorkloadApiClient::connect_to(below.place.workload_api()).await.expect("a client");
    let svid = until("the key of above", async || {
        validates.validate_jwt_token(&audience, token.token()).await.ok()
    })
    .await;
    assert_eq!(svid.spiffe_id().to_string(), stranger);
    let published = jwt_keys(&above).await;
    assert!(published.iter().all(|key| key.starts_with("jwt-svid-a-1-")), "{published:?}");
    let all = jwt_keys(&below).await;
    assert!(published.iter().all(|key| all.contains(key)) && all.len() == 2, "{all:?}");

    // An SVID of above is nobody's who asks below, not even where an entry has the same name; and what clouds fetch to verify
    // those of below has no key of above.
    below.operator().register(&stranger, "agent", Path::new("/bin/true")).await;
    let http = Http::trusting(&below.place.ca_file);
    let fields = inline_fields(token.token(), &restart());
    let answer = http.send(Call::form(&below.place.token_endpoint, &fields)).await;
    answer.oauth_error("invalid_client");
    let keys = Call::get(&format!("{}/svid/keys", below.place.issuer_url));
    let keys = http.send(keys).await.expect(200).json();
    let keys = keys["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(published.iter().all(|above| keys[0]["kid"] != above.as_str()), "{keys:?}");

    let status = below.operator().json(&["status"]).await;
    let upstream = &status[0]["upstream"];
    let at = above.place.downstream.as_ref().expect("a listener").address.clone();
    assert_eq!((&upstream["source"], &upstream["stale"]), (&json!(at), &json!(false)), "{status}");
    assert!(upstream["heard_at"].is_string() && upstream["sequence"].as_u64() > Some(0));
    let listed = below.operator().json(&["authority", "list"]).await;
    let of_above = |key: &&Value| key["state"] == "followed" && key["upstream"] == at.as_str();
    let listed: Vec<&Value> = listed.as_array().expect("keys").iter().filter(of_above).collect();
    let purposes: Vec<_> = listed.iter().map(|key| key["purpose"].as_str().expect("one")).collect();
    assert_eq!(purposes, ["x509-authority", "jwt-svid", "wit-svid"]);
    let shown = below.operator().json(&["bundle", "show"]).await;
    assert_eq!(shown["upstream"][&published[0]], at.as_str(), "{shown}");
    let metrics = below.operator().run(&["metrics"]).await.succeeded().out;
    assert!(metrics.contains("marque_upstream_bundle_stale"), "{metrics}");
}

/// Waits until the server has told its bundle `times` more, having been asked to say this.
async fn says(spire: &SpireServer, word: &str, times: usize) {
    let folder = spire.folder.path();
    fs::write(folder.join("next"), word).expect("a file");
    fs::rename(folder.join("next"), folder.join("says")).expect("a file");
    let told = || {
        let told = fs::read_to_string(folder.join("told")).unwrap_or_default();
        told.lines().filter(|line| *line == word).count()
    };
    let before = told();
    until("what it says to be heard", async || (told() >= before + times).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_cannot_mean_changes_nothing_and_what_is_not_pinned_stays_away() {
    let Some(python) = interpreter() else { return };
    let spire = SpireServer::begin(&python).await;
    let pins = format!("roots = [\"sha256:{}\"]", spire.text("root_sha256"));
    let mut below = Issuer::start_with(TIERS, |folder| spire.above(folder, &pins)).await;
    let of_spire = async |below: &Issuer| jwt_keys(below).await.contains(&"of-spire".to_owned());
    until("the key of the server", async || of_spire(&below).await.then_some(())).await;
    let (one, leaves) = (roots(&below).await, followed(&below.operator()).await.len());
    assert_eq!(one.len(), 1);
    let log = |below: &Issuer| fs::read_to_string(below.path("log")).expect("a log");
    for word in ["empty", "silent", "nonsense", "back"] {
        says(&spire, word, 2).await;
        assert_eq!(roots(&below).await, one, "{word}");
        assert!(of_spire(&below).await, "{word}");
        says(&spire, "good", 1).await;
    }
    assert_eq!(followed(&below.operator()).await.len(), leaves, "and nothing is on record");
    assert!(log(&below).contains("upstream_bundle_no_root"), "{}", log(&below));
    says(&spire, "both", 2).await;
    until("the root that is left out", async || {
        log(&below).contains("upstream_root_not_pinned").then_some(())
    })
    .await;
    assert_eq!(roots(&below).await, one);

    // A restart with both pinned takes the other one as well.
    let file = below.path("t").join(TIERS).join(DOCUMENT);
    let both =
        format!("sha256:{}\", \"sha256:{}", spire.text("root_sha256"), spire.text("other_sha256"));
    let text = fs::read_to_string(&file).expect("the document");
    let text = text.replace(&format!("sha256:{}", spire.text("root_sha256")), &both);
    below.restart(|| fs::write(&file, text).expect("the document")).await;
    until("both roots", async || (roots(&below).await.len() == 2).then_some(())).await;
    says(&spire, "back", 2).await;
    assert_eq!(roots(&below).await.len(), 2);
    assert!(log(&below).contains("upstream_bundle_went_back"), "{}", log(&below));
}
