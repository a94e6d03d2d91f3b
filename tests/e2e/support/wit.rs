//! The WIT profile of the Workload API below any client library, and a verifier of WIT-SVIDs that is not ours.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use prost::Message;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::Value;
use tonic::{Request, Status, Streaming};

use super::grpc::Client;
use super::wait::within;

/// The messages as the standard numbers their fields, written here by hand so that our own `proto/` is under test too.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WitSvidRequest {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WitSvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<WitSvid>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WitSvid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    #[prost(string, tag = "2")]
    pub(crate) wit_svid: String,
    #[prost(string, tag = "3")]
    pub(crate) wit_svid_key: String,
    #[prost(string, tag = "4")]
    pub(crate) hint: String,
}

#[derive(Clone, PartialEq, Message)]
struct WitBundlesResponse {
    #[prost(map = "string, string", tag = "1")]
    bundles: HashMap<String, String>,
}

pub(crate) fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().expect("a header value"));
    request
}

/// Opens the stream of WIT-SVIDs: of one identity, or of all where the name is empty.
pub(crate) async fn open(
    socket: &Path,
    spiffe_id: &str,
) -> Result<Streaming<WitSvidResponse>, Status> {
    let request = with_header(WitSvidRequest { spiffe_id: spiffe_id.to_owned() });
    Client::connect(socket).await.stream("/SpiffeWorkloadAPI/FetchWITSVID", request).await
}

/// The next message of a stream.
pub(crate) async fn next(stream: &mut Streaming<WitSvidResponse>) -> Result<Vec<WitSvid>, Status> {
    let message = within("a message", stream.message()).await?;
    Ok(message.expect("the stream goes on").svids)
}

/// The WIT-SVIDs of this process.
pub(crate) async fn fetch(socket: &Path) -> Result<Vec<WitSvid>, Status> {
    next(&mut open(socket, "").await?).await
}

/// The key sets that verify them, by trust domain id.
pub(crate) async fn bundles(socket: &Path) -> HashMap<String, String> {
    let request = with_header(WitSvidRequest::default());
    let mut client = Client::connect(socket).await;
    let stream = client.stream("/SpiffeWorkloadAPI/FetchWITBundles", request).await;
    let mut stream: Streaming<WitBundlesResponse> = stream.expect("bundles");
    let message = within("the bundles", stream.message()).await.expect("bundles");
    message.expect("a message").bundles
}

/// The claims of a WIT-SVID, verified by the key set of its trust domain with `jsonwebtoken`.
pub(crate) fn verify(token: &str, keys: &str) -> Result<Value, String> {
    let told = |error: jsonwebtoken::errors::Error| error.to_string();
    let keys: JwkSet = serde_json::from_str(keys).map_err(|error| error.to_string())?;
    let header = jsonwebtoken::decode_header(token).map_err(told)?;
    assert_eq!(header.typ.as_deref(), Some("wit+jwt"), "{header:?}");
    let key = keys.find(&header.kid.ok_or("no kid")?).ok_or("unknown kid")?;
    let key = DecodingKey::from_jwk(key).map_err(told)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_aud = false;
    validation.validate_nbf = true;
    validation.leeway = 0;
    validation.set_required_spec_claims(&["exp", "sub"]);
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).map_err(told)?;
    Ok(decoded.claims)
}

/// Proves that the private JWK belongs to `cnf.jwk` of a token's claims: what the one signs, the other verifies.
#[expect(clippy::disallowed_methods, reason = "a holder's signature is as random as any")]
pub(crate) fn assert_holder(claims: &Value, private_jwk: &str) {
    let (public, private): (&Value, Value) =
        (&claims["cnf"]["jwk"], serde_json::from_str(private_jwk).expect("a JWK"));
    assert_eq!((&public["alg"], &private["alg"]), (&"ES256".into(), &"ES256".into()));
    assert!(public.get("d").is_none(), "{public}");
    let part = |jwk: &Value, name: &str| {
        URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a text")).expect("base64url")
    };
    let point = [vec![4], part(public, "x"), part(public, "y")].concat();
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &part(&private, "d"),
        &point,
        &random,
    );
    let signature =
        pair.expect("the halves belong together").sign(&random, b"proof").expect("signs");
    let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
    let public: Jwk = serde_json::from_value(public.clone()).expect("a public JWK");
    let key = DecodingKey::from_jwk(&public).expect("a key");
    let verified = jsonwebtoken::crypto::verify(&signature, b"proof", &key, Algorithm::ES256);
    assert!(verified.expect("a signature"), "the proof is not by the key in the token");
}
