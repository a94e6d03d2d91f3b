//! An exchange as an agent sees it: HTTPS with keep-alive to the real daemon, answered after the commit is on disk
//! (SQLite, WAL, `synchronous=FULL`), beside a bare record with `fdatasync` on the same disk in the same run.
//!
//! Client, server and floor share the machine. `cargo bench --bench exchange_https` prints a table, the ratio first.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

#[expect(dead_code, reason = "the end-to-end tests use the rest of it")]
#[path = "../tests/e2e/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use support::daemon::{Daemon, RESTARTER};
use support::http::{Call, Http};
use support::oauth::{Client, exchange_fields};

/// Exchanges of one measurement.
const EXCHANGES: usize = 640;
/// Bare records beside those of many connections.
const FLOORS: usize = 160;
const ROUNDS: usize = 8;
const CONNECTIONS: usize = 16;
/// A leaf with its row, as in the figures of docs/benchmarks.md.
const RECORD: [u8; 400] = [0x5a; 400];

fn main() {
    if support::agent::is_a_part() {
        return runtime().block_on(support::agent::play());
    }
    // `cargo bench -- --list` and the like want no measurement.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        runtime().block_on(measure());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

async fn measure() {
    let daemon = Daemon::start().await;
    let client = Client::start(&daemon, RESTARTER).await;
    let floor = Floor::new(&daemon.path("floor"));
    println!(
        "\n| ratio to the floor | exchange over HTTPS, durable | p50 µs | p99 µs | per second | floor |"
    );
    println!("|---:|---|---:|---:|---:|---:|");
    one_by_one(&client, &floor).await;
    side_by_side(&client, &floor).await;
}

/// One connection: an exchange and a bare record in turns, by the time that each takes.
async fn one_by_one(client: &Client, floor: &Floor) {
    let (mut taken, mut bare) = (Vec::new(), Vec::new());
    for call in prepare(client, EXCHANGES).await {
        bare.push(floor.record());
        taken.extend(exchange_all(&client.http, &[call], 1));
    }
    let per_second = 1e6 * count(&taken) / taken.iter().sum::<f64>();
    let (p50, p99) = (percentile(&mut taken, 50), percentile(&mut taken, 99));
    let floor = percentile(&mut bare, 50);
    println!(
        "| {:.2}× the time | 1 connection | {p50:.0} | {p99:.0} | {per_second:.0} | {floor:.0} µs |",
        p50 / floor
    );
}

/// Many connections share commits: rounds of exchanges and of bare records in turns, by how many are done in a second.
async fn side_by_side(client: &Client, floor: &Floor) {
    let (mut taken, mut seconds, mut bare) = (Vec::new(), 0.0, Vec::new());
    for _ in 0..ROUNDS {
        let calls = prepare(client, EXCHANGES / ROUNDS).await;
        bare.extend((0..FLOORS / ROUNDS).map(|_| floor.record()));
        let started = Instant::now();
        taken.extend(exchange_all(&client.http, &calls, CONNECTIONS));
        seconds += started.elapsed().as_secs_f64();
    }
    let (per_second, floor) =
        (count(&taken) / seconds, 1e6 * count(&bare) / bare.iter().sum::<f64>());
    let (p50, p99) = (percentile(&mut taken, 50), percentile(&mut taken, 99));
    println!(
        "| {:.1}× the rate | {CONNECTIONS} connections | {p50:.0} | {p99:.0} | {per_second:.0} | {floor:.0} a second |",
        per_second / floor
    );
}

/// Token requests for that many approved intents of one use each.
async fn prepare(client: &Client, count: usize) -> Vec<Call> {
    let mut calls = Vec::with_capacity(count);
    while calls.len() < count {
        let wanted = (count - calls.len()).min(16);
        let intents = futures::future::join_all((0..wanted).map(|_| client.ask_restart())).await;
        calls.extend(intents.iter().map(|intent| {
            Call::form(&client.place.token_endpoint, &exchange_fields(&client.svid, intent))
        }));
    }
    calls
}

/// Sends every call over that many connections; microseconds that each took.
fn exchange_all(http: &Http, calls: &[Call], connections: usize) -> Vec<f64> {
    let share = calls.len().div_ceil(connections);
    std::thread::scope(|scope| {
        let workers: Vec<_> = calls
            .chunks(share)
            .map(|calls| {
                scope.spawn(move || {
                    let one = |call| {
                        let started = Instant::now();
                        http.send_blocking(call).expect("an answer").expect(200);
                        started.elapsed().as_secs_f64() * 1e6
                    };
                    calls.iter().map(one).collect::<Vec<f64>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("the worker ends")).collect()
    })
}

/// A log file as cheap as they come: its space is there already, a record is one write and one `fdatasync`.
struct Floor {
    file: File,
    at: Cell<u64>,
}

impl Floor {
    fn new(file: &Path) -> Self {
        let mut file = File::options().create_new(true).write(true).open(file).expect("a file");
        file.write_all(&vec![0; RECORD.len() * (EXCHANGES + FLOORS)]).expect("room");
        file.sync_all().expect("fsync");
        Self { file, at: Cell::new(0) }
    }

    /// Writes one record and waits until it is on disk; microseconds that it took.
    fn record(&self) -> f64 {
        let started = Instant::now();
        self.file.write_all_at(&RECORD, self.at.get()).expect("a record");
        self.file.sync_data().expect("fdatasync");
        self.at.set(self.at.get() + RECORD.len() as u64);
        started.elapsed().as_secs_f64() * 1e6
    }
}

fn count(samples: &[f64]) -> f64 {
    f64::from(u32::try_from(samples.len()).expect("few"))
}

fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() * percent / 100]
}
