//! The key pair that a token is bound to (RFC 7800), on the side of its holder: a private JWK that is made here, handed
//! over, read back and signed with.
//!
//! P-256 alone. Absent: keeping such a key, and keys that sign for others (see `Signer` for those).

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use crate::json::{Limits, StrictJsonError, parse_object};
use crate::{Algorithm, Jwk, JwkError, KeyId, PublicKey, SignError, Signer, base64url};

/// A private JWK (RFC 7517, RFC 7518 section 6.2.2) as JSON. It zeroes itself, does not print and cannot be compared.
#[derive(Clone)]
pub struct PrivateJwk(Zeroizing<String>);

/// A P-256 key pair whose private half may be shown to its holder, because the holder is who it is made for.
///
/// ring keeps the private half in its own memory and does not zero it; the copy that is kept here for
/// [`HolderKey::to_private_jwk`] is zeroed.
pub struct HolderKey {
    pair: EcdsaKeyPair,
    scalar: Zeroizing<[u8; 32]>,
    public_key: PublicKey,
    key_id: KeyId,
}

/// Why there is no holder's key. No variant shows any part of a key.
#[derive(Debug, thiserror::Error)]
pub enum HolderKeyError {
    /// ring drew no key; it never says why.
    #[error("could not generate a key pair")]
    Generate,
    /// Not one strict JSON object.
    #[error("private key is not a strict JSON object")]
    Json(#[source] StrictJsonError),
    /// The public half is refused.
    #[error("public half of the private key is refused")]
    Public(#[source] JwkError),
    /// The key is of another type than P-256.
    #[error("private key is not one of P-256")]
    NotP256,
    /// `d` is missing, or not 32 bytes of canonical base64url.
    #[error("private key has no member `d` of 32 bytes")]
    Scalar,
    /// The private half does not belong to the public one.
    #[error("the two halves of the private key do not belong together")]
    Halves,
}

/// What ring writes before the private scalar of a P-256 key in PKCS#8 (RFC 5958 around RFC 5915); the public point
/// comes last.
const PKCS8_PREFIX: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
    0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02,
    0x01, 0x01, 0x04, 0x20,
];

impl PrivateJwk {
    /// The longest that is read, in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// Keeps a JWK that came from elsewhere; nothing about it is checked until [`HolderKey::from_private_jwk`].
    #[must_use]
    pub fn from_string(json: String) -> Self {
        Self(Zeroizing::new(json))
    }

    /// The JSON itself, for the wire. Whoever copies it zeroes the copy.
    #[must_use]
    pub fn expose_json(&self) -> &str {
        &self.0
    }
}

impl HolderKey {
    /// A new key pair, drawn by ring. Its key id is the SHA-256 thumbprint of RFC 7638.
    ///
    /// # Errors
    /// [`HolderKeyError::Generate`].
    pub fn generate() -> Result<Self, HolderKeyError> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &system_random())
                .map_err(|_unspecified| HolderKeyError::Generate)?;
        let pkcs8 = document.as_ref();
        let scalar = pkcs8.strip_prefix(&PKCS8_PREFIX).and_then(<[u8]>::first_chunk::<32>);
        let (Some(scalar), Some(point)) = (scalar, pkcs8.last_chunk::<65>()) else {
            return Err(HolderKeyError::Generate);
        };
        let public_key =
            PublicKey::from_p256_point(point).map_err(|_not_on_curve| HolderKeyError::Generate)?;
        let key_id = thumbprint_id(&public_key).ok_or(HolderKeyError::Generate)?;
        Self::new(Zeroizing::new(*scalar), public_key, key_id)
    }

    /// Reads a private JWK, as the holder got it: `kty`, `crv`, `x`, `y` and `d`, with `alg` ES256 if there is one. A key
    /// without `kid` gets its thumbprint for one.
    ///
    /// # Errors
    /// See [`HolderKeyError`]; the two halves must belong together.
    pub fn from_private_jwk(jwk: &PrivateJwk) -> Result<Self, HolderKeyError> {
        let limits = Limits { max_bytes: PrivateJwk::MAX_BYTES, max_depth: 4 };
        let mut members =
            parse_object(jwk.expose_json().as_bytes(), &limits).map_err(HolderKeyError::Json)?;
        // Out of the object before anything else sees it; what is left is a public key.
        let Some(Value::String(encoded)) = members.remove("d") else {
            return Err(HolderKeyError::Scalar);
        };
        let encoded = Zeroizing::new(encoded);
        let decoded = base64url::decode(encoded.as_bytes()).map(Zeroizing::new);
        let decoded = decoded.map_err(|_position| HolderKeyError::Scalar)?;
        let scalar: [u8; 32] =
            decoded.as_slice().try_into().map_err(|_length| HolderKeyError::Scalar)?;
        let scalar = Zeroizing::new(scalar);
        let Jwk { key, kid, key_use: _, alg: _ } =
            Jwk::parse(&Value::Object(members)).map_err(HolderKeyError::Public)?;
        let key_id = kid.or_else(|| thumbprint_id(&key)).ok_or(HolderKeyError::NotP256)?;
        Self::new(scalar, key, key_id)
    }

    /// The private JWK: `kty`, `crv`, `x`, `y`, `d`, `alg` and `kid`.
    #[must_use]
    pub fn to_private_jwk(&self) -> PrivateJwk {
        let (mut x, mut y) = (String::new(), String::new());
        if let Some((_, coordinates)) = self.public_key.point().and_then(<[u8]>::split_first) {
            let (first, second) = coordinates.split_at(coordinates.len() / 2);
            (x, y) = (base64url::encode(first), base64url::encode(second));
        }
        let d = Zeroizing::new(base64url::encode(*self.scalar));
        // A kid is any printable text, so JSON has to escape it; the rest is base64url.
        let kid = Value::from(self.key_id.as_str());
        // Large enough from the start: a text that grows leaves copies behind.
        let mut json = Zeroizing::new(String::with_capacity(1024));
        json.push_str(r#"{"kty":"EC","crv":"P-256","x":""#);
        json.push_str(&x);
        json.push_str(r#"","y":""#);
        json.push_str(&y);
        json.push_str(r#"","d":""#);
        json.push_str(&d);
        json.push_str(r#"","alg":"ES256","kid":"#);
        json.push_str(&kid.to_string());
        json.push('}');
        PrivateJwk(json)
    }

    /// The public half with its algorithm and without a name or use, as the `cnf` claim has it (RFC 7800 section 3.2).
    #[must_use]
    pub fn to_confirmation_jwk(&self) -> Jwk {
        Jwk { key: self.public_key.clone(), kid: None, key_use: None, alg: Some(Algorithm::Es256) }
    }

    fn new(
        mut scalar: Zeroizing<[u8; 32]>,
        public_key: PublicKey,
        key_id: KeyId,
    ) -> Result<Self, HolderKeyError> {
        let PublicKey::EcP256(_) = &public_key else { return Err(HolderKeyError::NotP256) };
        let point = public_key.point().ok_or(HolderKeyError::NotP256)?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            scalar.as_slice(),
            point,
            &system_random(),
        );
        match pair {
            Ok(pair) => Ok(Self { pair, scalar, public_key, key_id }),
            Err(_rejected) => {
                scalar.zeroize();
                Err(HolderKeyError::Halves)
            }
        }
    }
}

impl Signer for HolderKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Es256
    }

    fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self.pair.sign(&system_random(), message) {
            Ok(signature) => Ok(signature.as_ref().to_vec()),
            Err(error) => Err(SignError::new(error.to_string())),
        }
    }
}

impl fmt::Debug for HolderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolderKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateJwk(..)")
    }
}

/// Base64url of a thumbprint is printable ASCII of 43 bytes, so this is never `None`.
fn thumbprint_id(key: &PublicKey) -> Option<KeyId> {
    base64url::encode(key.thumbprint()).parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "ring draws keys and nonces itself, never from a test seed"
)]
fn system_random() -> SystemRandom {
    SystemRandom::new()
}

#[cfg(test)]
mod tests;
