//! Tokens made by hand, to be refused: any header, any claims, any key.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::Value;

/// A key that no trust domain knows.
pub(crate) struct ScratchKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl ScratchKey {
    #[expect(clippy::disallowed_methods, reason = "an attacker's key is as random as any")]
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .expect("a key");
        Self { pair, random }
    }

    /// The key of a private JWK on P-256.
    #[expect(clippy::disallowed_methods, reason = "a holder's signature is as random as any")]
    pub(crate) fn of_jwk(private_jwk: &str) -> Self {
        let jwk: Value = serde_json::from_str(private_jwk).expect("a JWK");
        let part = |name: &str| {
            URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a text")).expect("base64url")
        };
        let random = SystemRandom::new();
        let point = [vec![4], part("x"), part("y")].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &part("d"),
            &point,
            &random,
        );
        Self { pair: pair.expect("the halves belong together"), random }
    }

    /// A DPoP proof for a request to `endpoint` (RFC 9449 section 4.2).
    pub(crate) fn proof(&self, endpoint: &str, jti: &str, nonce: Option<&str>) -> String {
        let header = serde_json::json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() });
        let mut claims =
            serde_json::json!({ "jti": jti, "htm": "POST", "htu": endpoint, "iat": now() });
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        self.sign(&header, &claims)
    }

    /// A compact JWS with exactly this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", segment(header), segment(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public key as a JWK, to be smuggled into a header.
    pub(crate) fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        serde_json::json!({
            "kty": "EC",
            "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        })
    }
}

/// A header or a payload as a segment of a compact JWS.
pub(crate) fn segment(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The header of a compact JWS, unverified.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

/// The claims of a compact JWS, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The token with other claims under its old signature.
pub(crate) fn with_claims(token: &str, claims: &Value) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    format!("{}.{}.{}", parts[0], segment(claims), parts[2])
}

/// The token with another header under its old signature.
pub(crate) fn with_header(token: &str, header: &Value) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    format!("{}.{}.{}", segment(header), parts[1], parts[2])
}

/// Seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "handmade claims need the host's time")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).expect("a compact JWS has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The present, as the scratch authorities want it.
pub(crate) fn timestamp() -> jiff::Timestamp {
    let seconds = i64::try_from(now()).expect("a time");
    jiff::Timestamp::from_second(seconds).expect("a time")
}
