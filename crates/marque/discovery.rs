//! OpenID Connect discovery of JWT-SVIDs: what clouds fetch to verify them (OpenID Connect Discovery 1.0).
//!
//! The issuer of JWT-SVIDs is another one than that of access tokens, with its own keys: who believes the one does not believe the
//! other by that. Absent: access tokens (`marque-exchange`), and serving (`http/svid_discovery.rs`).

use std::collections::BTreeSet;

use marque_exchange::{IssuerUrl, IssuerUrlError};
use marque_registry::TrustDomainDocument;
use marque_spiffe::Bundle;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the discovery document is, below the issuer.
pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
/// Where the keys are, below the issuer.
pub const KEYS_PATH: &str = "/keys";
/// What picky verifiers want to be there; nobody logs in.
pub const AUTHORIZE_PATH: &str = "/authorize";
/// The issuer of JWT-SVIDs below that of access tokens, where the document names none.
const DEFAULT_PATH: &str = "/svid";

/// The issuer of JWT-SVIDs, where the trust domain has one; `tokens` is the issuer of access tokens.
///
/// # Errors
/// The document names one that is none.
pub(crate) fn svid_issuer(
    document: &TrustDomainDocument,
    tokens: &IssuerUrl,
) -> Result<Option<IssuerUrl>, IssuerUrlError> {
    let Some(settings) = document.oidc_discovery() else { return Ok(None) };
    match settings.issuer() {
        Some(issuer) => issuer.parse().map(Some),
        None => tokens.join(DEFAULT_PATH).parse().map(Some),
    }
}

/// The discovery document of an issuer whose tokens verify by the bundle's keys for JWT-SVIDs. It names the algorithms of the
/// keys that are there.
#[must_use]
pub fn configuration(issuer: &IssuerUrl, bundle: &Bundle) -> Value {
    let jwks = keys(bundle);
    let listed = jwks.get("keys").and_then(Value::as_array);
    let algorithms: BTreeSet<&str> =
        listed.into_iter().flatten().filter_map(|key| key.get("alg")?.as_str()).collect();
    json!({
        "issuer": issuer.as_str(),
        "jwks_uri": issuer.join(KEYS_PATH),
        "authorization_endpoint": issuer.join(AUTHORIZE_PATH),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "claims_supported": ["iss", "sub", "sub_sha256", "aud", "iat", "exp", "jti"],
    })
}

/// What an issuer publishes: the same that is served, for those that cannot fetch it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// `svids` or `tokens`: what it issues.
    pub of: String,
    /// The issuer.
    pub issuer: String,
    /// The sequence of the trust domain's bundle.
    pub sequence: u64,
    /// The discovery document.
    pub configuration: Value,
    /// Where the keys are, below the issuer.
    pub keys_path: String,
    /// The key set.
    pub keys: Value,
}

/// The keys: of JWT-SVIDs, and nothing else.
#[must_use]
pub fn keys(bundle: &Bundle) -> Value {
    bundle.jwt_signature_jwks()
}

#[cfg(test)]
mod tests {
    use marque_testkit::ScratchTrustDomain;

    use super::*;

    #[test]
    fn the_document_names_the_keys_that_are_there_and_their_algorithms() {
        let domain = ScratchTrustDomain::new("prod.example.org");
        let bundle = domain.bundle();
        let issuer: IssuerUrl = "https://issuer.example.org/svid".parse().unwrap();
        let document = configuration(&issuer, &bundle);
        assert_eq!(document["issuer"], "https://issuer.example.org/svid");
        assert_eq!(document["jwks_uri"], "https://issuer.example.org/svid/keys");
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
        let keys = keys(&bundle);
        let keys = keys["keys"].as_array().unwrap();
        assert_eq!(keys.len(), bundle.jwt_authorities().len());
        for key in keys {
            assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("ES256")));
            assert!(bundle.jwt_authorities().keys().any(|kid| key["kid"] == kid.as_str()));
            assert!(key.get("d").is_none() && key.get("x5c").is_none());
        }
    }
}
