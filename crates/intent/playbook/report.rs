//! What the checks of one playbook have found so far, and the checks of texts that all sections share.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;

use super::PlaybookError;
use super::lines::Lines;
use crate::secrets::looks_like_secret;

const MAX_TEXT: usize = 200;
/// The most entries that a list of a playbook has.
pub(crate) const MAX_ITEMS: usize = 64;
pub(crate) const LIKE_A_SECRET: &str =
    "looks like a secret, and tokens, approvers and the log would show it";

/// What is wrong so far.
pub(crate) struct Report<'a> {
    pub(super) lines: Lines<'a>,
    pub(super) errors: Vec<PlaybookError>,
}

impl Report<'_> {
    pub(crate) fn refuse(&mut self, path: &str, message: impl Display) {
        self.errors.push(PlaybookError::new(self.lines.of(path), format!("`{path}`: {message}")));
    }

    pub(crate) fn require(&mut self, holds: bool, path: &str, message: impl Display) {
        if !holds {
            self.refuse(path, message);
        }
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, path: &str, text: &str) -> Option<T> {
        self.keep(path, text.parse())
    }

    pub(crate) fn keep<T, E: Display>(&mut self, path: &str, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(path, error);
                None
            }
        }
    }
}

pub(crate) fn check_text(report: &mut Report<'_>, path: &str, text: &str) {
    let fits = !text.trim().is_empty()
        && text.chars().count() <= MAX_TEXT
        && !text.chars().any(char::is_control);
    report.require(fits, path, format!("has 1 to {MAX_TEXT} characters on one line"));
}

/// Text that tokens show.
pub(crate) fn check_claim_text(report: &mut Report<'_>, path: &str, text: &str) {
    check_text(report, path, text);
    report.require(!looks_like_secret(text), path, LIKE_A_SECRET);
}

/// Nothing that is written in the file looks like a secret.
pub(crate) fn check_literals(path: &str, value: &Value, report: &mut Report<'_>) {
    match value {
        Value::String(text) => report.require(!looks_like_secret(text), path, LIKE_A_SECRET),
        Value::Array(items) => items.iter().for_each(|item| check_literals(path, item, report)),
        Value::Object(members) => {
            members.values().for_each(|member| check_literals(path, member, report));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
