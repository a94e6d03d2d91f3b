//! The exchange under load that arrives on its own clock: the real issuer over TLS 1.3 with keep-alive, answered after the
//! commit is on disk, on SQLite and, where `MARQUE_TEST_POSTGRES_URL` names a database, on PostgreSQL.
//!
//! Requests are due at fixed instants, whether or not the ones before them were answered, and a latency counts from the
//! instant at which its request was due, so that a stall is felt by all who would have come meanwhile. Client and issuer
//! share the machine. `cargo bench --bench exchange_load` prints a table; words after `--` choose rows (`sqlite`,
//! `postgres`, `cached`, `uncached`, `introspect`), `MARQUE_BENCH_RATES=2000,8000` the rates.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

#[expect(dead_code, reason = "the end-to-end tests use the rest of it")]
#[path = "../../tests/e2e/support/mod.rs"]
mod support;

#[path = "../shared/connection.rs"]
mod connection;
#[path = "../shared/issuer.rs"]
mod issuer;
#[path = "../shared/load.rs"]
mod load;

use std::sync::Arc;
use std::time::Duration;

use support::http::form;
use support::oauth::{ASSERTION_TYPE, exchange_fields};

use self::issuer::{Engine, Running, Setting, post};
use self::load::{Figures, Load};

/// Connections that stay open.
const CONNECTIONS: usize = 64;
/// How long each rate is offered.
const LENGTH: Duration = Duration::from_secs(5);
/// Uses of one intent, so that preparing a row takes less than measuring it.
const USES: usize = 16;
const RATES: [u32; 4] = [2_000, 6_000, 8_000, 15_000];

fn main() {
    if support::agent::is_a_part() {
        return runtime().block_on(support::agent::play());
    }
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo bench -- --list` and the like want no measurement.
    if chosen.iter().all(|argument| !argument.starts_with('-')) {
        runtime().block_on(measure(&chosen));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

async fn measure(chosen: &[String]) {
    let is_chosen = |name: &str, among: &[&str]| {
        let of_kind: Vec<_> = chosen.iter().filter(|word| among.contains(&word.as_str())).collect();
        of_kind.is_empty() || of_kind.iter().any(|word| *word == name)
    };
    println!(
        "\n| engine | SVID | offered per second | answered | p50 µs | p99 µs | issuer's CPU µs each |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    for engine in Engine::here() {
        for (svid, remembered) in [("cached", 4096), ("uncached", 0)] {
            let (engines, svids) = (["sqlite", "postgres"], ["cached", "uncached"]);
            if is_chosen(engine.name(), &engines) && is_chosen(svid, &svids) {
                let setting =
                    Setting { verified_svids: remembered, uses: USES, ..Setting::default() };
                let issuer = Running::start(&engine, &setting).await;
                rows(&issuer, engine.name(), svid).await;
                if svid == "cached" && is_chosen("introspect", &["introspect"]) {
                    introspection(&issuer, engine.name()).await;
                }
            }
        }
    }
}

/// As many as can be, and then each rate.
async fn rows(issuer: &Running, engine: &str, svid: &str) {
    let warm = requests(issuer, 2 * 1024).await;
    let _warm =
        Load { requests: warm, rate: None, status: 200, then: None }.run(issuer, CONNECTIONS).await;
    let flat_out =
        Load { requests: requests(issuer, 16 * 1024).await, rate: None, status: 200, then: None };
    print(engine, svid, "all at once", &flat_out.run(issuer, CONNECTIONS).await);
    for rate in rates() {
        let count = u64::from(rate) * LENGTH.as_secs();
        let count = usize::try_from(count).expect("few");
        let load = Load {
            requests: requests(issuer, count).await,
            rate: Some(rate),
            status: 200,
            then: None,
        };
        print(engine, svid, &rate.to_string(), &load.run(issuer, CONNECTIONS).await);
    }
}

/// One live token, asked about by its resource server.
async fn introspection(issuer: &Running, engine: &str) {
    let client = issuer.client();
    let intent = client.ask_restart().await;
    let token = client.exchange(&intent).await.expect(200).text("access_token");
    let fields = [
        ("token", token.as_str()),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", client.svid.as_str()),
    ];
    let request: Arc<[u8]> = form_post(&client.place.introspection_endpoint(), &fields).into();
    for rate in [None, Some(4_000)] {
        let load =
            Load { requests: vec![Arc::clone(&request); 16 * 1024], rate, status: 200, then: None };
        let offered = rate.map_or_else(|| "all at once".to_owned(), |rate| rate.to_string());
        print(engine, "introspection", &offered, &load.run(issuer, CONNECTIONS).await);
    }
}

/// Token requests, each for a use of its own.
async fn requests(issuer: &Running, count: usize) -> Vec<Arc<[u8]>> {
    let client = issuer.client();
    let mut requests = Vec::with_capacity(count);
    while requests.len() < count {
        let intents = futures::future::join_all((0..16).map(|_| client.ask_restart())).await;
        for intent in intents {
            let form = exchange_fields(&client.svid, &intent);
            let request: Arc<[u8]> = form_post(&client.place.token_endpoint, &form).into();
            requests.extend(std::iter::repeat_n(request, USES));
        }
    }
    // The uses of one intent are not asked for in one breath.
    let spread = requests.len() / USES;
    let mut spread_out: Vec<_> = (0..requests.len())
        .map(|at| Arc::clone(&requests[at % spread * USES + at / spread]))
        .collect();
    spread_out.truncate(count);
    spread_out
}

/// The bytes of a form post.
fn form_post<V: AsRef<str>>(url: &str, fields: &[(&str, V)]) -> Vec<u8> {
    post(url, "Content-Type: application/x-www-form-urlencoded", &form(fields))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is told its rates by the environment")]
fn rates() -> Vec<u32> {
    match std::env::var("MARQUE_BENCH_RATES") {
        Ok(rates) => rates.split(',').map(|rate| rate.parse().expect("a rate")).collect(),
        Err(_) => RATES.to_vec(),
    }
}

fn print(engine: &str, svid: &str, offered: &str, figures: &Figures) {
    let Figures { per_second, p50, p99, cpu } = figures;
    println!(
        "| {engine} | {svid} | {offered} | {per_second:.0} | {p50:.0} | {p99:.0} | {cpu:.0} |"
    );
}
