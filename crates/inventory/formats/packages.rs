//! Logins to hosts, package indexes and container registries: `.netrc`, `.git-credentials`, `.npmrc`, `.pypirc`, docker's `config.json`.

use serde_json::Value;

use super::{Section, text};
use crate::{Found, Kind, Secret, Standing, looks_privileged};

fn login(kind: Kind, name: &str, reach: String, user: Option<&str>, secret: &str) -> Found {
    // Some services take a token for the name, with a word of no meaning for the password.
    let (user, secret) = match (user, secret) {
        (Some(token), "" | "x-oauth-basic" | "x-oauth") => (None, token),
        other => other,
    };
    Found {
        kind,
        name: name.to_owned(),
        principal: user.map(ToOwned::to_owned),
        reach,
        standing: Standing::Static,
        privileged: user.is_some_and(looks_privileged),
        secret: Some(Secret::new(secret)),
    }
}

/// Words: `machine HOST`, `login NAME`, `password SECRET`, `default`; a macro goes to the next empty line.
pub(super) fn netrc(text: &str) -> Vec<Found> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines().map(str::trim) {
        in_macro = (in_macro && !line.is_empty()) || line.starts_with("macdef ");
        if !in_macro && !line.starts_with('#') {
            words.extend(line.split_whitespace());
        }
    }
    let (mut all, mut host, mut user) = (Vec::new(), "default", None);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word {
            "machine" => (host, user) = (words.next().unwrap_or_default(), None),
            "default" => (host, user) = ("default", None),
            "login" => user = words.next(),
            "account" => drop(words.next()),
            "password" => {
                let secret = words.next().unwrap_or_default();
                let reach = format!("host:{host}");
                all.push(login(Kind::NetrcPassword, host, reach, user, secret));
            }
            _ => {}
        }
    }
    all
}

/// URLs with a name and a password, or with a token alone.
pub(super) fn git(text: &str) -> Vec<Found> {
    let credential = |line: &str| {
        let (login, host) = line.trim().split_once("://")?.1.rsplit_once('@')?;
        let (user, secret) = login.split_once(':').unwrap_or((login, ""));
        let host = host.split('/').next().unwrap_or_default();
        let reach = format!("host:{host}");
        Some(self::login(Kind::NetrcPassword, host, reach, Some(user), secret))
    };
    text.lines().filter_map(credential).collect()
}

/// `//HOST/:_authToken=SECRET`; a reference to a variable is no secret.
pub(super) fn npmrc(text: &str) -> Vec<Found> {
    let credential = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim(), value.trim().trim_matches('"'));
        let (registry, member) = key.rsplit_once(':').unwrap_or(("//registry.npmjs.org/", key));
        let is_secret = matches!(member, "_authToken" | "_auth" | "_password");
        if !is_secret || value.is_empty() || value.starts_with("${") {
            return None;
        }
        let host = registry.trim_matches('/');
        Some(login(Kind::NpmToken, member, format!("npm:{host}"), None, value))
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(credential).collect()
}

pub(super) fn pypirc(sections: &[Section]) -> Vec<Found> {
    let credential = |section: &Section| {
        let secret = section.get("password")?;
        let reach = format!("pypi:{}", section.get("repository").unwrap_or(&section.name));
        Some(login(Kind::PypiToken, &section.name, reach, section.get("username"), secret))
    };
    sections.iter().filter_map(credential).collect()
}

pub(super) fn docker(document: &Value) -> Vec<Found> {
    let mut all = Vec::new();
    for (host, entry) in document.get("auths").and_then(Value::as_object).into_iter().flatten() {
        let reach = format!("registry:{host}");
        for member in ["auth", "identitytoken", "registrytoken", "password"] {
            if let Some(secret) = text(entry, member) {
                let user = text(entry, "username");
                all.push(login(Kind::RegistryLogin, host, reach.clone(), user, secret));
            }
        }
    }
    let helpers = document.get("credHelpers").and_then(Value::as_object);
    let helpers = helpers.into_iter().flatten().map(|(host, _)| host.as_str());
    let store = text(document, "credsStore").map(|_| "every registry");
    all.extend(helpers.chain(store).map(|host| Found {
        kind: Kind::RegistryHelper,
        name: host.to_owned(),
        principal: None,
        reach: format!("registry:{host}"),
        standing: Standing::Federated,
        privileged: false,
        secret: None,
    }));
    all
}
