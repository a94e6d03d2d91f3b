//! What a decision costs: Cedar's answer to one question, a folder of ten thousand playbooks, and a request that policy
//! alone approves, answered after the commit is on disk.
//!
//! `cargo bench --bench decisions` measures all of it; words after `--` choose parts (`cedar`, `playbooks`, `sqlite`,
//! `postgres`). PostgreSQL is measured where `MARQUE_TEST_POSTGRES_URL` names a server.

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

mod cedar;
#[path = "../shared/connection.rs"]
mod connection;
mod durable;
#[path = "../shared/issuer.rs"]
mod issuer;
#[path = "../shared/load.rs"]
mod load;
mod playbooks;
#[path = "../shared/ratio.rs"]
mod ratio;

use self::issuer::Engine;

fn main() {
    if support::agent::is_a_part() {
        return runtime().block_on(support::agent::play());
    }
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo bench -- --list` and the like want no measurement.
    if chosen.iter().any(|argument| argument.starts_with('-')) {
        return;
    }
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    if is_chosen("cedar") {
        cedar::measure();
    }
    if is_chosen("playbooks") {
        playbooks::measure();
    }
    let engines = Engine::here().into_iter().filter(|engine| is_chosen(engine.name()));
    runtime().block_on(durable::measure(engines.collect()));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}
