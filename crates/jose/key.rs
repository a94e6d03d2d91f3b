//! Public keys that verify signatures: P-256, P-384 and RSA of 2048 to 4096 bits.
//!
//! A key is checked when it is read: its type, its size, that a point lies on its curve. Absent: private and symmetric
//! keys, P-521, secp256k1 and Edwards curves.

mod curve;
mod spki;

use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use crate::{Algorithm, base64url, sha256};
use curve::Curve;

/// A public key. Its data is private: whatever exists was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// A point on NIST P-256.
    EcP256(EcKey),
    /// A point on NIST P-384.
    EcP384(EcKey),
    /// An RSA key of 2048 to 4096 bits.
    Rsa(RsaKey),
}

/// An uncompressed point (SEC 1 section 2.3.3) that lies on its curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcKey {
    point: Vec<u8>,
}

/// Modulus and exponent, big-endian without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// Why a public key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key type, curve or key algorithm that is not supported. A key set skips such a key.
    #[error("key type `{kind}` is not supported")]
    Unsupported {
        /// The name of the type, cut to 64 characters.
        kind: String,
    },
    /// A member that the key type needs is missing or not a string.
    #[error("key member `{0}` is missing or not a string")]
    Member(&'static str),
    /// A member is not canonical base64url.
    #[error("key member `{0}` is not canonical base64url")]
    Encoding(&'static str),
    /// A coordinate, point, modulus or exponent with the wrong length or leading zeros.
    #[error("key member `{0}` has the wrong length")]
    Length(&'static str),
    /// The point is not on the curve.
    #[error("point is not on the curve")]
    NotOnCurve,
    /// The RSA modulus is outside 2048 to 4096 bits. A key set skips such a key.
    #[error("RSA key of {bits} bits is outside {} to {} bits", RsaKey::MIN_BITS, RsaKey::MAX_BITS)]
    RsaSize {
        /// The size found.
        bits: usize,
    },
    /// The RSA modulus is even, or the exponent is even, 1 or above 2^32.
    #[error("RSA key has an unsafe modulus or exponent")]
    RsaValue,
    /// The JWK holds a private or symmetric part, which has no place in a public key.
    #[error("key has the private member `{0}`")]
    Private(&'static str),
    /// Not a DER SubjectPublicKeyInfo.
    #[error("not a DER subject public key info")]
    Der,
    /// The JWK is not a JSON object.
    #[error("key is not a JSON object")]
    NotAnObject,
}

impl PublicKey {
    /// Reads the key members of a JWK (RFC 7517, RFC 7518 section 6); `kid`, `use` and `alg` belong to [`crate::Jwk`].
    ///
    /// # Errors
    /// See [`KeyError`]; a private or symmetric member is refused, never skipped.
    pub fn from_jwk_value(jwk: &Value) -> Result<Self, KeyError> {
        let jwk = jwk.as_object().ok_or(KeyError::NotAnObject)?;
        let kind = text(jwk, "kty")?;
        match kind {
            "EC" | "RSA" => {}
            _ => return Err(KeyError::Unsupported { kind: crate::excerpt(kind) }),
        }
        if let Some(member) =
            ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].into_iter().find(|m| jwk.contains_key(*m))
        {
            return Err(KeyError::Private(member));
        }
        if kind == "RSA" {
            return RsaKey::new(bytes(jwk, "n")?, bytes(jwk, "e")?).map(Self::Rsa);
        }
        let curve = match text(jwk, "crv")? {
            "P-256" => Curve::P256,
            "P-384" => Curve::P384,
            other => return Err(KeyError::Unsupported { kind: crate::excerpt(other) }),
        };
        let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
        for (name, coordinate) in [("x", &x), ("y", &y)] {
            if coordinate.len() != curve.coordinate_bytes() {
                return Err(KeyError::Length(name));
            }
        }
        Self::from_point(curve, &[&[4], x.as_slice(), y.as_slice()].concat())
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), as certificates carry it.
    ///
    /// # Errors
    /// See [`KeyError`]; compressed points and explicit curve parameters are refused.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        match spki::read(der)? {
            spki::Parts::Point(curve, point) => Self::from_point(curve, point),
            spki::Parts::Rsa { modulus, exponent } => {
                RsaKey::new(modulus.to_vec(), exponent.to_vec()).map(Self::Rsa)
            }
        }
    }

    /// A P-256 key from its uncompressed point, `04 || x || y`.
    ///
    /// # Errors
    /// [`KeyError::NotOnCurve`], or [`KeyError::Length`] when the first byte is not 4.
    pub fn from_p256_point(point: &[u8; 65]) -> Result<Self, KeyError> {
        Self::from_point(Curve::P256, point)
    }

    /// An RSA key from its DER `RSAPublicKey` (RFC 8017 appendix A.1.1), the form that key pairs and tokens give it in.
    ///
    /// # Errors
    /// [`KeyError::Der`], and what an RSA key is refused for: its size, an unsafe modulus or exponent.
    pub fn from_rsa_public_key_der(der: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = spki::rsa_numbers(der)?;
        RsaKey::new(modulus.to_vec(), exponent.to_vec()).map(Self::Rsa)
    }

    /// The key members of the JWK: `kty` with `crv`, `x`, `y`, or with `n`, `e`.
    #[must_use]
    pub fn to_jwk(&self) -> Map<String, Value> {
        self.members()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect()
    }

    /// The SHA-256 JWK thumbprint (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        // Member names and values are plain ASCII without quotes, and `members` is in the order RFC 7638 demands.
        let members: Vec<_> = self
            .members()
            .into_iter()
            .map(|(name, value)| format!("\"{name}\":\"{value}\""))
            .collect();
        sha256(format!("{{{}}}", members.join(",")).as_bytes())
    }

    /// The algorithms whose signatures this key can verify.
    #[must_use]
    pub const fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::EcP256(_) => &[Es256],
            Self::EcP384(_) => &[Es384],
            Self::Rsa(_) => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
        }
    }

    /// The DER of its SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), which [`PublicKey::from_spki_der`] reads.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        match self {
            Self::EcP256(key) => spki::of_point(Curve::P256, &key.point),
            Self::EcP384(key) => spki::of_point(Curve::P384, &key.point),
            Self::Rsa(key) => spki::of_rsa(&key.modulus, &key.exponent),
        }
    }

    /// The uncompressed point of an elliptic-curve key.
    #[must_use]
    pub fn point(&self) -> Option<&[u8]> {
        match self {
            Self::EcP256(key) | Self::EcP384(key) => Some(&key.point),
            Self::Rsa(_) => None,
        }
    }

    /// Whether `signature`, in the form of JWS (ES* as `r || s`), is this key's over `message`. False as well when the
    /// algorithm does not fit the key. Tokens go through [`crate::UnverifiedJws::verify`], which holds the allow-list.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::EcP256(key), Algorithm::Es256) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &key.point)
                    .verify(message, signature)
            }
            (Self::EcP384(key), Algorithm::Es384) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, &key.point)
                    .verify(message, signature)
            }
            (Self::Rsa(key), algorithm) => {
                let Some(parameters) = rsa_parameters(algorithm) else { return false };
                RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent }
                    .verify(parameters, message, signature)
            }
            (Self::EcP256(_) | Self::EcP384(_), _) => return false,
        }
        .is_ok()
    }

    fn from_point(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        let (Some((&4, coordinates)), true) =
            (point.split_first(), point.len() == 1 + 2 * curve.coordinate_bytes())
        else {
            return Err(KeyError::Length("point"));
        };
        if !curve.contains(coordinates) {
            return Err(KeyError::NotOnCurve);
        }
        let key = EcKey { point: point.to_vec() };
        Ok(match curve {
            Curve::P256 => Self::EcP256(key),
            Curve::P384 => Self::EcP384(key),
        })
    }

    /// The required members in lexicographic order.
    fn members(&self) -> Vec<(&'static str, String)> {
        let ec = |name: &str, key: &EcKey| {
            let coordinates = key.point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            vec![
                ("crv", name.to_owned()),
                ("kty", "EC".to_owned()),
                ("x", base64url::encode(x)),
                ("y", base64url::encode(y)),
            ]
        };
        match self {
            Self::EcP256(key) => ec("P-256", key),
            Self::EcP384(key) => ec("P-384", key),
            Self::Rsa(key) => vec![
                ("e", base64url::encode(&key.exponent)),
                ("kty", "RSA".to_owned()),
                ("n", base64url::encode(&key.modulus)),
            ],
        }
    }
}

impl RsaKey {
    /// The smallest modulus, in bits.
    pub const MIN_BITS: usize = 2048;
    /// The largest modulus, in bits: a bound on the work that one signature check may cost.
    pub const MAX_BITS: usize = 4096;

    fn new(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Self, KeyError> {
        let bits = match modulus.first() {
            None | Some(0) => return Err(KeyError::Length("n")),
            Some(first) => modulus.len() * 8 - first.leading_zeros() as usize,
        };
        if !(Self::MIN_BITS..=Self::MAX_BITS).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        if exponent.is_empty() || exponent.len() > 4 || exponent.first() == Some(&0) {
            return Err(KeyError::Length("e"));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !odd(&modulus) || !odd(&exponent) || exponent == [1] {
            return Err(KeyError::RsaValue);
        }
        Ok(Self { modulus, exponent })
    }
}

const fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 => None,
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, KeyError> {
    jwk.get(name).and_then(Value::as_str).ok_or(KeyError::Member(name))
}

fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyError> {
    base64url::decode(text(jwk, name)?).map_err(|_position| KeyError::Encoding(name))
}

#[cfg(test)]
mod tests;
