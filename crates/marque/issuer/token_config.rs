//! What the token service is told, from what a trust domain's document says.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use marque_exchange::{
    AuthorizationServer, ClientCeiling, GrantProfile, IssuerUrl, NoncePolicy, Offers, OidcIssuer,
    ResourceServer, TokenServiceConfig,
};
use marque_intent::{Scope, ScopeError};
use marque_registry::{GrantKind, NonceDemand, TokenBinding, TrustDomainDocument};

/// How far a client's clock may differ from ours.
const LEEWAY: Duration = Duration::from_secs(5);

/// The settings of a checked document.
pub(super) fn of(
    document: &TrustDomainDocument,
    issuer: IssuerUrl,
) -> anyhow::Result<TokenServiceConfig> {
    let clients = document.clients().iter().map(client).collect::<Result<_, _>>();
    let servers = document.resource_servers().iter().map(resource_server);
    let others = document.authorization_servers().iter().map(authorization_server);
    Ok(TokenServiceConfig {
        max_token_lifetime: document.max_access_token_lifetime(),
        max_assertion_lifetime: document.jwt_svid_lifetime(),
        max_wit_svid_lifetime: document.wit_svid_lifetime(),
        leeway: LEEWAY,
        clients: clients.context("read [[clients]]")?,
        resource_servers: servers.collect::<Result<_, _>>().context("read [[resource_servers]]")?,
        oidc_issuers: document.oidc_issuers().iter().map(oidc_issuer).collect(),
        authorization_servers: others
            .collect::<Result<_, _>>()
            .context("read [[authorization_servers]]")?,
        offers: offers(document),
        dpop_nonce: nonce_policy(document.token_service().dpop_nonce),
        attestation_challenge: nonce_policy(document.token_service().attestation_challenge),
        verified_svids: document.token_service().verified_svids.into(),
        ..TokenServiceConfig::new(issuer, document.name().clone(), document.environment())
    })
}

/// Texts as scopes that may be granted.
///
/// # Errors
/// The first that is none.
pub(super) fn scopes(
    texts: Option<&BTreeSet<String>>,
) -> Result<Option<BTreeSet<Scope>>, (String, ScopeError)> {
    let scope = |text: &String| text.parse().map_err(|error| (text.clone(), error));
    texts.map(|texts| texts.iter().map(scope).collect()).transpose()
}

fn checked_scopes(texts: Option<&BTreeSet<String>>) -> Result<Option<BTreeSet<Scope>>, ScopeError> {
    scopes(texts).map_err(|(_, error)| error)
}

fn client(ceiling: &marque_registry::ClientCeiling) -> Result<ClientCeiling, ScopeError> {
    Ok(ClientCeiling {
        clients: ceiling.spiffe_id().clone(),
        scopes: checked_scopes(ceiling.scopes())?,
        audiences: ceiling.audiences().cloned(),
        max_token_lifetime: ceiling.max_token_lifetime(),
    })
}

fn resource_server(server: &marque_registry::ResourceServer) -> Result<ResourceServer, ScopeError> {
    let callers = server.spiffe_ids().iter().cloned().collect();
    Ok(ResourceServer {
        scopes: checked_scopes(server.scopes())?,
        max_token_lifetime: server.max_token_lifetime(),
        binding_required: server.binding() == TokenBinding::Required,
        aws_session_tags: server.has_aws_session_tags(),
        ..ResourceServer::new(server.audience().to_owned(), callers)
    })
}

fn authorization_server(
    server: &marque_registry::AuthorizationServer,
) -> Result<AuthorizationServer, ScopeError> {
    let profiles = |kinds: &BTreeSet<GrantKind>| kinds.iter().copied().map(profile).collect();
    Ok(AuthorizationServer {
        name: server.name().to_owned(),
        issuer: server.issuer().to_owned(),
        to: profiles(server.grants_for()),
        scopes: checked_scopes(server.scopes())?,
        clients: server.clients().clone(),
        from: profiles(server.grants_of()),
    })
}

const fn profile(kind: GrantKind) -> GrantProfile {
    match kind {
        GrantKind::Jwt => GrantProfile::Jwt,
        GrantKind::IdJag => GrantProfile::IdJag,
    }
}

const fn nonce_policy(demand: NonceDemand) -> NoncePolicy {
    match demand {
        NonceDemand::Required => NoncePolicy::Required,
        NonceDemand::Optional => NoncePolicy::Optional,
    }
}

fn oidc_issuer(issuer: &marque_registry::OidcIssuer) -> OidcIssuer {
    OidcIssuer {
        name: issuer.name().to_owned(),
        issuer: issuer.issuer().to_owned(),
        audiences: issuer.audiences().clone(),
        max_age: issuer.max_age(),
        groups_claim: issuer.groups_claim().map(str::to_owned),
        required_claims: issuer.required_claims().clone(),
    }
}

fn offers(document: &TrustDomainDocument) -> Offers {
    let settings = document.token_service();
    Offers {
        dpop: settings.dpop,
        mutual_tls: settings.mutual_tls,
        wit_client_authentication: settings.wit_client_authentication,
        deferred: settings.deferred,
        ciba: settings.ciba,
        jwt_introspection: settings.jwt_introspection,
        token_status_list: settings.token_status_list,
        transaction_tokens: settings.transaction_tokens,
        identity_chaining: settings.identity_chaining,
        id_jag: settings.id_jag,
    }
}
