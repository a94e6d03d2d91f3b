//! Pipelines of GitHub Actions and GitLab: the stored secrets that they name, and whether they get identity tokens instead.
//!
//! The secrets themselves are at the CI service. What is written out in a pipeline is a secret in a file.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

use super::environment::{is_secret, secret};
use crate::{Found, Kind, Standing, looks_privileged};

/// The token that a job of GitHub Actions gets for itself ends with the job.
const OF_THE_JOB: &str = "GITHUB_TOKEN";

pub(super) fn github(document: &Value) -> Vec<Found> {
    static NAMED: OnceLock<Option<Regex>> = OnceLock::new();
    let named = NAMED.get_or_init(|| {
        Regex::new(r#"secrets\s*(?:\.\s*|\[\s*['"])([A-Za-z_][A-Za-z0-9_]*)"#).ok()
    });
    let (mut names, mut all) = (BTreeSet::new(), Vec::new());
    strings(document, &mut |text| {
        let found = named.iter().flat_map(|named| named.captures_iter(text));
        names.extend(found.filter_map(|found| Some(found.get(1)?.as_str().to_owned())));
    });
    names.remove(OF_THE_JOB);
    all.extend(names.into_iter().map(stored));
    if members(document, "permissions")
        .any(|value| value.get("id-token").and_then(Value::as_str) == Some("write"))
    {
        all.push(federated("id-token"));
    }
    all.extend(members(document, "env").flat_map(written_out));
    all
}

pub(super) fn gitlab(documents: &[Value]) -> Vec<Found> {
    static NAMED: OnceLock<Option<Regex>> = OnceLock::new();
    let named = NAMED.get_or_init(|| Regex::new(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)").ok());
    let (mut names, mut all, mut own) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for document in documents {
        for variables in members(document, "variables") {
            own.extend(variables.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
            all.extend(written_out(variables));
        }
        for tokens in members(document, "id_tokens") {
            own.extend(tokens.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
            all.push(federated("id_tokens"));
        }
        strings(document, &mut |text| {
            let found = named.iter().flat_map(|named| named.captures_iter(text));
            let found = found.filter_map(|found| Some(found.get(1)?.as_str().to_owned()));
            // What the runner itself provides ends with the job.
            names.extend(found.filter(|name| is_secret(name) && !name.starts_with("CI_")));
        });
    }
    all.extend(names.difference(&own).cloned().map(stored));
    all
}

fn stored(name: String) -> Found {
    Found {
        kind: Kind::CiStoredSecret,
        reach: format!("ci:{name}"),
        principal: None,
        standing: Standing::Static,
        privileged: looks_privileged(&name.replace('_', "-")),
        secret: None,
        name,
    }
}

fn federated(name: &str) -> Found {
    Found {
        kind: Kind::CiFederated,
        name: name.to_owned(),
        principal: None,
        reach: "ci:identity-token".to_owned(),
        standing: Standing::Federated,
        privileged: false,
        secret: None,
    }
}

/// Secrets that a table of variables has in clear text.
fn written_out(variables: &Value) -> Vec<Found> {
    let variables = variables.as_object().into_iter().flatten();
    let literal = variables.filter_map(|(name, value)| {
        // GitLab writes a variable as its value, or as a table with it.
        let value = value.as_str().or_else(|| value.get("value")?.as_str())?;
        secret(name, value)
    });
    literal.collect()
}

/// Every text in a document.
fn strings(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, see)),
        Value::Object(members) => members.values().for_each(|member| strings(member, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Every member of this name, however deep.
fn members<'a>(value: &'a Value, name: &'a str) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
    match value {
        Value::Object(own) => Box::new(
            own.get(name).into_iter().chain(own.values().flat_map(move |one| members(one, name))),
        ),
        Value::Array(items) => Box::new(items.iter().flat_map(move |item| members(item, name))),
        _ => Box::new(std::iter::empty()),
    }
}
