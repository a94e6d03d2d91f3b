//! The daemon's own log: one line an event on standard error, at the levels that `RUST_LOG` names, `info` unless it does.
//!
//! It is for the people who run the daemon and holds no token and no key; what was decided is in the audit log.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Begins to write the log. For commands that serve; the others say what they have to say as their answer.
pub(crate) fn start() {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    // Only a test that serves twice in one process comes here a second time.
    drop(started);
}
