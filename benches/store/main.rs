//! What a redeemed use costs in storage alone: no cryptography, no network, SQLite (WAL, `synchronous=FULL`).
//!
//! `cargo bench --bench store` prints, for 1 and for 64 callers at once, how many uses are redeemed in a second and how
//! much processor time each takes in this process, beside a bare record with `fdatasync` on the same disk.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use marque_exchange::{Carried, Redemption, TokenId, TokenKind, TokenRecord, TokenStore as _};
use marque_intent::{
    Delivery, Digest, Grant, GrantTerms, Intent, IntentId, IntentStore as _, PinnedPlaybook, Ruling,
};
use marque_store::{SqliteStore, Store};
use marque_testkit::{FixedClock, START, SeededRandom};

const CALLERS: [usize; 2] = [1, 64];
const FEW: usize = 1_000;
const MANY: usize = 20_000;
const RECORD: [u8; 400] = [0x5a; 400];

fn main() {
    // `cargo bench -- --list` and the like want no measurement.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
    }
}

async fn measure() {
    let scratch = tempfile::tempdir().expect("a folder");
    let random = SeededRandom::new(1);
    let domain = "prod.example.org".parse().expect("a trust domain");
    let clock = Arc::new(FixedClock::new(START));
    let path = scratch.path().join("store.sqlite");
    let store = Arc::new(SqliteStore::open(&path, &domain, clock).await.expect("a store"));
    println!(
        "\n| callers | redeemed per second | p50 µs | p99 µs | CPU µs each | bare record µs |"
    );
    println!("|---:|---:|---:|---:|---:|---:|");
    for callers in CALLERS {
        let count = if callers == 1 { FEW } else { MANY };
        let intents = submit(&store, &random, count).await;
        let bare = floor(&scratch.path().join(format!("floor-{callers}")));
        let (cpu, started) = (cpu_time(), Instant::now());
        let mut taken: Vec<f64> = futures::stream::iter(intents)
            .map(|intent| {
                let (store, redemption) = (Arc::clone(&store), redemption(&intent, &random));
                async move {
                    let started = Instant::now();
                    store.redeem(redemption).await.expect("a use");
                    started.elapsed().as_secs_f64() * 1e6
                }
            })
            .buffer_unordered(callers)
            .collect()
            .await;
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_time() - cpu);
        taken.sort_by(f64::total_cmp);
        let each = |time: f64| time / f64::from(u32::try_from(count).expect("few"));
        println!(
            "| {callers} | {:.0} | {:.0} | {:.0} | {:.1} | {bare:.0} |",
            1.0 / each(seconds),
            taken[count / 2],
            taken[count * 99 / 100],
            each(cpu.as_secs_f64()) * 1e6,
        );
    }
}

async fn submit(store: &Arc<Store>, random: &SeededRandom, count: usize) -> Vec<Intent> {
    let opened = (0..count).map(|_| {
        let ruling = Ruling::Approve { rules: vec!["low-risk".to_owned()] };
        Intent::open(grant(random), None, ruling, START)
    });
    futures::stream::iter(opened)
        .map(|(intent, events)| async move {
            store.submit(intent, events, None).await.expect("kept").into_intent()
        })
        .buffer_unordered(256)
        .collect()
        .await
}

fn redemption(intent: &Intent, random: &SeededRandom) -> Redemption {
    Redemption {
        intent: intent.id().clone(),
        agent: intent.agent().clone(),
        grant_digest: *intent.grant().digest(),
        carried: Carried::default(),
        deferral: None,
        token: TokenRecord {
            id: TokenId::generate(random, START).expect("an id"),
            intent: intent.id().clone(),
            kind: TokenKind::AccessToken,
            client: intent.agent().clone(),
            through: Vec::new(),
            parent: None,
            ancestors: Vec::new(),
            keys_above: Vec::new(),
            root: None,
            root_groups: Default::default(),
            confirmation: None,
            single_use: false,
            used_at: None,
            status_index: None,
            audiences: intent.grant().audiences.clone(),
            issued_at: START,
            expires_at: START.checked_add(Duration::from_secs(60)).expect("in time"),
            epoch: 0,
            revoked_at: None,
        },
        transaction: None,
        proofs: Vec::new(),
        now: START,
    }
}

fn grant(random: &SeededRandom) -> Grant {
    let detail = serde_json::json!({
        "type": "k8s_object",
        "locations": ["https://k8s.eu-west-1.prod.example.org"],
        "actions": ["get", "patch"],
        "identifier": "ns/ingress/secret/checkout-tls",
    });
    Grant::seal(GrantTerms {
        authorization_details: vec![serde_json::from_value(detail).expect("a detail")],
        ..terms(random)
    })
    .expect("a grant")
}

fn terms(random: &SeededRandom) -> GrantTerms {
    let document = serde_json::json!({
        "intent_id": IntentId::generate(random, START).expect("an id"),
        "trust_domain": "prod.example.org",
        "tenant": "example",
        "agent": "spiffe://prod.example.org/agent/cert-rotator/one",
        "playbook": PinnedPlaybook {
            id: "ingress-cert-rotation".parse().expect("an id"),
            version: 7,
            digest: Digest::of(b"playbook"),
            title: "Rotate the TLS certificate of one production ingress".to_owned(),
            owner: "group:platform-sre".to_owned(),
            data_classes: vec!["tls_material".to_owned()],
            purpose: None,
        },
        "parameters": {"service": "checkout", "region": "eu-west-1"},
        "audiences": ["https://ingress.prod.example.org"],
        "scopes": ["secrets.update"],
        "authorization_details": [],
        "resources": ["k8s://eu-west-1/ns/ingress/secret/checkout-tls"],
        "delivery": Delivery::Token,
        "uses": 1,
        "token_lifetime_s": 300,
        "request_ttl_s": 1800,
        "start_within_s": 900,
        "max_duration_s": 600,
        "not_before": START,
        "not_after": START.checked_add(Duration::from_secs(7200)).expect("in time"),
        "policy_set_digest": Digest::of(b"policy"),
        "risk": 40,
    });
    serde_json::from_value(document).expect("terms")
}

/// Microseconds of one bare record, the median of a hundred.
fn floor(path: &std::path::Path) -> f64 {
    let mut file = File::options().create_new(true).write(true).open(path).expect("a file");
    file.write_all(&[0; RECORD.len() * 100]).expect("room");
    file.sync_all().expect("fsync");
    let mut taken: Vec<f64> = (0..100_u64)
        .map(|at| {
            let started = Instant::now();
            file.write_all_at(&RECORD, at * RECORD.len() as u64).expect("a record");
            file.sync_data().expect("fdatasync");
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[50]
}

/// Processor time of this process so far.
fn cpu_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .expect("the usage of this process");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| {
            Duration::from_secs(time.tv_sec().unsigned_abs())
                + Duration::from_micros(time.tv_usec().unsigned_abs())
        })
        .sum()
}
