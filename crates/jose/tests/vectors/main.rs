//! Test vectors through the public interface alone: our own file, and those of Wycheproof.

mod ecdsa;
mod ours;
mod rsa;
mod web_file;
mod web_key;
mod web_signature;

use marque_jose::{Algorithm, Jwk, UnverifiedCompact, UnverifiedJws, VerifiedCompact};
use serde_json::Value;

/// Verifies a token of any payload as a caller does who holds one JWK; the error is the name of the variant.
fn verify_any(jwk: &Value, token: &str) -> Result<VerifiedCompact, String> {
    let jwk = Jwk::parse(jwk).map_err(|error| format!("Key: {error:?}"))?;
    let token = UnverifiedCompact::parse(token).map_err(|error| format!("{error:?}"))?;
    token.verify(&jwk.key, jwk.algorithms()).map_err(|error| format!("{error:?}"))
}

/// Verifies a token of claims, with the caller's own allow-list where there is one.
fn verify_claims(jwk: &Value, allowed: Option<&[Algorithm]>, token: &str) -> Result<(), String> {
    let jwk = Jwk::parse(jwk).map_err(|error| format!("Key: {error:?}"))?;
    let token = UnverifiedJws::parse(token).map_err(|error| format!("{error:?}"))?;
    let allowed = allowed.unwrap_or_else(|| jwk.algorithms());
    token.verify(&jwk.key, allowed).map(drop).map_err(|error| format!("{error:?}"))
}
