//! What a token service is told about itself, and about those that it issues tokens for.

use std::{collections::BTreeSet, time::Duration};

use marque_spiffe::{Environment, SpiffeId, TrustDomain};

use crate::{IssuerUrl, Offers};

/// What a token service is told about itself.
#[derive(Debug, Clone)]
pub struct TokenServiceConfig {
    /// The issuer identifier.
    pub issuer: IssuerUrl,
    /// The one trust domain that is served.
    pub trust_domain: TrustDomain,
    /// Its environment.
    pub environment: Environment,
    /// The longest that any access token lives.
    pub max_token_lifetime: Duration,
    /// How far in the future a client's SVID may end.
    pub max_assertion_lifetime: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Who may introspect tokens of which audience.
    pub resource_servers: Vec<ResourceServer>,
    /// What is offered.
    pub offers: Offers,
}

impl TokenServiceConfig {
    /// Tokens of at most an hour, assertions of at most an hour, 10 seconds of leeway, no resource server, and
    /// everything offered.
    pub fn new(issuer: IssuerUrl, trust_domain: TrustDomain, environment: Environment) -> Self {
        Self {
            issuer,
            trust_domain,
            environment,
            max_token_lifetime: Duration::from_secs(3600),
            max_assertion_lifetime: Duration::from_secs(3600),
            leeway: Duration::from_secs(10),
            resource_servers: Vec::new(),
            offers: Offers::ALL,
        }
    }
}

/// A resource server: the audience that it answers to, and the identities under which it introspects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceServer {
    /// The audience, compared as text.
    pub audience: String,
    /// Its identities.
    pub callers: BTreeSet<SpiffeId>,
}
