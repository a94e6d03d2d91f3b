//! `[[authorization_servers]]`: those of other domains, for which agents get grants and whose grants are redeemed.
//!
//! The environment that is stated has to be the own one: no chain crosses the firebreak. Where keys come from is written
//! out; nothing is discovered. Absent: fetching anything, and client ids that another domain would tell by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use marque_spiffe::{BundleEndpointUrl, Environment, SpiffeId, TrustDomain};

use super::issuer_keys::{self, IssuerKeys, KEY_FIELDS, Name};
use super::resource_servers::{Text, listed};
use crate::entry::is_reserved;
use crate::fields::{Fields, Lined, Log};

/// How many authorization servers a trust domain may know.
pub const MAX_AUTHORIZATION_SERVERS: usize = 16;
/// How many agents may be called something else at one of them.
pub const MAX_FOREIGN_CLIENTS: usize = 256;

/// One of `[[authorization_servers]]`.
///
/// ```toml
/// [[authorization_servers]]
/// name = "partner"                     # [a-z0-9-]{1,32}, unique, not that of an OIDC issuer either: what `sub` begins with
/// environment = "production"           # must be the own one
/// issuer = "https://issuer.partner.example.org"    # exactly its issuer identifier, unique
/// grants_for = ["jwt", "id-jag"]       # what agents get for it; may be absent: nothing
/// scopes = ["orders.read"]             # the only ones of such grants; may be absent: those of the intent
/// grants_of = ["jwt", "id-jag"]        # what of its is redeemed here; may be absent: nothing
/// jwks_uri = "https://issuer.partner.example.org/oauth2/jwks"   # or `jwks_file`; where there is `grants_of`, and only there
/// ca_file = "partner/ca.pem"           # for `jwks_uri`: PEM, below the folder or absolute
/// max_staleness = "1h"                 # of keys that were fetched; may be absent: 1h; at most 24h
///
/// [authorization_servers.clients]      # may be absent; how agents are called there, else by their SPIFFE ID
/// "spiffe://prod.example.org/agent/clerk" = "clerk-17"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationServer {
    name: String,
    issuer: String,
    grants_for: BTreeSet<GrantKind>,
    scopes: Option<BTreeSet<String>>,
    clients: BTreeMap<SpiffeId, String>,
    grants_of: BTreeSet<GrantKind>,
    keys: Option<IssuerKeys>,
    line: usize,
}

/// The form of a grant from one domain to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantKind {
    /// A JWT authorization grant (identity chaining).
    Jwt,
    /// An identity assertion authorization grant.
    IdJag,
}

impl AuthorizationServer {
    /// What it is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its issuer identifier, compared byte by byte.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The grants that agents get for it.
    pub const fn grants_for(&self) -> &BTreeSet<GrantKind> {
        &self.grants_for
    }

    /// The only scopes of those. Text here; whoever issues them checks its form.
    pub const fn scopes(&self) -> Option<&BTreeSet<String>> {
        self.scopes.as_ref()
    }

    /// How agents are called there who are not called by their SPIFFE ID.
    pub const fn clients(&self) -> &BTreeMap<SpiffeId, String> {
        &self.clients
    }

    /// The grants of its that are redeemed here.
    pub const fn grants_of(&self) -> &BTreeSet<GrantKind> {
        &self.grants_of
    }

    /// Where its keys are; there are some where its grants are redeemed.
    pub const fn keys(&self) -> Option<&IssuerKeys> {
        self.keys.as_ref()
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub const fn line(&self) -> usize {
        self.line
    }
}

/// What a finding says of an authorization server across the firebreak.
pub fn chain_boundary(name: &str, environment: Environment) -> String {
    format!(
        "environment_boundary: `{name}` is of {environment}, and no chain crosses from one environment to the other"
    )
}

/// Reads `[[authorization_servers]]`; `own` is what the document says of itself, as far as it could be read, and `taken`
/// the names that issuers of ID tokens have.
pub(super) fn read(
    tables: Vec<Fields<'_, '_>>,
    own: (Option<&TrustDomain>, Option<Environment>),
    taken: BTreeSet<String>,
    log: &mut Log<'_>,
) -> Vec<AuthorizationServer> {
    if let Some(table) = tables.get(MAX_AUTHORIZATION_SERVERS) {
        let message =
            format!("more than {MAX_AUTHORIZATION_SERVERS} tables [authorization_servers]");
        log.at(table.line(), message);
    }
    let mut seen = Seen { names: taken, issuers: BTreeSet::new() };
    tables.into_iter().filter_map(|table| server(table, own, &mut seen, log)).collect()
}

struct Seen {
    names: BTreeSet<String>,
    issuers: BTreeSet<String>,
}

fn server(
    mut table: Fields<'_, '_>,
    (own, own_environment): (Option<&TrustDomain>, Option<Environment>),
    seen: &mut Seen,
    log: &mut Log<'_>,
) -> Option<AuthorizationServer> {
    let line = table.line();
    let name: Option<Lined<Name>> = table.lined_text("name", log);
    let environment: Option<Lined<Environment>> = table.lined_text("environment", log);
    let issuer: Option<Lined<BundleEndpointUrl>> = table.lined_text("issuer", log);
    let grants_for: BTreeSet<GrantKind> = table.texts("grants_for", log).into_iter().collect();
    let bounded = table.has("scopes");
    let scopes = listed::<Text>(&mut table, "scopes", log);
    let grants_of: BTreeSet<GrantKind> = table.texts("grants_of", log).into_iter().collect();
    let keys = keys(&mut table, !grants_of.is_empty(), log);
    let clients = table.optional_table("clients", log);
    let renamed = clients.is_some();
    let clients = clients.map(|clients| foreign_clients(clients, own, log)).unwrap_or_default();
    table.finish(log);
    if grants_for.is_empty() && grants_of.is_empty() {
        log.at(line, "[authorization_servers] needs `grants_for`, `grants_of` or both");
    }
    if grants_for.is_empty() && (bounded || renamed) {
        log.at(line, "`scopes` and `clients` in [authorization_servers] are for `grants_for`");
    }
    let (name, environment, issuer) = (name?, environment?, issuer?);
    if own_environment.is_some_and(|own| own != environment.value) {
        log.at(environment.line, chain_boundary(&name.value.0, environment.value));
        return None;
    }
    let url = issuer.value.as_str();
    if url.contains('?') {
        log.at(issuer.line, "`issuer` in [authorization_servers] has a query, which no issuer has");
    }
    if !seen.names.insert(name.value.0.clone()) {
        let message = "`name` in [authorization_servers] is used twice, here or in [oidc_issuers]";
        log.at(name.line, message);
    }
    if !seen.issuers.insert(url.to_owned()) {
        log.at(issuer.line, "`issuer` in [authorization_servers] is used twice");
    }
    let (name, issuer) = (name.value.0, url.to_owned());
    Some(AuthorizationServer { name, issuer, grants_for, scopes, clients, grants_of, keys, line })
}

/// Keys are there where they are needed, and nowhere else.
fn keys(table: &mut Fields<'_, '_>, wanted: bool, log: &mut Log<'_>) -> Option<IssuerKeys> {
    let line = table.line();
    let given = KEY_FIELDS.iter().any(|key| table.has(key));
    if wanted {
        return issuer_keys::read(table, log);
    }
    if given {
        let message = "`jwks_file`, `jwks_uri`, `ca_file` and `max_staleness` in [authorization_servers] are for `grants_of`";
        log.at(line, message);
        issuer_keys::read(table, log);
    }
    None
}

fn foreign_clients(
    table: Fields<'_, '_>,
    own: Option<&TrustDomain>,
    log: &mut Log<'_>,
) -> BTreeMap<SpiffeId, String> {
    let line = table.line();
    let mut clients = BTreeMap::new();
    for (key, ForeignClient(client)) in table.all_texts::<ForeignClient>(log) {
        match key.parse::<SpiffeId>() {
            Ok(id)
                if own.is_none_or(|own| own == id.trust_domain())
                    && id.has_path()
                    && !is_reserved(&id) =>
            {
                clients.insert(id, client);
            }
            _ => {
                let key: String = key.chars().take(80).collect();
                let message = format!("`{key}` in [clients] is no SPIFFE ID of an agent here");
                log.at(line, message);
            }
        }
    }
    if clients.len() > MAX_FOREIGN_CLIENTS {
        let message = format!("[clients] has more than {MAX_FOREIGN_CLIENTS} entries");
        log.at(line, message);
    }
    clients
}

impl FromStr for GrantKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "jwt" => Ok(Self::Jwt),
            "id-jag" => Ok(Self::IdJag),
            _ => Err("is neither `jwt` nor `id-jag`"),
        }
    }
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jwt => "jwt",
            Self::IdJag => "id-jag",
        })
    }
}

/// A client id of another domain.
struct ForeignClient(String);

impl FromStr for ForeignClient {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // RFC 6749 appendix A.1 has blanks, too, which nobody means.
        if (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err("is not a client id of 1 to 512 visible characters of ASCII")
    }
}

#[cfg(test)]
mod tests;
