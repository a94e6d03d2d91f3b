//! What a durable record costs, and how fast a log is verified.
//!
//! `cargo bench --bench audit` prints records per second on SQLite (WAL, `synchronous=FULL`) and, where
//! `MARQUE_TEST_POSTGRES_URL` names a server, on PostgreSQL, for 1 and for 64 callers at once, beside a bare file to which a
//! thread writes all that wait with one `fdatasync`; then the leaves per second of a verification, from the store and from
//! memory, beside the hashes of their bytes alone.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

mod bare;
mod engine;
mod verify;

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use marque_audit::{Event, EventKind, LogStore as _};
use marque_store::Store;
use marque_testkit::START;

const CALLERS: [usize; 2] = [1, 64];
const FEW: usize = 1_000;
const MANY: usize = 40_000;

fn main() {
    // `cargo bench -- --list` and the like want no measurement.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
    }
}

async fn measure() {
    let scratch = tempfile::tempdir().expect("a folder");
    println!("\n## Durable records");
    println!("\n| log | callers | records per second | p50 µs | p99 µs |");
    println!("|---|---:|---:|---:|---:|");
    for callers in CALLERS {
        let bare = bare::GroupCommit::start(&scratch.path().join(format!("bare-{callers}")));
        let bare = Arc::new(bare);
        let write = |_: usize| -> BoxFuture<'static, ()> {
            let bare = Arc::clone(&bare);
            Box::pin(async move { bare.write(RECORD).await })
        };
        print("bare group commit", callers, write).await;
    }
    let engines = engine::all(scratch.path()).await;
    for engine in &engines {
        for callers in CALLERS {
            let append = |at: usize| -> BoxFuture<'static, ()> {
                let store: Arc<Store> = Arc::clone(&engine.store);
                Box::pin(async move {
                    store.append(event(at)).await.expect("recorded");
                })
            };
            print(engine.name, callers, append).await;
        }
    }
    println!("\n## Verification");
    println!("\n| leaves | from | leaves per second |");
    println!("|---:|---|---:|");
    for engine in &engines {
        verify::measure(engine).await;
    }
    for engine in engines {
        engine.end().await;
    }
}

/// As large as a leaf is.
const RECORD: [u8; 700] = [0x5a; 700];

/// An event as they are: a token of an intent.
fn event(at: usize) -> Event {
    let playbook = marque_audit::PlaybookPin {
        id: "ingress-cert-rotation".to_owned(),
        version: 7,
        digest: format!("sha256:{}", "a1".repeat(32)),
    };
    Event::new(EventKind::IntentRequested, START)
        .with_agent("spiffe://prod.example.org/agent/cert-rotator/one".parse().expect("an ID"))
        .with_intent(format!("int_{at:026}"))
        .with_playbook(playbook)
        .with_grant_digest(format!("sha256:{}", "b2".repeat(32)))
        .with_ticket("CHG-1842")
        .with_audience(["https://ingress.prod.example.org"])
}

async fn print(name: &str, callers: usize, record: impl Fn(usize) -> BoxFuture<'static, ()>) {
    let count = if callers == 1 { FEW } else { MANY };
    let started = Instant::now();
    let mut taken: Vec<f64> = futures::stream::iter(0..count)
        .map(|at| {
            let recorded = record(at);
            async move {
                let started = Instant::now();
                recorded.await;
                started.elapsed().as_secs_f64() * 1e6
            }
        })
        .buffer_unordered(callers)
        .collect()
        .await;
    let seconds = started.elapsed().as_secs_f64();
    taken.sort_by(f64::total_cmp);
    let per_second = f64::from(u32::try_from(count).expect("few")) / seconds;
    println!(
        "| {name} | {callers} | {per_second:.0} | {:.0} | {:.0} |",
        taken[count / 2],
        taken[count * 99 / 100],
    );
}
