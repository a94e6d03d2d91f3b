//! DPoP proofs by hand, so that a test can spoil any part of one.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use marque_jose::{Jwk, Signer, base64url};
use serde_json::{Value, json};

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A DPoP proof (RFC 9449 §4.2) before it is signed.
#[derive(Debug, Clone)]
pub struct ScratchProof {
    /// The header.
    pub header: Value,
    /// The claims.
    pub claims: Value,
}

impl ScratchProof {
    /// A correct proof by this key for a request, with a `jti` of its own.
    #[must_use]
    pub fn new(key: &dyn Signer, method: &str, uri: &str, issued_at: Timestamp) -> Self {
        let public = key.public_key().clone();
        let jwk = Jwk { key: public, kid: None, key_use: None, alg: None }.to_value();
        let jti = format!("jti-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let iat = issued_at.as_second();
        Self {
            header: json!({"typ": "dpop+jwt", "alg": key.algorithm().as_str(), "jwk": jwk}),
            claims: json!({"jti": jti, "htm": method, "htu": uri, "iat": iat}),
        }
    }

    /// With this claim; `null` takes it away.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// With this member of the header; `null` takes it away.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// With this member of the key; `null` takes it away.
    ///
    /// # Panics
    /// The header has no key any more.
    #[must_use]
    pub fn jwk(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(self.header.get_mut("jwk").expect("a key"), name, value.into());
        self
    }

    /// The proof, signed.
    ///
    /// # Panics
    /// The key does not sign.
    #[must_use]
    pub fn sign(&self, key: &dyn Signer) -> String {
        let (header, claims) = (self.header.to_string(), self.claims.to_string());
        let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
        let signature = key.sign(input.as_bytes()).expect("a signature");
        format!("{input}.{}", base64url::encode(signature))
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    let members = object.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}
