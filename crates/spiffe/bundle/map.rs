//! Bundle maps: the bundles of several trust domains in one document (SPIFFE Trust Domain and Bundle section 5.1.1).
//!
//! Every bundle in it stands alone: none is merged with another (TB-7), key ids are unique within one bundle only, and
//! what one of them says about refreshing concerns itself (TB-6). Absent: where a map is fetched from, and how often.

use std::collections::BTreeMap;
use std::sync::Arc;

use marque_jose::json::{self, StrictJsonError};
use serde_json::{Map, Value};

use super::{Bundle, BundleError, BundleSource, document};
use crate::{TrustDomain, TrustDomainError};

/// Bundles by the names of their trust domains.
///
/// A map that holds one bad bundle is refused whole: its reader keeps the map it has, and nobody is trusted by halves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleMap(BTreeMap<TrustDomain, Arc<Bundle>>);

/// Why a bundle map was refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleMapError {
    /// The document is not strict JSON, not an object, or names a trust domain twice (TB-6).
    #[error("bundle map is not a strict JSON object")]
    Json(#[source] StrictJsonError),
    /// `trust_domains` is missing or not an object (TB-6).
    #[error("bundle map has no object `trust_domains`")]
    NoTrustDomains,
    /// More than [`BundleMap::MAX_TRUST_DOMAINS`].
    #[error("bundle map has more than {} trust domains", BundleMap::MAX_TRUST_DOMAINS)]
    TooManyTrustDomains,
    /// A name is not that of a trust domain.
    #[error("bundle map names a trust domain that is none")]
    Name(#[source] TrustDomainError),
    /// One of the bundles is not an object.
    #[error("bundle of `{0}` in the bundle map is not a JSON object")]
    NotAnObject(TrustDomain),
    /// One of the bundles is refused.
    #[error("bundle of `{trust_domain}` in the bundle map is refused")]
    Bundle {
        /// Whose it is.
        trust_domain: TrustDomain,
        /// What is wrong with it.
        #[source]
        source: BundleError,
    },
}

impl BundleMap {
    /// The most trust domains in one document.
    pub const MAX_TRUST_DOMAINS: usize = 1024;
    /// The size and depth of a document.
    pub const LIMITS: json::Limits = json::Limits { max_bytes: 16 * 1024 * 1024, max_depth: 18 };

    /// Reads a bundle map. Members beside `trust_domains` are ignored.
    ///
    /// # Errors
    /// See [`BundleMapError`]. A name that occurs twice is refused however it is spelt (`\u0061` is `a`), where a plain
    /// JSON parser would keep the last bundle and say nothing.
    pub fn parse(document: &[u8]) -> Result<Self, BundleMapError> {
        let document = json::parse_object(document, &Self::LIMITS).map_err(BundleMapError::Json)?;
        let entries = document
            .get("trust_domains")
            .and_then(Value::as_object)
            .ok_or(BundleMapError::NoTrustDomains)?;
        if entries.len() > Self::MAX_TRUST_DOMAINS {
            return Err(BundleMapError::TooManyTrustDomains);
        }
        entries.iter().map(|(name, bundle)| read(name, bundle)).collect::<Result<_, _>>().map(Self)
    }

    /// A map of these bundles; of two of one trust domain the later one stays, none is merged.
    #[must_use]
    pub fn new(bundles: impl IntoIterator<Item = Arc<Bundle>>) -> Self {
        let named = |bundle: Arc<Bundle>| (bundle.trust_domain().clone(), bundle);
        Self(bundles.into_iter().map(named).collect())
    }

    /// The bundles, in the order of their trust domains' names.
    pub fn bundles(&self) -> impl ExactSizeIterator<Item = &Arc<Bundle>> {
        self.0.values()
    }

    /// The document; each trust domain occurs once (TB-6).
    #[must_use]
    pub fn to_document(&self) -> Value {
        let bundles: Map<_, _> = self
            .0
            .iter()
            .map(|(name, bundle)| (name.as_str().to_owned(), bundle.to_document()))
            .collect();
        serde_json::json!({ "trust_domains": bundles })
    }
}

impl BundleSource for BundleMap {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.0.get(trust_domain).cloned()
    }
}

fn read(name: &str, bundle: &Value) -> Result<(TrustDomain, Arc<Bundle>), BundleMapError> {
    let trust_domain: TrustDomain = name.parse().map_err(BundleMapError::Name)?;
    let Some(members) = bundle.as_object() else {
        return Err(BundleMapError::NotAnObject(trust_domain));
    };
    match document::read(trust_domain.clone(), members) {
        Ok(bundle) => Ok((trust_domain, Arc::new(bundle))),
        Err(source) => Err(BundleMapError::Bundle { trust_domain, source }),
    }
}
