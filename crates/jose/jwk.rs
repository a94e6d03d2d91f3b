//! JSON Web Keys and key sets (RFC 7517) of public signature keys.

use serde_json::{Map, Value, json};

use crate::{Algorithm, KeyError, KeyId, KeyIdError, PublicKey, UnknownAlgorithm, json as strict};

/// A public key with its name, use and algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    /// The key.
    pub key: PublicKey,
    /// `kid`.
    pub kid: Option<KeyId>,
    /// `use`, as it stands; what it must be is for the reader of the set to say.
    pub key_use: Option<String>,
    /// `alg`: when present, the only algorithm that this key may be used with. It always fits the key.
    pub alg: Option<Algorithm>,
}

/// A JWK Set. Members beside `keys` are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwkSet {
    /// The keys that are supported, in the order of the document.
    pub keys: Vec<Jwk>,
}

/// Why a JWK or a JWK Set was refused.
#[derive(Debug, thiserror::Error)]
pub enum JwkError {
    /// The document is not strict JSON, or not an object.
    #[error("key set is not a strict JSON object")]
    Json(#[source] strict::StrictJsonError),
    /// `keys` is missing or not an array.
    #[error("key set has no array `keys`")]
    NoKeys,
    /// More than [`JwkSet::MAX_KEYS`].
    #[error("key set has more than {} keys", JwkSet::MAX_KEYS)]
    TooManyKeys,
    /// Two keys of one name.
    #[error("key set has two keys `{0}`")]
    DuplicateKeyId(KeyId),
    /// The key itself was refused.
    #[error("public key is refused")]
    Key(#[source] KeyError),
    /// `kid` is not a key id.
    #[error("key id is refused")]
    KeyId(#[source] KeyIdError),
    /// `kid`, `use` or `alg` is not a string, or `key_ops` not an array.
    #[error("key member `{0}` has the wrong type")]
    Type(&'static str),
    /// `alg` is not a supported algorithm, e.g. one for encryption. A key set skips such a key.
    #[error("algorithm of the key is refused")]
    Algorithm(#[source] UnknownAlgorithm),
    /// `alg` is an algorithm of another key type.
    #[error("algorithm `{0}` does not fit the key")]
    AlgorithmMismatch(Algorithm),
    /// `use` is `enc`, or `key_ops` does not hold `verify`. A key set skips such a key.
    #[error("key is not for verification")]
    NotForVerification,
}

impl Jwk {
    /// A key with its name, use `sig`, and the algorithm pinned when the type has only one.
    #[must_use]
    pub fn for_signatures(key: PublicKey, kid: KeyId) -> Self {
        let alg = match key.algorithms() {
            [only] => Some(*only),
            _ => None,
        };
        Self { key, kid: Some(kid), key_use: Some("sig".to_owned()), alg }
    }

    /// A key of which one algorithm alone is used: with its name, use `sig` and that algorithm, which should fit the key.
    #[must_use]
    pub fn pinned(key: PublicKey, kid: KeyId, alg: Algorithm) -> Self {
        Self { key, kid: Some(kid), key_use: Some("sig".to_owned()), alg: Some(alg) }
    }

    /// Reads one JWK.
    ///
    /// # Errors
    /// See [`JwkError`].
    pub fn parse(value: &Value) -> Result<Self, JwkError> {
        let key = PublicKey::from_jwk_value(value).map_err(JwkError::Key)?;
        let kid = member(value, "kid")?.map(str::parse).transpose().map_err(JwkError::KeyId)?;
        let key_use = member(value, "use")?.map(str::to_owned);
        let alg: Option<Algorithm> =
            member(value, "alg")?.map(str::parse).transpose().map_err(JwkError::Algorithm)?;
        if let Some(alg) = alg.filter(|alg| !key.algorithms().contains(alg)) {
            return Err(JwkError::AlgorithmMismatch(alg));
        }
        if key_use.as_deref() == Some("enc") {
            return Err(JwkError::NotForVerification);
        }
        if let Some(operations) = value.get("key_ops") {
            let operations = operations.as_array().ok_or(JwkError::Type("key_ops"))?;
            if !operations.iter().any(|operation| operation == "verify") {
                return Err(JwkError::NotForVerification);
            }
        }
        Ok(Self { key, kid, key_use, alg })
    }

    /// The algorithms that a signature by this key may name: the pinned one, else those of its type.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        self.alg.as_ref().map_or_else(|| self.key.algorithms(), std::slice::from_ref)
    }

    /// The JWK as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut members = self.key.to_jwk();
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.into());
            }
        };
        set("kid", self.kid.as_ref().map(KeyId::as_str));
        set("use", self.key_use.as_deref());
        set("alg", self.alg.map(Algorithm::as_str));
        Value::Object(members)
    }
}

impl JwkError {
    /// Whether the key is only of a kind that is not supported here, which a set skips (RFC 7517 section 5).
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Key(KeyError::Unsupported { .. } | KeyError::RsaSize { .. })
                | Self::Algorithm(_)
                | Self::NotForVerification
        )
    }
}

impl JwkSet {
    /// The most keys in one document.
    pub const MAX_KEYS: usize = 256;
    /// The size and depth of a document.
    pub const LIMITS: strict::Limits = strict::Limits { max_bytes: 1024 * 1024, max_depth: 16 };

    /// Reads a JWK Set. Keys that are not supported are skipped (RFC 7517 section 5); malformed ones refuse the set.
    ///
    /// # Errors
    /// See [`JwkError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, JwkError> {
        let document = strict::parse_object(bytes, &Self::LIMITS).map_err(JwkError::Json)?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or(JwkError::NoKeys)?;
        if entries.len() > Self::MAX_KEYS {
            return Err(JwkError::TooManyKeys);
        }
        let mut set = Self::default();
        for entry in entries {
            let jwk = match Jwk::parse(entry) {
                Ok(jwk) => jwk,
                Err(error) if error.is_unsupported() => continue,
                Err(error) => return Err(error),
            };
            if let Some(kid) = jwk.kid.as_ref().filter(|kid| set.find(kid).is_some()) {
                return Err(JwkError::DuplicateKeyId(kid.clone()));
            }
            set.keys.push(jwk);
        }
        Ok(set)
    }

    /// The key of this name.
    #[must_use]
    pub fn find(&self, kid: &KeyId) -> Option<&Jwk> {
        self.keys.iter().find(|jwk| jwk.kid.as_ref() == Some(kid))
    }

    /// The set as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({ "keys": self.keys.iter().map(Jwk::to_value).collect::<Vec<_>>() })
    }
}

fn member<'a>(jwk: &'a Value, name: &'static str) -> Result<Option<&'a str>, JwkError> {
    jwk.as_object()
        .and_then(|members: &Map<_, _>| members.get(name))
        .map(|value| value.as_str().ok_or(JwkError::Type(name)))
        .transpose()
}
