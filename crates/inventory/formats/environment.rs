//! Files of environment variables, and which variable is a secret.

use std::sync::OnceLock;

use regex::Regex;

use crate::shown::{BEGINNINGS, has_password};
use crate::{Found, Kind, Secret, Standing, looks_privileged};

/// `NAME=VALUE` by the line, with `export` before it or without. A value that begins a block of PEM goes to its end.
pub(super) fn variables(text: &str) -> Vec<Found> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let mut value = value.trim().to_owned();
        while value.contains("-----BEGIN ") && !value.contains("-----END ") {
            let Some(next) = lines.next() else { break };
            value.push('\n');
            value.push_str(next.trim());
        }
        all.extend(secret(name.trim(), &value));
    }
    all
}

/// The secret that a variable holds in clear text, if it does.
pub(super) fn secret(name: &str, value: &str) -> Option<Found> {
    let value = value.trim_matches(['"', '\'']);
    let is_known = BEGINNINGS.iter().any(|beginning| value.starts_with(beginning));
    let is_reference =
        value.starts_with('$') || value.contains("${{") || value.starts_with("op://");
    let is_word = matches!(value.to_ascii_lowercase().as_str(), "" | "true" | "false" | "changeme");
    let is_secret = is_known || is_secret(name) || has_password(value);
    if is_reference || is_word || !is_secret || !is_variable(name) {
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

/// Whether it is a name of a variable at all (POSIX.1-2017 section 8.1), and no part of a value that is shown then.
fn is_variable(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(word)
        && !name.starts_with(|first: char| first.is_ascii_digit())
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
