//! The exchange as it should go, seen by the agent, by a resource server with a JWT library that is not ours, and by
//! any client that reads the metadata.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR};
use crate::support::http::Call;
use crate::support::oauth::{Client, INGRESS, approved_rotation, exchange_fields};
use crate::support::tokens::{header, now};

/// Verifies a token as a resource server of `audience` would.
async fn verify(client: &Client, token: &str, audience: &str) -> Result<Value, String> {
    let keys = client.send(Call::get(&client.place.jwks_url)).await.expect(200).json();
    let keys: JwkSet = serde_json::from_value(keys).map_err(|error| error.to_string())?;
    let kid = jsonwebtoken::decode_header(token)
        .map_err(|error| error.to_string())?
        .kid
        .ok_or("no kid")?;
    let key = DecodingKey::from_jwk(keys.find(&kid).ok_or("unknown kid")?)
        .map_err(|error| error.to_string())?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[&client.place.issuer_url]);
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation)
        .map_err(|error| error.to_string())?;
    Ok(decoded.claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_svid_and_an_approved_intent_become_one_narrow_token() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let started = now();
    let answer = rotator.exchange(&intent).await.expect(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.json();
    assert_eq!(body["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["scope"], INGRESS.scope);
    assert!(body.get("refresh_token").is_none(), "{body}");
    let token = answer.text("access_token");
    assert_eq!(header(&token)["typ"], "at+jwt");
    let claims = verify(&rotator, &token, INGRESS.audience).await.expect("a good token");
    let id = rotator.place.id(ROTATOR.path);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(id), &json!(id)));
    assert_eq!(claims["aud"], INGRESS.audience);
    assert_eq!(claims["scope"], INGRESS.scope);
    assert_eq!(claims["intent"]["id"], intent);
    assert_eq!(claims["intent"]["playbook"], "ingress-cert-rotation");
    assert!(
        claims["intent"]["version"].is_u64() && claims["intent"]["digest"].is_string(),
        "{claims}"
    );
    let details = claims["authorization_details"].to_string();
    assert!(
        details.contains("checkout") && details.contains("eu-west-1"),
        "the parameters are not in {details}"
    );
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(body["expires_in"].as_u64().unwrap(), lifetime);
    assert!(lifetime <= 5 * 60, "{lifetime} s are more than expected run time and retry buffer");
    assert!(claims["iat"].as_u64().unwrap() >= started);
    verify(&rotator, &token, "https://other.example.org").await.expect_err("another audience");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_redeemed_once() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    rotator.exchange(&intent).await.expect(200);
    rotator.exchange(&intent).await.oauth_error("access_denied").refused("grant_consumed");
    assert_eq!(rotator.look(&intent).await.expect(200).json()["state"], "consumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_exchanges_at_once_one_is_answered() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let answers = futures::future::join_all((0..16).map(|_| rotator.exchange(&intent))).await;
    let issued = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(issued, 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        answer.refused("grant_consumed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_while_an_intent_waits_for_approval() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    rotator.exchange(&intent).await.oauth_error("access_denied").refused("approval_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_intent_reads_like_an_unknown_one() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let unknown = "int_00000000000000000000000000";
    let intent = approved_rotation(&daemon, &rotator).await;
    for _state in ["approved", "consumed"] {
        let foreign = second.exchange(&intent).await;
        let stranger = second.exchange(unknown).await;
        assert_eq!((foreign.status, &foreign.body), (stranger.status, &stranger.body));
        assert_eq!(foreign.json()["error"], "access_denied", "{foreign:?}");
        let (foreign, stranger) = (second.look(&intent).await, second.look(unknown).await);
        assert_eq!((foreign.status, stranger.status), (404, 404), "{foreign:?}");
        let told =
            |body: Value| (body["code"].clone(), body["title"].clone(), body["detail"].clone());
        assert_eq!(told(foreign.json()), told(stranger.json()));
        rotator.exchange(&intent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_narrow_the_grant() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let narrowing =
        [("scope", INGRESS.scope.to_owned()), ("audience", INGRESS.audience.to_owned())];
    let fields = [&exchange_fields(&rotator.svid, &intent)[..], &narrowing[..]].concat();
    let token = rotator.token(&fields).await.expect(200).text("access_token");
    let claims = verify(&rotator, &token, INGRESS.audience).await.unwrap();
    assert_eq!(claims["scope"], INGRESS.scope);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_server_introspects_tokens_for_its_own_audience() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let stranger = Client::service(&daemon, PRODUCTION, "/service/stranger").await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let told = ingress.introspect(&token).await.expect(200).json();
    assert_eq!(told["active"], true, "{told}");
    assert_eq!(told["sub"], rotator.place.id(ROTATOR.path));
    assert_eq!(told["aud"], INGRESS.audience);
    assert_eq!(told["intent"]["id"], intent);
    let nothing = json!({ "active": false });
    assert_eq!(stranger.introspect(&token).await.expect(200).json(), nothing);
    assert_eq!(ingress.introspect("not.a.token").await.expect(200).json(), nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_names_what_is_served() {
    let daemon = Daemon::start().await;
    for trust_domain in [PRODUCTION, RESTARTER.trust_domain] {
        let (place, http) = (daemon.place(trust_domain), daemon.http(trust_domain));
        for document in ["oauth-authorization-server", "openid-configuration"] {
            let url = format!("{}/.well-known/{document}", place.issuer_url);
            let metadata = http.send(Call::get(&url)).await.expect(200).json();
            assert_eq!(metadata["issuer"], place.issuer_url, "{document}");
            assert_eq!(metadata["jwks_uri"], place.jwks_url, "{document}");
        }
        let url = format!("{}/.well-known/oauth-authorization-server", place.issuer_url);
        let metadata = http.send(Call::get(&url)).await.json();
        assert_eq!(metadata["token_endpoint"], place.token_endpoint);
        assert_eq!(metadata["introspection_endpoint"], place.introspection_endpoint());
        let keys = http.send(Call::get(&place.jwks_url)).await.expect(200).json();
        for key in keys["keys"].as_array().unwrap() {
            assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("ES256")), "{key}");
            assert!(key.get("d").is_none(), "a private key is in the key set");
        }
    }
}
