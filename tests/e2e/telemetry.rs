//! What the daemon tells whoever watches over it: health that is true, the six numbers, traces with one id, a live view.

mod health;
mod numbers;
mod prometheus;
mod traces;

use std::path::{Path, PathBuf};

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::operator::run_marque;

const DOMAIN: (&str, &str) = ("trust_domain", PRODUCTION);

/// What a command of the operator says to a person.
async fn in_words(daemon: &Daemon, command: &[&str]) -> String {
    let endpoints = daemon.endpoints_file();
    let place = ["--endpoints", endpoints.to_str().unwrap(), "--trust-domain", PRODUCTION];
    let arguments: Vec<String> =
        place.iter().chain(command).map(|argument| (*argument).to_owned()).collect();
    run_marque(&arguments).await.succeeded().out
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
