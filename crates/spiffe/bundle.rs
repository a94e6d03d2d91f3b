//! Trust bundles: the keys by which one trust domain's SVIDs are verified (SPIFFE Trust Domain and Bundle).
//!
//! A bundle belongs to exactly one trust domain and is never merged with another (TB-7). Absent: fetching, storing and
//! choosing bundles.

mod document;
mod map;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use marque_jose::{Algorithm, Jwk, JwkError, KeyError, KeyId, PublicKey, json::StrictJsonError};
use rustls_pki_types::CertificateDer;

use crate::{Environment, TrustDomain, read_certificate};

pub use map::{BundleMap, BundleMapError};

/// The authorities of one trust domain. No authorities at all means that every SVID of it is untrusted (TB-4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    x509_authorities: Vec<CertificateDer<'static>>,
    distrusted: BTreeSet<[u8; 32]>,
    jwt: TokenKeys,
    wit: TokenKeys,
    sequence: Option<u64>,
    refresh_hint: Option<Duration>,
}

/// Puts a [`Bundle`] together.
#[derive(Debug, Clone)]
pub struct BundleBuilder(Bundle);

/// Where the present bundle of a trust domain is found.
pub trait BundleSource: fmt::Debug + Send + Sync {
    /// The bundle of exactly this trust domain, if it is trusted at all.
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>>;
}

/// Why a bundle was refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The document is not strict JSON, or not an object (TB-1).
    #[error("bundle is not a strict JSON object")]
    Json(#[source] StrictJsonError),
    /// `keys` is missing or not an array (TB-4).
    #[error("bundle has no array `keys`")]
    NoKeys,
    /// More than [`Bundle::MAX_KEYS`].
    #[error("bundle has more than {} keys", Bundle::MAX_KEYS)]
    TooManyKeys,
    /// An element of `keys` is not an object.
    #[error("bundle key {index} is not a JSON object")]
    NotAnObject {
        /// Its place in the array, from 0.
        index: usize,
    },
    /// `spiffe_sequence` is not an integer from 0 to 2^64 - 1 (TB-2).
    #[error("bundle sequence is not an unsigned 64-bit integer")]
    Sequence,
    /// `spiffe_refresh_hint` is not a whole number of seconds (TB-3).
    #[error("bundle refresh hint is not a whole number of seconds")]
    RefreshHint,
    /// A key of a supported kind is malformed.
    #[error("bundle key {index} is refused")]
    Key {
        /// Its place in the array, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: JwkError,
    },
    /// `x5c` is not an array of strings, or its first value not base64 (X5-8).
    #[error("bundle key {index} has a malformed `x5c`")]
    X5c {
        /// Its place in the array, from 0.
        index: usize,
    },
    /// An X.509 authority carries a `kid` (X5-8).
    #[error("bundle key {index} is for X.509-SVIDs and has a key id")]
    X509KeyId {
        /// Its place in the array, from 0.
        index: usize,
    },
    /// The key in the certificate is not the key beside it (RFC 7517 section 4.7).
    #[error("bundle key {index} differs from the key in its certificate")]
    X509KeyMismatch {
        /// Its place in the array, from 0.
        index: usize,
    },
    /// A certificate that does not parse, or is more than one.
    #[error("authority certificate is not one DER certificate")]
    Certificate,
    /// The key in the certificate is refused.
    #[error("key of the authority certificate is refused")]
    CertificateKey(#[source] KeyError),
    /// A key for JWT-SVIDs or WIT-SVIDs has no `kid` (JW-9, WI-11).
    #[error("bundle key {index} has no key id")]
    NoKeyId {
        /// Its place in the array, from 0.
        index: usize,
    },
    /// Two keys for tokens of one name (JW-9, WI-11).
    #[error("bundle has two keys `{0}`")]
    DuplicateKeyId(KeyId),
}

/// Why a bundle may not take another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The bundles are of two trust domains (TB-7).
    #[error("bundle is of another trust domain")]
    OtherTrustDomain,
    /// The sequence went back (TB-2).
    #[error("bundle sequence went back from {from} to {to}")]
    WentBack {
        /// The sequence at present.
        from: u64,
        /// The sequence offered.
        to: u64,
    },
    /// The contents changed and the sequence did not (TB-2).
    #[error("bundle changed without a new sequence {0}")]
    Unchanged(u64),
}

/// Token keys by name, with the algorithm where the document pins one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct TokenKeys {
    keys: BTreeMap<KeyId, PublicKey>,
    pinned: BTreeMap<KeyId, Algorithm>,
}

impl Bundle {
    /// The most keys in one document.
    pub const MAX_KEYS: usize = 256;
    /// How often a bundle is fetched when it does not say (TB-3).
    pub const DEFAULT_REFRESH_HINT: Duration = Duration::from_secs(300);

    /// Begins a bundle without authorities.
    #[must_use]
    pub fn builder(trust_domain: TrustDomain) -> BundleBuilder {
        BundleBuilder(Self {
            trust_domain,
            x509_authorities: Vec::new(),
            distrusted: BTreeSet::new(),
            jwt: TokenKeys::default(),
            wit: TokenKeys::default(),
            sequence: None,
            refresh_hint: None,
        })
    }

    /// Reads a bundle document of a trust domain; which one, the document itself does not say.
    ///
    /// Keys of an unknown `kty` or `use`, and X.509 ones without `x5c`, are ignored (TB-4, TB-5, X5-9).
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn parse(trust_domain: TrustDomain, document: &[u8]) -> Result<Self, BundleError> {
        document::parse(trust_domain, document)
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The signing certificates for X.509-SVIDs.
    #[must_use]
    pub fn x509_authorities(&self) -> &[CertificateDer<'static>] {
        &self.x509_authorities
    }

    /// Whether X.509-SVIDs whose path goes through this key are refused, although the path ends at an authority of the bundle.
    #[must_use]
    pub fn distrusts(&self, key: &PublicKey) -> bool {
        !self.distrusted.is_empty() && self.distrusted.contains(&key.thumbprint())
    }

    /// The keys for JWT-SVIDs.
    #[must_use]
    pub const fn jwt_authorities(&self) -> &BTreeMap<KeyId, PublicKey> {
        &self.jwt.keys
    }

    /// The keys for WIT-SVIDs.
    #[must_use]
    pub const fn wit_authorities(&self) -> &BTreeMap<KeyId, PublicKey> {
        &self.wit.keys
    }

    /// A key for JWT-SVIDs and the algorithms that it may be used with: the pinned one, else those of its type.
    #[must_use]
    pub fn jwt_authority(&self, kid: &KeyId) -> Option<(&PublicKey, &[Algorithm])> {
        self.jwt.find(kid)
    }

    /// A key for WIT-SVIDs and the algorithms that it may be used with.
    #[must_use]
    pub fn wit_authority(&self, kid: &KeyId) -> Option<(&PublicKey, &[Algorithm])> {
        self.wit.find(kid)
    }

    /// The sequence number, which grows with every change; 0 when the document gives none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.unwrap_or(0)
    }

    /// Whether the document gives a sequence number.
    #[must_use]
    pub const fn has_sequence(&self) -> bool {
        self.sequence.is_some()
    }

    /// How often to fetch the bundle, [`Bundle::DEFAULT_REFRESH_HINT`] when it does not say.
    #[must_use]
    pub fn refresh_hint(&self) -> Duration {
        self.refresh_hint.unwrap_or(Self::DEFAULT_REFRESH_HINT)
    }

    /// Whether this bundle may take the place of `present`: it is of the same trust domain, and where both give a
    /// sequence it went up, or nothing changed.
    ///
    /// # Errors
    /// See [`SequenceError`].
    pub fn supersedes(&self, present: &Self) -> Result<(), SequenceError> {
        if self.trust_domain != present.trust_domain {
            return Err(SequenceError::OtherTrustDomain);
        }
        match (present.sequence, self.sequence) {
            (Some(from), Some(to)) if to < from => Err(SequenceError::WentBack { from, to }),
            (Some(from), Some(to)) if to == from && self != present => {
                Err(SequenceError::Unchanged(to))
            }
            _ => Ok(()),
        }
    }

    /// Whether an X.509 authority names this environment in its subject, as those of Marque do (`OU=production`).
    #[must_use]
    pub fn names_environment(&self, environment: Environment) -> bool {
        let names = |certificate: &CertificateDer<'_>| {
            read_certificate(certificate).is_some_and(|certificate| {
                let mut units = certificate.subject().iter_organizational_unit();
                units.any(|unit| unit.as_str().is_ok_and(|unit| unit == environment.as_str()))
            })
        };
        self.x509_authorities.iter().any(names)
    }

    /// The bundle document (a JWK Set).
    #[must_use]
    pub fn to_document(&self) -> serde_json::Value {
        document::render(self)
    }

    /// The X.509 authorities as concatenated DER, as the Workload API sends them.
    #[must_use]
    pub fn x509_der(&self) -> Vec<u8> {
        self.x509_authorities.iter().flat_map(|certificate| certificate.iter().copied()).collect()
    }

    /// The keys for JWT-SVIDs alone as a JWK Set, as the Workload API sends them (WA-11).
    #[must_use]
    pub fn jwt_jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": document::token_keys(&self.jwt, document::JWT_SVID) })
    }

    /// The keys for JWT-SVIDs as a JWK Set for those who know nothing of SPIFFE: with use `sig`, and each with one algorithm
    /// (RFC 7517 section 4).
    #[must_use]
    pub fn jwt_signature_jwks(&self) -> serde_json::Value {
        let keys = self.jwt.jwks("sig").map(|mut jwk| {
            jwk.alg = jwk.alg.or_else(|| jwk.key.algorithms().first().copied());
            jwk.to_value()
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() })
    }

    /// The keys for WIT-SVIDs alone as a JWK Set.
    #[must_use]
    pub fn wit_jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": document::token_keys(&self.wit, document::WIT_SVID) })
    }
}

impl BundleBuilder {
    /// Adds a signing certificate for X.509-SVIDs.
    ///
    /// # Errors
    /// It is not one DER certificate with a supported key.
    pub fn x509_authority(
        mut self,
        certificate: CertificateDer<'static>,
    ) -> Result<Self, BundleError> {
        document::certificate_key(&certificate)?;
        self.0.x509_authorities.push(certificate);
        Ok(self)
    }

    /// Refuses every path through this key. It is said here alone: a bundle document has no place for it, so that it is no
    /// part of one.
    #[must_use]
    pub fn distrust(mut self, key: &PublicKey) -> Self {
        self.0.distrusted.insert(key.thumbprint());
        self
    }

    /// Adds a key for JWT-SVIDs.
    ///
    /// # Errors
    /// [`BundleError::DuplicateKeyId`].
    pub fn jwt_authority(mut self, kid: KeyId, key: PublicKey) -> Result<Self, BundleError> {
        self.0.refuse_duplicate(&kid)?;
        self.0.jwt.insert(kid, key, None);
        Ok(self)
    }

    /// Adds a key for WIT-SVIDs.
    ///
    /// # Errors
    /// [`BundleError::DuplicateKeyId`].
    pub fn wit_authority(mut self, kid: KeyId, key: PublicKey) -> Result<Self, BundleError> {
        self.0.refuse_duplicate(&kid)?;
        self.0.wit.insert(kid, key, None);
        Ok(self)
    }

    /// Sets the sequence number.
    #[must_use]
    pub const fn sequence(mut self, sequence: u64) -> Self {
        self.0.sequence = Some(sequence);
        self
    }

    /// Sets the refresh hint; parts of a second are dropped.
    #[must_use]
    pub const fn refresh_hint(mut self, hint: Duration) -> Self {
        self.0.refresh_hint = Some(Duration::from_secs(hint.as_secs()));
        self
    }

    /// The bundle.
    #[must_use]
    pub fn build(self) -> Bundle {
        self.0
    }
}

impl Bundle {
    /// Key ids are unique over both kinds of tokens (WI-11).
    fn refuse_duplicate(&self, kid: &KeyId) -> Result<(), BundleError> {
        if self.jwt.keys.contains_key(kid) || self.wit.keys.contains_key(kid) {
            return Err(BundleError::DuplicateKeyId(kid.clone()));
        }
        Ok(())
    }
}

impl TokenKeys {
    fn insert(&mut self, kid: KeyId, key: PublicKey, pinned: Option<Algorithm>) {
        if let Some(algorithm) = pinned {
            self.pinned.insert(kid.clone(), algorithm);
        }
        self.keys.insert(kid, key);
    }

    fn find(&self, kid: &KeyId) -> Option<(&PublicKey, &[Algorithm])> {
        let key = self.keys.get(kid)?;
        Some((key, self.pinned.get(kid).map_or_else(|| key.algorithms(), std::slice::from_ref)))
    }

    /// The keys as JWKs, with their use.
    fn jwks<'a>(&'a self, key_use: &'a str) -> impl Iterator<Item = Jwk> + 'a {
        self.keys.iter().map(move |(kid, key)| Jwk {
            key: key.clone(),
            kid: Some(kid.clone()),
            key_use: Some(key_use.to_owned()),
            alg: self.pinned.get(kid).copied(),
        })
    }
}
