//! What a document says that nobody could use: names, patterns and addresses that no other room would take.

use marque_exchange::IssuerUrl;
use marque_intent::{GroupName, Principal};
use marque_registry::{ChatPerson, Finding, TrustDomainFolder};

use super::super::token_config;
use super::{DOCUMENT, is_at};
use crate::webhooks::kinds;

/// Names in `[[webhooks]]` that no event has: the receiver would silently be told nothing of it.
pub(super) fn events(folder: &TrustDomainFolder) -> Vec<Finding> {
    let webhooks = folder.document.webhooks().iter();
    let unknown = webhooks.filter_map(|webhook| {
        let name = kinds(webhook.events()).err()?;
        let message = format!("`events` in [webhooks]: `{name}` is the name of no event");
        Some(Finding::at(&folder.path.join(DOCUMENT), webhook.line(), message))
    });
    unknown.collect()
}

/// Approver groups that no playbook could name: an approver in one would silently be in none.
pub(super) fn groups(folder: &TrustDomainFolder) -> Vec<Finding> {
    let document = &folder.document;
    let of_operators = document.operators().iter().flat_map(|rule| rule.groups());
    let mapped = document.approver_login().into_iter().flat_map(|login| login.groups().values());
    let linked = document.chat_identities().iter().flat_map(|identity| match identity.who() {
        ChatPerson::Person { groups, .. } => groups.iter().collect::<Vec<_>>(),
        ChatPerson::Operator(_) => Vec::new(),
    });
    of_operators
        .chain(mapped)
        .chain(linked)
        .filter_map(|group| group.parse::<GroupName>().err().map(|error| (group, error)))
        .map(|(group, error)| {
            let message = format!("approver group `{group}`: {error}");
            Finding::about(&folder.path.join(DOCUMENT), message)
        })
        .collect()
}

/// Links of operators to people that could never be compared.
pub(super) fn persons(folder: &TrustDomainFolder) -> Vec<Finding> {
    let persons = folder.document.operators().iter().flat_map(|rule| rule.persons());
    persons
        .filter(|person| {
            let named = person.split_once(':').is_some_and(|(issuer, _)| !issuer.is_empty());
            !named || format!("person:{person}").parse::<Principal>().is_err()
        })
        .map(|person| {
            let message = format!("`persons` in [operators]: `{person}` is not `<issuer>:<sub>`");
            Finding::about(&folder.path.join(DOCUMENT), message)
        })
        .collect()
}

/// An issuer identifier that the token service could not serve.
pub(super) fn url(folder: &TrustDomainFolder) -> Option<Finding> {
    let url = folder.document.hosts().url()?;
    let error = url.parse::<IssuerUrl>().err()?;
    let message = format!("`url` in [issuer]: `{url}`: {error}");
    Some(Finding::about(&folder.path.join(DOCUMENT), message))
}

/// Scopes of ceilings, of resource servers and of other domains that nobody could be granted.
pub(super) fn scopes(folder: &TrustDomainFolder) -> Vec<Finding> {
    let document = &folder.document;
    let clients = document.clients().iter().map(|one| ("clients", one.scopes(), one.line()));
    let servers = document.resource_servers().iter();
    let servers = servers.map(|one| ("resource_servers", one.scopes(), one.line()));
    let others = document.authorization_servers().iter();
    let others = others.map(|one| ("authorization_servers", one.scopes(), one.line()));
    clients
        .chain(servers)
        .chain(others)
        .filter_map(|(table, scopes, line)| {
            let (scope, error) = token_config::scopes(scopes).err()?;
            let message = format!("`scopes` in [{table}]: `{scope}`: {error}");
            Some(Finding::at(&folder.path.join(DOCUMENT), line, message))
        })
        .collect()
}

/// Authorization servers that could not be one, or are the trust domain's own.
pub(super) fn servers(folder: &TrustDomainFolder) -> Vec<Finding> {
    let document = &folder.document;
    let servers = document.authorization_servers().iter().filter_map(|server| {
        let issuer = server.issuer();
        let message = match issuer.parse::<IssuerUrl>() {
            Err(error) => error.to_string(),
            Ok(_) if is_at(document, issuer) => "is the own one".to_owned(),
            Ok(_) => return None,
        };
        let message = format!("`issuer` in [authorization_servers]: `{issuer}`: {message}");
        Some(Finding::at(&folder.path.join(DOCUMENT), server.line(), message))
    });
    servers.collect()
}
