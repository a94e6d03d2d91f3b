//! Redeeming a grant of another domain (RFC 7523 §2.1).
//!
//! The grant says for whom the client may act and with which scope; what it may do here is said by an approved intent of its
//! own, and a token never carries more than both. Whoever shows a grant authenticates, and gets no refresh token.
//! Deliberately absent: a subject of this trust domain; whoever another domain vouches for keeps that domain's name.

use std::collections::BTreeSet;

use marque_intent::{AuthorizationDetail, Delegator, DenialCode, Rights, Scope};
use marque_jose::CompactToken;

use super::{
    GrantProfile,
    verify::{ForeignGrant, GrantError, GrantVerifier},
};
use crate::{
    Asked, AuthenticatedClient, OAuthError, OAuthErrorCode, SingleUse, TokenResponse, TokenService,
    act::Chain, binding::Proofs, decision::Refusal, deferral::Waiting, details::IntentReference,
    exchange::Wanted, form::Form, issuing::Issuing,
};

/// A well-formed request to redeem a grant.
#[derive(Debug)]
pub(crate) struct AssertionRequest {
    /// Looked at only where grants are redeemed at all.
    assertion: Option<CompactToken>,
    pub(crate) asked: Asked,
    pub(crate) intent: IntentReference,
}

/// What of its grant bounds a token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Within {
    pub(crate) scopes: BTreeSet<Scope>,
    resources: BTreeSet<String>,
    details: Option<Vec<AuthorizationDetail>>,
    /// The grant's only use.
    pub(crate) single_use: SingleUse,
}

impl AssertionRequest {
    pub(crate) fn read(form: &Form<'_>) -> Result<Self, OAuthError> {
        let assertion = form.value("assertion");
        let (asked, intent) = Asked::read(form)?;
        Ok(Self {
            assertion: assertion.map(|token| CompactToken::from_string(token.to_owned())),
            asked,
            intent,
        })
    }
}

impl Within {
    fn of(grant: &ForeignGrant) -> Self {
        Self {
            scopes: grant.scopes.clone(),
            resources: grant.resources.clone(),
            details: grant.details.clone(),
            single_use: grant.single_use,
        }
    }

    /// Whether the grant is for this resource server. One that names no resource is for whatever its scopes are for.
    pub(crate) fn permits_audience(&self, audience: &str) -> bool {
        self.resources.is_empty() || self.resources.contains(audience)
    }

    /// Whether every detail that the token would have is one of the grant, or a part of one.
    pub(crate) fn covers(&self, rights: &Rights) -> Result<(), Refusal> {
        let Some(details) = &self.details else { return Ok(()) };
        let outer = Rights { authorization_details: details.clone(), ..rights.clone() };
        outer.covers(rights).map_err(Refusal::widening)
    }

    /// The grant was redeemed before.
    pub(crate) fn spent() -> OAuthError {
        refused("the grant was redeemed before")
    }
}

impl TokenService {
    /// Whether grants of any other domain are redeemed.
    pub(crate) fn redeems_grants(&self) -> bool {
        GrantProfile::ALL.into_iter().any(|profile| self.redeems(profile))
    }

    /// Whether grants of this form are issued for any other domain.
    pub(crate) fn issues_grants(&self, profile: GrantProfile) -> bool {
        let mut servers = self.config.authorization_servers.iter();
        profile.is_offered(&self.config.offers) && servers.any(|one| one.to.contains(&profile))
    }

    /// Whether grants of this form are redeemed.
    pub(crate) fn redeems(&self, profile: GrantProfile) -> bool {
        let mut servers = self.config.authorization_servers.iter();
        profile.is_offered(&self.config.offers) && servers.any(|one| one.from.contains(&profile))
    }

    /// Exchanges a grant of another domain and an approved intent for an access token.
    pub(crate) async fn redeem_grant(
        &self,
        client: &AuthenticatedClient,
        request: &AssertionRequest,
        proofs: &Proofs,
    ) -> Result<TokenResponse, OAuthError> {
        if !self.redeems_grants() {
            return Err(OAuthError::new(
                OAuthErrorCode::UnsupportedGrantType,
                "this grant type is not offered",
            ));
        }
        let assertion = request.assertion.as_ref();
        let assertion = assertion.ok_or_else(|| invalid("assertion is missing"))?;
        let verifier = GrantVerifier {
            config: &self.config,
            keys: &self.foreign_keys,
            client: client.id(),
            now: self.clock.now(),
        };
        let grant = verifier.verify(assertion.expose_token()).map_err(no_grant)?;
        let IntentReference::Approved(intent) = &request.intent else {
            return Err(invalid("authorization_details must name an approved intent"));
        };
        // By themselves first: what is replayed beside the grant costs nothing of it, and is not taken for it.
        self.remember(proofs).await?;
        let proofs = &proofs.remembered();
        let wanted = Wanted {
            client,
            chain: Chain::of_person(grant.principal.clone(), client.id().clone())
                .authenticated(grant.authentication.clone()),
            // In which groups somebody is over there is nothing here.
            delegator: Some(Delegator {
                principal: grant.principal.clone(),
                groups: BTreeSet::new(),
            }),
            subject_expires_at: grant.expires_at,
            asked: &request.asked,
            intent,
            waiting: Waiting::Refused,
            issuing: Issuing::Access,
            within: Some(Within::of(&grant)),
            proofs,
            bound: None,
        };
        self.issue(&wanted).await
    }
}

fn no_grant(source: GrantError) -> OAuthError {
    let refused = refused("the assertion is no grant for this client and this service");
    let refused = match source {
        GrantError::Environment => refused.with_denial(DenialCode::EnvironmentBoundary),
        _ => refused,
    };
    refused.with_source(source)
}

/// RFC 7523 §3.1.
fn refused(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidGrant, description)
}

fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidRequest, description)
}
