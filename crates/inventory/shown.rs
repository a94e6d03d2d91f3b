//! What a report may show of what a file says: names and addresses, without logins in them and without what looks like a secret.

use std::path::PathBuf;
use std::sync::OnceLock;

use regex::Regex;
use serde::{Serialize, Serializer};

/// What secrets of services that are widely used begin with.
pub(crate) const BEGINNINGS: [&str; 14] = [
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
/// In place of what is not shown.
const HIDDEN: &str = "(hidden)";
/// From this length on, letters and digits in one run are a token and no name.
const MAX_RUN: usize = 28;

/// An address without the login, the query and the fragment that it may have.
pub(crate) fn address(text: &str) -> String {
    static LOGINS: OnceLock<Option<Regex>> = OnceLock::new();
    // To the last `@`: a password may have any character that should have been escaped.
    let logins = LOGINS.get_or_init(|| Regex::new(r"([A-Za-z][A-Za-z0-9+.-]*://)\S*@").ok());
    let Some(logins) = logins else { return HIDDEN.to_owned() };
    let text = logins.replace_all(text, "$1");
    let end = text.find(['?', '#']).unwrap_or(text.len());
    text.get(..end).unwrap_or(HIDDEN).to_owned()
}

/// A name, unless it looks like a secret.
pub(crate) fn name(text: &str) -> String {
    let begins = BEGINNINGS.iter().any(|beginning| text.starts_with(beginning));
    let is_run = |run: &str| {
        run.len() >= MAX_RUN
            && run.bytes().any(|byte| byte.is_ascii_digit())
            && run.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let runs = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    if begins || runs.into_iter().any(is_run) { HIDDEN.to_owned() } else { address(text) }
}

/// Whether an address has a login with a password in it.
pub(crate) fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let Some((login, _host)) = rest.rsplit_once('@') else { return false };
    login.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

/// A path as text, whatever bytes it is made of.
#[expect(clippy::ptr_arg, reason = "serde hands the field over as it is")]
pub(crate) fn path<S: Serializer>(path: &PathBuf, serializer: S) -> Result<S::Ok, S::Error> {
    path.to_string_lossy().serialize(serializer)
}

/// Paths as texts, whatever bytes they are made of.
#[expect(clippy::ptr_arg, reason = "serde hands the field over as it is")]
pub(crate) fn paths<S: Serializer>(paths: &Vec<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_login_and_no_query() {
        for (text, expected) in [
            ("https://alice:canary@index.example.org/simple", "https://index.example.org/simple"),
            ("kubernetes:https://u:ca/na@ry@k8s.example.org", "kubernetes:https://k8s.example.org"),
            ("https://k8s.example.org/?key=canary", "https://k8s.example.org/"),
            ("https://k8s.example.org#canary", "https://k8s.example.org"),
            ("host:api.example.org", "host:api.example.org"),
        ] {
            assert_eq!(address(text), expected);
        }
    }

    #[test]
    fn what_looks_like_a_token_is_no_name() {
        for text in ["ghp_canary", "npm_canary", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(name(text), HIDDEN, "{text}");
        }
        let arn = "arn:aws:iam::123456789012:role/OrganizationAccountAccessRole";
        for text in ["alice", "kubernetes-admin@prod", arn] {
            assert_eq!(name(text), text);
        }
    }

    #[test]
    fn a_login_with_a_password_is_seen() {
        assert!(has_password("postgres://app:canary@db.example.org/app"));
        for text in ["postgres://app@db.example.org/app", "postgres://app:@db", "canary:x@y"] {
            assert!(!has_password(text), "{text}");
        }
    }
}
