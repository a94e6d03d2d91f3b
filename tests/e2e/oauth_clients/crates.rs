//! crates.io `oauth2` (introspection, revocation, error types) and `openidconnect` (discovery, keys), with this test's
//! HTTPS client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth2::basic::{BasicClient, BasicErrorResponseType};
use oauth2::{
    AccessToken, AuthType, ClientId, HttpRequest, HttpResponse, IntrospectionUrl,
    RequestTokenError, RevocationErrorResponseType, RevocationUrl, StandardRevocableToken,
    TokenIntrospectionResponse as _, TokenUrl,
};
use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm, CoreProviderMetadata};
use openidconnect::{IssuerUrl, JsonWebKey as _, JsonWebKeySetUrl};
use serde_json::Value;

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::oauth::{ASSERTION_TYPE, Client, INGRESS, approved_rotation};
use crate::support::tokens;

/// A client of the `oauth2` crate for a caller with its SPIFFE ID.
fn basic_client(
    caller: &Client,
    path: &str,
) -> BasicClient<
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
    oauth2::EndpointSet,
    oauth2::EndpointSet,
> {
    let introspection = caller.place.introspection_endpoint();
    let revocation = format!("{}/oauth2/revoke", caller.place.issuer_url);
    BasicClient::new(ClientId::new(caller.place.id(path)))
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(TokenUrl::new(caller.place.token_endpoint.clone()).unwrap())
        .set_introspection_url(IntrospectionUrl::new(introspection).unwrap())
        .set_revocation_url(RevocationUrl::new(revocation).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oauth2_crate_introspects() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let forward = |request: HttpRequest| ingress.http.forward(request);
    let client = basic_client(&ingress, INGRESS.path);
    let ask = async |token: String| {
        let token = AccessToken::new(token);
        let request = client
            .introspect(&token)
            .add_extra_param("client_assertion_type", ASSERTION_TYPE)
            .add_extra_param("client_assertion", ingress.svid.clone());
        request.request_async(&forward).await
    };
    let told = ask(token.clone()).await.unwrap();
    assert!(told.active());
    assert_eq!(told.sub(), Some(&*rotator.place.id(ROTATOR.path)));
    assert_eq!(told.iss(), Some(&*rotator.place.issuer_url));
    assert_eq!(told.aud(), Some(&vec![INGRESS.audience.to_owned()]));
    let scopes: Vec<_> = told.scopes().unwrap().iter().map(|scope| &***scope).collect();
    assert_eq!(scopes, [INGRESS.scope]);
    let exp = tokens::claims(&token)["exp"].as_i64().unwrap();
    assert_eq!(told.exp().unwrap().timestamp(), exp);
    assert!(!ask("not.a.token".to_owned()).await.unwrap().active());
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_12_the_oauth2_crate_revokes() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let revoke = async |caller: &Client, path: &str, token: &str| {
        let forward = |request: HttpRequest| caller.http.forward(request);
        let token = StandardRevocableToken::AccessToken(AccessToken::new(token.to_owned()));
        let client = basic_client(caller, path);
        let request = client.revoke_token(token).unwrap();
        let request = request
            .add_extra_param("client_assertion_type", ASSERTION_TYPE)
            .add_extra_param("client_assertion", caller.svid.clone());
        request.request_async(&forward).await
    };
    let refused = revoke(&rotator, ROTATOR.path, &rotator.svid).await;
    let Err(RequestTokenError::ServerResponse(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.error(), &RevocationErrorResponseType::UnsupportedTokenType, "{error:?}");
    revoke(&ingress, INGRESS.path, &token).await.unwrap_err();
    assert!(ingress.is_active(&token).await);
    revoke(&rotator, ROTATOR.path, &token).await.unwrap();
    assert!(!ingress.is_active(&token).await);
    revoke(&rotator, ROTATOR.path, "unknown").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oauth2_crate_reads_errors_by_their_type() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let forward = |request: HttpRequest| rotator.http.forward(request);
    let client = basic_client(&rotator, ROTATOR.path);
    let answer = client
        .exchange_client_credentials()
        .add_extra_param("client_assertion_type", ASSERTION_TYPE)
        .add_extra_param("client_assertion", rotator.svid.clone())
        .request_async(&forward)
        .await;
    let Err(RequestTokenError::ServerResponse(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.error(), &BasicErrorResponseType::UnsupportedGrantType);
    assert!(error.error_description().is_some(), "{error:?}");
    for (assertion_type, assertion) in [
        (ASSERTION_TYPE, "not.an.svid"),
        ("urn:example:other", rotator.svid.as_str()),
        (ASSERTION_TYPE, ""),
    ] {
        let token = AccessToken::new("x".to_owned());
        let answer = client
            .introspect(&token)
            .add_extra_param("client_assertion_type", assertion_type)
            .add_extra_param("client_assertion", assertion)
            .request_async(&forward)
            .await;
        let Err(RequestTokenError::ServerResponse(error)) = answer else { panic!("{answer:?}") };
        let expected = if assertion.contains('.') {
            BasicErrorResponseType::InvalidClient
        } else {
            BasicErrorResponseType::InvalidRequest
        };
        assert_eq!(error.error(), &expected, "{assertion_type} {assertion}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openidconnect_crate_reads_the_keys_and_verifies_with_them() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let forward = |request: HttpRequest| rotator.http.forward(request);
    let url = JsonWebKeySetUrl::new(rotator.place.jwks_url.clone()).unwrap();
    let keys = CoreJsonWebKeySet::fetch_async(&url, &forward).await.unwrap();
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let kid = tokens::header(&token)["kid"].as_str().unwrap().to_owned();
    let key = keys.keys().iter().find(|key| key.key_id().is_some_and(|id| **id == kid)).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let algorithm = CoreJwsSigningAlgorithm::EcdsaP256Sha256;
    assert!(key.verify_signature(&algorithm, signed.as_bytes(), &signature).is_ok());
    assert!(key.verify_signature(&algorithm, b"something else", &signature).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_10_the_openidconnect_crate_discovers_the_issuer() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    // The crate demands a URL where an issuer without browsers, like SPIRE's, has the empty text.
    let forward = async |request: HttpRequest| {
        let (parts, body) = rotator.http.forward(request).await?.into_parts();
        let mut told: Value = serde_json::from_slice(&body).map_err(std::io::Error::other)?;
        if told["authorization_endpoint"] == "" {
            told["authorization_endpoint"] = "https://nowhere.example.org".into();
        }
        Ok::<_, std::io::Error>(HttpResponse::from_parts(parts, told.to_string().into_bytes()))
    };
    let issuer = IssuerUrl::new(rotator.place.issuer_url.clone()).unwrap();
    let provider = CoreProviderMetadata::discover_async(issuer.clone(), &forward).await.unwrap();
    assert_eq!(provider.issuer(), &issuer);
    assert_eq!(provider.token_endpoint().unwrap().as_str(), rotator.place.token_endpoint);
    assert_eq!(provider.jwks_uri().as_str(), rotator.place.jwks_url);
    let algorithms = provider.id_token_signing_alg_values_supported();
    assert_eq!(algorithms, &[CoreJwsSigningAlgorithm::EcdsaP256Sha256]);
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let kid = tokens::header(&token)["kid"].clone();
    let known = provider.jwks().keys().iter().filter_map(|key| key.key_id());
    assert!(known.into_iter().any(|id| kid == id.as_str()), "{kid}");
    let elsewhere = IssuerUrl::new(format!("{}/", rotator.place.issuer_url)).unwrap();
    CoreProviderMetadata::discover_async(elsewhere, &forward).await.unwrap_err();
}

impl crate::support::http::Http {
    /// Sends the request of another library's client.
    async fn forward(&self, request: HttpRequest) -> Result<HttpResponse, std::io::Error> {
        let (parts, body) = request.into_parts();
        self.pass(parts, body).await.map_err(std::io::Error::other)
    }
}
