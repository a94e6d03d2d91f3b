//! What a token is issued for: to be an access token, to go along with a transaction, or to be a grant elsewhere.
//!
//! Each kind follows the same decision, the same transaction and the same end; this is what differs between them.
//! Deliberately absent: their claims.

use std::{collections::BTreeSet, time::Duration};

use marque_intent::{Denial, DenialCode, Scope};
use marque_spiffe::TrustDomain;

use crate::{
    Asked, AuthorizationServer, Confirmation, GrantProfile, OAuthError, OAuthErrorCode, TokenKind,
    TokenServiceConfig,
    decision::{Decision, Refusal},
    request::{ExchangeRequest, RequestedToken},
    txn::{MAX_TRANSACTION_LIFETIME, TransactionContext},
};

/// How long an authorization grant for another domain lives at most.
pub const MAX_GRANT_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What a token is issued for.
#[derive(Debug, Clone)]
pub(crate) enum Issuing<'a> {
    /// To be shown to resource servers.
    Access,
    /// To go along with one transaction inside of the trust domain.
    Transaction {
        /// What the client says about the transaction.
        context: TransactionContext,
        /// Where it is good.
        trust_domain: &'a TrustDomain,
    },
    /// To be redeemed at another authorization server.
    Grant {
        /// Where.
        server: &'a AuthorizationServer,
        /// In which form.
        profile: GrantProfile,
        /// The protected resources there that were asked for.
        resources: Vec<String>,
    },
}

impl<'a> Issuing<'a> {
    /// Reads what is asked for, and what remains to be asked of the grant.
    ///
    /// # Errors
    /// `invalid_request` for a kind that is not offered or is asked for badly, `invalid_target` for a target that it
    /// cannot have.
    pub(crate) fn of(
        request: &ExchangeRequest,
        config: &'a TokenServiceConfig,
    ) -> Result<(Self, Asked), OAuthError> {
        if !request.requested.is_offered(&config.offers) {
            return Err(invalid("tokens of the requested type are not issued here"));
        }
        match request.requested {
            RequestedToken::AccessToken => Ok((Self::Access, request.asked.clone())),
            RequestedToken::TransactionToken => transaction(request, config),
            RequestedToken::Jwt => grant(request, config, GrantProfile::Jwt),
            RequestedToken::IdJag => grant(request, config, GrantProfile::IdJag),
        }
    }

    /// The kind of token that is kept.
    pub(crate) const fn kind(&self) -> TokenKind {
        match self {
            Self::Access => TokenKind::AccessToken,
            Self::Transaction { .. } => TokenKind::TransactionToken,
            Self::Grant { .. } => TokenKind::AuthorizationGrant,
        }
    }

    /// Whether its token may be used once alone.
    pub(crate) const fn single_use(&self) -> bool {
        matches!(self, Self::Grant { .. })
    }

    /// The key that its token is bound to, where the client proved `proven`: an access token to what was proven, a transaction
    /// token only where it has to be, because others carry it on.
    pub(crate) const fn confirmation(
        &self,
        proven: Option<Confirmation>,
        has_to_be: bool,
    ) -> Option<Confirmation> {
        match self {
            Self::Access => proven,
            Self::Transaction { .. } if has_to_be => proven,
            Self::Transaction { .. } | Self::Grant { .. } => None,
        }
    }

    /// How long its token lives at most, beside all other ceilings.
    pub(crate) const fn max_lifetime(&self) -> Option<Duration> {
        match self {
            Self::Access => None,
            Self::Transaction { .. } => Some(MAX_TRANSACTION_LIFETIME),
            Self::Grant { .. } => Some(MAX_GRANT_LIFETIME),
        }
    }

    /// Whether a target of a grant may be a target of its token. An authorization server of another domain is the audience
    /// of grants for it and of nothing else.
    pub(crate) fn permits_audience(&self, audience: &str, config: &TokenServiceConfig) -> bool {
        match self {
            Self::Grant { server, resources, .. } => {
                audience == server.issuer || resources.iter().any(|resource| resource == audience)
            }
            Self::Access | Self::Transaction { .. } => {
                config.authorization_servers.iter().all(|server| server.issuer != audience)
            }
        }
    }

    /// The only scopes of its token; `None` bounds nothing.
    pub(crate) const fn scopes(&self) -> Option<&'a BTreeSet<Scope>> {
        match self {
            Self::Grant { server, .. } => server.scopes.as_ref(),
            Self::Access | Self::Transaction { .. } => None,
        }
    }

    /// To whom its token may be shown, by what was decided.
    pub(crate) fn audiences(&self, decision: &Decision) -> Vec<String> {
        match self {
            Self::Access => decision.audiences.clone(),
            Self::Transaction { trust_domain, .. } => vec![trust_domain.as_str().to_owned()],
            Self::Grant { server, .. } => vec![server.issuer.clone()],
        }
    }
}

/// The audience is the trust domain and the scope is said (draft-ietf-oauth-transaction-tokens-09, section 7.1): then nothing
/// but the scope and the details narrow the grant.
fn transaction<'a>(
    request: &ExchangeRequest,
    config: &'a TokenServiceConfig,
) -> Result<(Issuing<'a>, Asked), OAuthError> {
    let trust_domain = &config.trust_domain;
    let Asked { audiences, resources, scopes, .. } = &request.asked;
    if audiences.is_empty() {
        return Err(invalid("audience is missing: it is the trust domain"));
    }
    if scopes.is_none() {
        return Err(invalid("scope is missing: a transaction token says what it is for"));
    }
    if audiences.iter().any(|audience| audience != trust_domain.as_str()) || !resources.is_empty() {
        return Err(OAuthError::new(
            OAuthErrorCode::InvalidTarget,
            "a transaction token is for this trust domain alone",
        ));
    }
    let context = request.transaction.clone();
    let asked =
        Asked { audiences: BTreeSet::new(), resources: BTreeSet::new(), ..request.asked.clone() };
    Ok((Issuing::Transaction { context, trust_domain }, asked))
}

/// The one target that is an authorization server names it; what else is a `resource` lies behind it.
fn grant<'a>(
    request: &ExchangeRequest,
    config: &'a TokenServiceConfig,
    profile: GrantProfile,
) -> Result<(Issuing<'a>, Asked), OAuthError> {
    let Asked { audiences, resources, rights, .. } = &request.asked;
    if rights.is_some() {
        return Err(OAuthError::new(
            OAuthErrorCode::InvalidAuthorizationDetails,
            "a grant for another domain says nothing but scope, resources and details",
        ));
    }
    let target = || {
        OAuthError::new(
            OAuthErrorCode::InvalidTarget,
            "a grant is for one authorization server that is configured here",
        )
    };
    let known = |target: &&String| {
        let named = |server: &&AuthorizationServer| server.issuer == **target;
        config.authorization_servers.iter().find(named)
    };
    let mut servers = audiences.iter().chain(resources).filter_map(|target| known(&target));
    let server = servers.next().ok_or_else(target)?;
    if servers.any(|other| other.issuer != server.issuer)
        || audiences.iter().any(|audience| *audience != server.issuer)
        || !server.to.contains(&profile)
    {
        return Err(target());
    }
    let resources: Vec<String> =
        resources.iter().filter(|resource| **resource != server.issuer).cloned().collect();
    let asked = Asked {
        audiences: [server.issuer.clone()].into(),
        resources: resources.iter().cloned().collect(),
        ..request.asked.clone()
    };
    Ok((Issuing::Grant { server, profile, resources }, asked))
}

impl Refusal {
    /// A token of ours is no way into another domain: a grant for it comes of an approved intent.
    pub(crate) fn no_grant_of_a_token() -> Self {
        Self::unacceptable(Denial::new(
            DenialCode::AudienceNotAllowed,
            "a grant for another domain comes of an approved intent and not of a token",
        ))
    }

    /// A transaction token goes from hand to hand, and nobody could use it up.
    pub(crate) fn no_transaction_of_a_single_use() -> Self {
        Self::unacceptable(Denial::new(
            DenialCode::AudienceNotAllowed,
            "a token of a single use goes along with no transaction",
        ))
    }
}

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidRequest, description)
}
