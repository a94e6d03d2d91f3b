//! Making compact JWS: the signer behind a trait, the token in a type that does not print.

use std::{error::Error, fmt, sync::Arc};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::{Algorithm, JwkSet, KeyId, MAX_TOKEN_BYTES, PublicKey, base64url};

/// A private key that signs, wherever it lives.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The algorithm of every signature.
    fn algorithm(&self) -> Algorithm;

    /// The `kid` that the header names.
    fn key_id(&self) -> &KeyId;

    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs in the form of JWS (RFC 7518 section 3): ES256 and ES384 as `r || s`, never ASN.1.
    ///
    /// # Errors
    /// Whatever kept the key from signing.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The keys of one issuer of tokens: whichever signs at the moment, and all whose signatures count.
pub trait SigningKeys: fmt::Debug + Send + Sync {
    /// The key that signs now. Another one may the next time: whoever signs asks for each token.
    fn signer(&self) -> Arc<dyn Signer>;

    /// The keys that its tokens verify with, the signer's among them.
    fn published(&self) -> Arc<JwkSet>;
}

/// One key that signs for ever, and the set it is published in.
#[derive(Clone, Debug)]
pub struct FixedKeys {
    signer: Arc<dyn Signer>,
    published: Arc<JwkSet>,
}

impl FixedKeys {
    /// `published` holds the signer's key, and others if it is to.
    pub fn new(signer: Arc<dyn Signer>, published: JwkSet) -> Self {
        Self { signer, published: Arc::new(published) }
    }
}

impl SigningKeys for FixedKeys {
    fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.signer)
    }

    fn published(&self) -> Arc<JwkSet> {
        Arc::clone(&self.published)
    }
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[error("token could not be signed")]
pub struct SignError(#[source] Box<dyn Error + Send + Sync>);

impl SignError {
    /// Wraps the reason.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// A signed token. A secret: it zeroes itself, does not print and cannot be compared.
#[derive(Clone)]
pub struct CompactToken(Zeroizing<String>);

impl CompactToken {
    /// Keeps a token that came from elsewhere; nothing about it is checked.
    #[must_use]
    pub fn from_string(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// The token itself, for the wire.
    #[must_use]
    pub fn expose_token(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CompactToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompactToken(<{} bytes>)", self.0.len())
    }
}

/// Signs `claims` as a compact JWS whose header has `alg`, `kid` and, if given, `typ`, and nothing else (JW-2).
///
/// # Errors
/// The claims do not become JSON, the token would be longer than [`MAX_TOKEN_BYTES`], or the signer's own error.
pub fn sign_compact<C: Serialize>(
    typ: Option<&str>,
    claims: &C,
    signer: &dyn Signer,
) -> Result<CompactToken, SignError> {
    sign_compact_within(typ, claims, signer, MAX_TOKEN_BYTES)
}

/// Signs what is no credential and may be longer: a document such as a status list. See [`sign_compact`].
///
/// # Errors
/// As [`sign_compact`], with `max_bytes` as the longest.
pub fn sign_compact_within<C: Serialize>(
    typ: Option<&str>,
    claims: &C,
    signer: &dyn Signer,
    max_bytes: usize,
) -> Result<CompactToken, SignError> {
    #[derive(Serialize)]
    struct Header<'a> {
        alg: Algorithm,
        kid: &'a KeyId,
        #[serde(skip_serializing_if = "Option::is_none")]
        typ: Option<&'a str>,
    }
    let header = Header { alg: signer.algorithm(), kid: signer.key_id(), typ };
    let header = base64url::encode(serde_json::to_vec(&header).map_err(SignError::new)?);
    let claims = Zeroizing::new(serde_json::to_vec(claims).map_err(SignError::new)?);
    let claims = Zeroizing::new(base64url::encode(&*claims));
    let input = join(&header, &claims, max_bytes)?;
    let signature = base64url::encode(signer.sign(input.as_bytes())?);
    join(&input, &signature, max_bytes).map(CompactToken)
}

/// Two parts with a dot between, in exactly the room that they need: a text that grows leaves copies behind, and one with
/// room to spare takes memory for as long as somebody keeps the token.
fn join(left: &str, right: &str, max_bytes: usize) -> Result<Zeroizing<String>, SignError> {
    let length = left.len() + 1 + right.len();
    if length > max_bytes {
        return Err(SignError::new(format!("token is longer than {max_bytes} bytes")));
    }
    let mut joined = Zeroizing::new(String::with_capacity(length));
    joined.push_str(left);
    joined.push('.');
    joined.push_str(right);
    Ok(joined)
}

#[cfg(test)]
impl CompactToken {
    /// The memory that the token holds, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}
