//! What a token service is told about itself, and about those that it issues tokens for.

use std::{collections::BTreeSet, time::Duration};

use marque_intent::Scope;
use marque_spiffe::{Environment, SpiffeId, TrustDomain};

use crate::{AuthorizationServer, ClientCeiling, IssuerUrl, NoncePolicy, Offers, OidcIssuer};

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
    /// How far in the future a JWT-SVID may end.
    pub max_assertion_lifetime: Duration,
    /// How far in the future a WIT-SVID may end.
    pub max_wit_svid_lifetime: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// What clients are held to.
    pub clients: Vec<ClientCeiling>,
    /// Who may introspect tokens of which audience, and what such tokens are held to.
    pub resource_servers: Vec<ResourceServer>,
    /// Who vouches for people.
    pub oidc_issuers: Vec<OidcIssuer>,
    /// The authorization servers of other domains.
    pub authorization_servers: Vec<AuthorizationServer>,
    /// What is offered.
    pub offers: Offers,
    /// Whether DPoP proofs need a nonce of ours.
    pub dpop_nonce: NoncePolicy,
    /// Whether proofs beside a client attestation need a challenge of ours.
    pub attestation_challenge: NoncePolicy,
    /// How many verified JWT-SVIDs are remembered; 0 for none.
    pub verified_svids: u64,
}

impl TokenServiceConfig {
    /// Tokens of at most an hour, assertions of at most an hour, 10 seconds of leeway, no ceiling, no resource
    /// server, no issuer of ID tokens, everything offered, and in production nonces and challenges required.
    pub fn new(issuer: IssuerUrl, trust_domain: TrustDomain, environment: Environment) -> Self {
        Self {
            issuer,
            trust_domain,
            environment,
            max_token_lifetime: Duration::from_secs(3600),
            max_assertion_lifetime: Duration::from_secs(3600),
            max_wit_svid_lifetime: Duration::from_secs(3600),
            leeway: Duration::from_secs(10),
            clients: Vec::new(),
            resource_servers: Vec::new(),
            oidc_issuers: Vec::new(),
            authorization_servers: Vec::new(),
            offers: Offers::ALL,
            dpop_nonce: NoncePolicy::of(environment),
            attestation_challenge: NoncePolicy::of(environment),
            verified_svids: 4096,
        }
    }
}

/// A resource server: the audience that it answers to, the identities under which it introspects, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceServer {
    /// The audience, compared as text.
    pub audience: String,
    /// Its identities.
    pub callers: BTreeSet<SpiffeId>,
    /// The only scopes that it takes; `None` bounds nothing.
    pub scopes: Option<BTreeSet<Scope>>,
    /// How long a token for it lives at most; `None` bounds nothing.
    pub max_token_lifetime: Option<Duration>,
    /// Whether it takes bound tokens only.
    pub binding_required: bool,
    /// Whether tokens for it carry the grant as session tags of AWS STS.
    pub aws_session_tags: bool,
}

impl ResourceServer {
    /// A resource server that takes whatever intents permit.
    pub const fn new(audience: String, callers: BTreeSet<SpiffeId>) -> Self {
        Self {
            audience,
            callers,
            scopes: None,
            max_token_lifetime: None,
            binding_required: false,
            aws_session_tags: false,
        }
    }
}
