//! The Workload API beside bare tonic: the same messages over the same kind of socket, measured in the same run and in
//! turns, so that a busy machine disturbs both alike.
//!
//! `cargo bench --bench workload_api` measures everything; `-- cached connect entry fanout memory` chooses. The number
//! of open streams is 1,000 unless `MARQUE_BENCH_STREAMS` says otherwise. The server is a process of its own, played by
//! this program; where an entry is created it is the real daemon with its store and log, and who holds the streams is a
//! process of its own too, because an operator must not be an agent.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and fails by a panic that says why"
)]

mod bare;
mod cached;
mod callers;
mod child;
mod connect;
mod entry;
mod fanout;
mod figures;
mod holder;
mod memory;
mod ours;
mod protocol;
#[expect(dead_code, reason = "the end-to-end tests use the rest of it")]
#[path = "../../tests/e2e/support/mod.rs"]
mod support;

/// As the daemon does with this feature, so that its figures can be told from the system allocator's.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    allow_many_descriptors();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if support::agent::is_a_part() {
        return runtime.block_on(support::agent::play());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [part, rest @ ..] = &arguments[..]
        && part == child::PART
    {
        return runtime.block_on(play(rest));
    }
    // `cargo bench -- --list` and the like want no measurement.
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| *argument != "--bench").collect();
    if wanted.iter().all(|argument| !argument.starts_with('-')) {
        runtime.block_on(measure(&wanted));
    }
}

async fn play(arguments: &[String]) {
    match arguments {
        [part, socket] if part == bare::PART => bare::serve(socket.as_ref()).await,
        [part, socket] if part == ours::PART => ours::serve(socket.as_ref()).await,
        [part, socket, connections, streams] if part == holder::PART => {
            let count = |text: &String| text.parse().expect("a number");
            holder::hold(socket.as_ref(), count(connections), count(streams)).await;
        }
        _other => panic!("no such part: {arguments:?}"),
    }
}

async fn measure(wanted: &[&str]) {
    let wants = |name| wanted.is_empty() || wanted.contains(&name);
    let streams = figures::streams();
    if wants("cached") {
        cached::measure().await;
    }
    if wants("connect") {
        connect::measure().await;
    }
    if wants("callers") {
        callers::measure(streams).await;
    }
    if wants("entry") {
        entry::measure(streams).await;
    }
    if wants("fanout") {
        fanout::measure(streams).await;
    }
    if wants("memory") {
        memory::measure(streams).await;
    }
}

/// Ten thousand connections need more descriptors than a process usually may have.
fn allow_many_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    const WANTED: u64 = 65_536;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    if setrlimit(Resource::RLIMIT_NOFILE, WANTED, hard.max(WANTED)).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("as many as allowed");
    }
}
