//! The environment, read in one place and once: where state lives and what `dev` may take from it.

use std::path::PathBuf;

/// Names the sealing key of `marque dev` directly (64 hexadecimal characters); no other command reads it.
pub const SEALING_KEY_VARIABLE: &str = "MARQUE_SEALING_KEY";

/// The folder where `marque dev` keeps its state unless `--data-dir` names another:
/// `$XDG_STATE_HOME/marque`, else `$HOME/.local/state/marque`, else `.marque` in the current folder.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if let Some(state) =
        variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    {
        return state.join("marque");
    }
    match variable("HOME") {
        Some(home) => PathBuf::from(home).join(".local/state/marque"),
        None => PathBuf::from(".marque"),
    }
}

/// The sealing key that the environment names, for `marque dev` alone.
#[must_use]
pub fn dev_sealing_key() -> Option<String> {
    variable(SEALING_KEY_VARIABLE)
}

/// The Workload API address that SPIFFE clients are told (WE-4): `SPIFFE_ENDPOINT_SOCKET`.
#[must_use]
pub fn spiffe_endpoint_socket() -> Option<String> {
    variable("SPIFFE_ENDPOINT_SOCKET")
}

/// A variable of the OpenTelemetry specification; the name comes without `OTEL_`.
#[must_use]
pub fn otel(name: &str) -> Option<String> {
    variable(&format!("OTEL_{name}"))
}

/// The trace that this command is part of, as its caller names it (W3C Trace Context, environment variables).
#[must_use]
pub fn traceparent() -> Option<String> {
    variable("TRACEPARENT")
}

#[expect(clippy::disallowed_methods, reason = "config.rs is the one reader of the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
