//! `[[clients]]`: the most that certain clients may ever hold, whatever an intent permits.
//!
//! A ceiling only takes away: nobody has a right by being named here, and who is named by none has no ceiling. Every one
//! that names a client counts.

use std::collections::BTreeSet;
use std::time::Duration;

use marque_spiffe::{ClientSpiffeId, TrustDomain};

use super::resource_servers::{Audience, Text, listed, max_token_lifetime};
use crate::entry::is_reserved;
use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// How many ceilings a trust domain may have.
pub const MAX_CLIENT_CEILINGS: usize = 256;

/// One of `[[clients]]`. What is absent bounds nothing; an empty list leaves nothing.
///
/// ```toml
/// [[clients]]
/// spiffe_id = "spiffe://prod.example.org/agent/*"   # of this trust domain, unique; `/*`: every one below, whole segments
/// scopes = ["secrets.update"]                       # at most 64
/// audiences = ["https://ingress.prod.example.org"]  # at most 64
/// max_token_lifetime = "2m"                         # at most 1h
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCeiling {
    spiffe_id: ClientSpiffeId,
    scopes: Option<BTreeSet<String>>,
    audiences: Option<BTreeSet<String>>,
    max_token_lifetime: Option<Lifetime>,
    line: usize,
}

impl ClientCeiling {
    /// Whose it is.
    pub const fn spiffe_id(&self) -> &ClientSpiffeId {
        &self.spiffe_id
    }

    /// The only scopes. Text here; whoever issues tokens checks its form.
    pub const fn scopes(&self) -> Option<&BTreeSet<String>> {
        self.scopes.as_ref()
    }

    /// The only audiences: absolute URIs.
    pub const fn audiences(&self) -> Option<&BTreeSet<String>> {
        self.audiences.as_ref()
    }

    /// How long a token lives at most.
    pub fn max_token_lifetime(&self) -> Option<Duration> {
        self.max_token_lifetime.map(Lifetime::as_duration)
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub const fn line(&self) -> usize {
        self.line
    }
}

/// Reads `[[clients]]` of a trust domain, whose name may itself be wrong.
pub(super) fn read(
    tables: Vec<Fields<'_, '_>>,
    trust_domain: Option<&TrustDomain>,
    log: &mut Log<'_>,
) -> Vec<ClientCeiling> {
    if let Some(table) = tables.get(MAX_CLIENT_CEILINGS) {
        log.at(table.line(), format!("more than {MAX_CLIENT_CEILINGS} tables [clients]"));
    }
    let mut seen = BTreeSet::new();
    let read = tables.into_iter().filter_map(|table| ceiling(table, trust_domain, &mut seen, log));
    read.collect()
}

fn ceiling(
    mut table: Fields<'_, '_>,
    own: Option<&TrustDomain>,
    seen: &mut BTreeSet<ClientSpiffeId>,
    log: &mut Log<'_>,
) -> Option<ClientCeiling> {
    let line = table.line();
    let bounds = ["scopes", "audiences", "max_token_lifetime"].iter().any(|key| table.has(key));
    let spiffe_id: Option<Lined<ClientSpiffeId>> = table.lined_text("spiffe_id", log);
    let scopes = listed::<Text>(&mut table, "scopes", log);
    let audiences = listed::<Audience>(&mut table, "audiences", log);
    let max_token_lifetime = max_token_lifetime(&mut table, log);
    table.finish(log);
    if !bounds {
        log.at(line, "[clients] bounds nothing: it has none of `scopes`, `audiences` and `max_token_lifetime`");
    }
    let Lined { value: spiffe_id, line: at } = spiffe_id?;
    if own.is_some_and(|own| own != spiffe_id.id().trust_domain()) {
        log.at(at, format!("`spiffe_id` in [clients]: `{spiffe_id}` is of another trust domain"));
    }
    if is_reserved(spiffe_id.id()) {
        log.at(at, format!("`spiffe_id` in [clients]: no client can have `{spiffe_id}`"));
    }
    if !seen.insert(spiffe_id.clone()) {
        log.at(at, format!("`spiffe_id` in [clients]: `{spiffe_id}` is used twice"));
    }
    Some(ClientCeiling { spiffe_id, scopes, audiences, max_token_lifetime, line })
}

#[cfg(test)]
mod tests;
