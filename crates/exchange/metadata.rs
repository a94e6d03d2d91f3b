//! What the token service says about itself: RFC 8414 metadata, the OpenID discovery document, RFC 9728 metadata of the
//! API beside it, and its keys.
//!
//! The documents are made from what is offered and from the constants that requests are read with, so that they name only
//! what is there. Deliberately absent: an authorization endpoint; no browser ever comes here.

mod document;
mod endpoint;

use marque_jose::Algorithm;
use serde_json::Value;

pub use self::endpoint::Endpoint;

use self::document::Document;
use crate::{
    ClientMethod, GRANT_PROFILE_ID_JAG, GRANT_TYPE_CIBA, GRANT_TYPE_DEFERRED,
    GRANT_TYPE_JWT_BEARER, GRANT_TYPE_TOKEN_EXCHANGE, GrantProfile, INTENT_DETAIL_TYPE, IssuerUrl,
    Offers, RIGHTS_DETAIL_TYPE, TokenService,
};

/// Where the API of intents is, below the issuer.
pub const INTENTS_API_PATH: &str = "/v1";
/// Where RFC 8414 puts the metadata: between host and path of the issuer.
pub const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
/// Where RFC 9728 puts the metadata of a protected resource: between host and path of the resource.
pub const RESOURCE_METADATA_PATH: &str = "/.well-known/oauth-protected-resource";
/// What every token and signed answer is signed with.
const ISSUED_WITH: [Algorithm; 1] = [Algorithm::Es256];

impl TokenService {
    /// What is offered.
    pub const fn offers(&self) -> &Offers {
        &self.config.offers
    }

    /// The authorization server metadata (RFC 8414 §2). `response_types_supported` is required even of a server without
    /// an authorization endpoint and may not be empty, hence `none`.
    pub fn metadata(&self) -> Value {
        let (issuer, offers) = (&self.config.issuer, &self.config.offers);
        let mut document = Document::default();
        document.text("issuer", issuer.as_str());
        for endpoint in Endpoint::offered(offers) {
            document.text(endpoint.member(), endpoint.url(issuer));
            if endpoint.authenticates() {
                authentication(&mut document, endpoint, offers);
            }
        }
        document.list("grant_types_supported", self.grant_types());
        document.list("response_types_supported", ["none"]);
        document.list(
            "authorization_details_types_supported",
            [INTENT_DETAIL_TYPE, RIGHTS_DETAIL_TYPE],
        );
        document.switch("deferred_token_response_supported", offers.deferred);
        if offers.ciba {
            document.list("backchannel_token_delivery_modes_supported", ["poll"]);
            document.no("backchannel_user_code_parameter_supported");
        }
        let issued = |profile: &GrantProfile| self.issues_grants(*profile);
        document.list(
            "identity_chaining_requested_token_types_supported",
            GrantProfile::ALL.into_iter().filter(issued).map(GrantProfile::token_type),
        );
        document.list(
            "authorization_grant_profiles_supported",
            self.redeems(GrantProfile::IdJag).then_some(GRANT_PROFILE_ID_JAG),
        );
        if offers.dpop {
            document.list("dpop_signing_alg_values_supported", names(Algorithm::ALL));
        }
        if offers.jwt_introspection {
            // RFC 9701 §7.
            document.list("introspection_signing_alg_values_supported", names(&ISSUED_WITH));
        }
        if offers.wit_client_authentication {
            // draft-ietf-oauth-attestation-based-client-auth-10, section 12: an attestation here is a WIT-SVID.
            document.list("client_attestation_signing_alg_values_supported", names(Algorithm::ALL));
            document
                .list("client_attestation_pop_signing_alg_values_supported", names(Algorithm::ALL));
        }
        document.switch("tls_client_certificate_bound_access_tokens", offers.mutual_tls);
        document.into()
    }

    /// The OpenID discovery document, in the form that cloud providers accept of workload identity providers: there is
    /// no authorization endpoint, and what is signed is what [`TokenService::jwks`] verifies.
    pub fn openid_configuration(&self) -> Value {
        let issuer = &self.config.issuer;
        let mut document = Document::default();
        document.text("issuer", issuer.as_str());
        document.text("jwks_uri", Endpoint::Jwks.url(issuer));
        document.text("authorization_endpoint", "");
        document.text("token_endpoint", Endpoint::Token.url(issuer));
        document.list("response_types_supported", ["id_token"]);
        document.list("subject_types_supported", ["public"]);
        document.list("id_token_signing_alg_values_supported", names(&ISSUED_WITH));
        document.into()
    }

    /// Where [`TokenService::resource_metadata`] is to be found.
    pub fn resource_metadata_url(issuer: &IssuerUrl) -> String {
        let (origin, path) = (issuer.origin(), issuer.path());
        format!("{origin}{RESOURCE_METADATA_PATH}{path}{INTENTS_API_PATH}")
    }

    /// The metadata of the API of intents as a protected resource (RFC 9728 §2). Its bearer tokens are JWT-SVIDs for the
    /// issuer.
    pub fn resource_metadata(&self) -> Value {
        let issuer = &self.config.issuer;
        let mut document = Document::default();
        document.text("resource", issuer.join(INTENTS_API_PATH));
        document.list("authorization_servers", [issuer.as_str()]);
        document.list("bearer_methods_supported", ["header"]);
        document.text("resource_name", format!("Intents of {}", self.config.trust_domain));
        document.into()
    }

    /// The keys that access tokens verify with.
    pub fn jwks(&self) -> Value {
        self.keys.published().to_value()
    }

    /// The grant types that the token endpoint accepts.
    fn grant_types(&self) -> impl Iterator<Item = &'static str> {
        let offers = &self.config.offers;
        let grant_types = [
            (GRANT_TYPE_TOKEN_EXCHANGE, true),
            (GRANT_TYPE_JWT_BEARER, self.redeems_grants()),
            (GRANT_TYPE_DEFERRED, offers.deferred),
            (GRANT_TYPE_CIBA, offers.ciba),
        ];
        grant_types.into_iter().filter_map(|(name, offered)| offered.then_some(name))
    }
}

/// How clients authenticate at an endpoint, in the members that RFC 8414 has for each.
fn authentication(document: &mut Document, endpoint: Endpoint, offers: &Offers) {
    let member = endpoint.member();
    document.list(format!("{member}_auth_methods_supported"), ClientMethod::offered(offers));
    document.list(format!("{member}_auth_signing_alg_values_supported"), names(Algorithm::ALL));
}

fn names(algorithms: &[Algorithm]) -> impl Iterator<Item = &'static str> {
    algorithms.iter().map(|algorithm| algorithm.as_str())
}

#[cfg(test)]
mod tests;
