//! Files of environment variables, and which variable is a secret.

use std::sync::OnceLock;

use regex::Regex;

use crate::{Found, Kind, Secret, Standing, looks_privileged};

/// What secrets of services that are widely used begin with.
const BEGINNINGS: [&str; 14] = [
    "AKIA",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "sk-",
    "npm_",
    "pypi-",
    "AIza",
    "-----BEGIN ",
];

/// `NAME=VALUE` by the line, with `export` before it or without.
pub(super) fn variables(text: &str) -> Vec<Found> {
    let variable = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        secret(name.trim(), value.trim())
    };
    text.lines().filter_map(variable).collect()
}

/// The secret that a variable holds in clear text, if it does.
pub(super) fn secret(name: &str, value: &str) -> Option<Found> {
    let value = value.trim_matches(['"', '\'']);
    let is_known = BEGINNINGS.iter().any(|beginning| value.starts_with(beginning));
    let is_reference =
        value.starts_with('$') || value.contains("${{") || value.starts_with("op://");
    let is_word = matches!(value.to_ascii_lowercase().as_str(), "" | "true" | "false" | "changeme");
    if is_reference || is_word || !(is_known || is_secret(name)) {
        return None;
    }
    Some(Found {
        kind: Kind::EnvironmentSecret,
        name: name.to_owned(),
        principal: None,
        reach: format!("env:{name}"),
        standing: Standing::Static,
        privileged: looks_privileged(&name.replace('_', "-")),
        secret: Some(Secret::new(value)),
    })
}

/// Whether a variable's name says that it is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    static NAMES: OnceLock<Option<Regex>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let words = "token|secret|password|passwd|pwd|api_?key|access_?key|private_?key|credentials?|dsn|auth";
        Regex::new(&format!(r"(?i)(^|_)({words})s?($|_)")).ok()
    });
    // An id or a file's name is no secret.
    let names_another = ["_id", "_file", "_path", "_url", "_name", "_ttl", "_expiry"];
    let lower = name.to_ascii_lowercase();
    names.as_ref().is_some_and(|names| names.is_match(name))
        && !names_another.iter().any(|end| lower.ends_with(end))
}
