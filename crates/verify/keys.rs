//! The issuer's keys: from a key set whose address is configured, or named by the issuer's metadata (RFC 8414).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_jose::json::{Limits, parse_object};
use marque_jose::{Jwk, JwkSet, KeyId, UnverifiedJws};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cached::{Cached, Freshness, Loaded};
use crate::clock::Clock;
use crate::fetch::{Fetch, FetchRequest};
use crate::refusal::{Outage, Refusal, TokenFault};
use crate::url::HttpsUrl;

/// The limits of the issuer's metadata: 64 KiB, 8 levels.
const METADATA_LIMITS: Limits = Limits { max_bytes: 64 * 1024, max_depth: 8 };

/// Where the issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Where the issuer's metadata says; its `issuer` must be the configured one, its `jwks_uri` an https URL.
    Metadata,
    /// At this address.
    At(HttpsUrl),
}

/// The keys, fetched when they are needed.
#[derive(Debug)]
pub(crate) struct Keys {
    cached: Arc<Cached<JwkSet>>,
    loader: Loader,
}

/// How the keys are fetched.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) issuer: HttpsUrl,
    pub(crate) source: KeySource,
    pub(crate) freshness: Freshness,
}

impl Keys {
    pub(crate) fn new(loader: Loader, retry_after: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { cached: Cached::new(retry_after, clock), loader }
    }

    /// The key of this name. One that is unknown is looked for again in newer keys, though not more often than the
    /// limit says.
    pub(crate) async fn find(&self, kid: &KeyId, now: Timestamp) -> Result<Jwk, Refusal> {
        let load = || {
            let loader = self.loader.clone();
            async move { loader.load().await }
        };
        let keys = self.cached.get(now, load).await?;
        if let Some(key) = keys.find(kid) {
            return Ok(key.clone());
        }
        let newer = self.cached.newer(&keys, now, load).await?;
        newer.and_then(|keys| keys.find(kid).cloned()).ok_or(Refusal::Token(TokenFault::Key))
    }
}

impl Loader {
    async fn load(&self) -> Result<Loaded<JwkSet>, Outage> {
        let url = match &self.source {
            KeySource::At(url) => url.clone(),
            KeySource::Metadata => self.jwks_uri().await?,
        };
        let body = self.get(url.as_str(), JwkSet::LIMITS.max_bytes).await?;
        let mut set = JwkSet::parse(&body).map_err(|error| refused(&url, &error))?;
        // A key for something else than signatures of this issuer's tokens verifies none, whatever its name.
        set.keys.retain(|key| matches!(key.key_use.as_deref(), None | Some("sig")));
        if set.keys.is_empty() {
            return Err(refused(&url, &"no key for signatures"));
        }
        Ok(Loaded { document: set, freshness: self.freshness })
    }

    async fn jwks_uri(&self) -> Result<HttpsUrl, Outage> {
        let url = self.issuer.well_known("oauth-authorization-server");
        let body = self.get(&url, METADATA_LIMITS.max_bytes).await?;
        let metadata =
            parse_object(&body, &METADATA_LIMITS).map_err(|error| refused(&url, &error))?;
        // RFC 8414 §3.3: a document of another issuer is not to be used.
        if metadata.get("issuer").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(refused(&url, &"the metadata is of another issuer"));
        }
        let named = metadata.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
        named.parse().map_err(|error| refused(&url, &error))
    }

    async fn get(&self, url: &str, max_bytes: usize) -> Result<Vec<u8>, Outage> {
        get(&*self.fetch, FetchRequest { url, accept: "application/json", max_bytes }).await
    }
}

/// Fetches a document and makes sure of its size.
pub(crate) async fn get(fetch: &dyn Fetch, request: FetchRequest<'_>) -> Result<Vec<u8>, Outage> {
    match fetch.get(request).await {
        Ok(fetched) if fetched.body.len() <= request.max_bytes => Ok(fetched.body),
        Ok(_too_long) => Err(refused(request.url, &"it is too long")),
        Err(error) => {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(url = request.url, ?reason, "a document of the issuer is not to be had");
            Err(Outage::Unreachable)
        }
    }
}

/// What a document of this address and type says that one of the issuer's keys has signed.
pub(crate) async fn signed<T: DeserializeOwned>(
    keys: &Arc<Keys>,
    (url, typ, max_bytes): (&str, &str, usize),
    body: &[u8],
    now: Timestamp,
) -> Result<T, Outage> {
    let refuse = |reason: &dyn std::fmt::Display| refused(url, reason);
    let text = str::from_utf8(body).map_err(|error| refuse(&error))?;
    let jws = UnverifiedJws::parse_within(text, max_bytes).map_err(|error| refuse(&error))?;
    if jws.header().typ() != Some(typ) {
        return Err(refuse(&format_args!("its type is not `{typ}`")));
    }
    let kid = jws.header().kid().ok_or_else(|| refuse(&"it names no key"))?.clone();
    let key = match keys.find(&kid, now).await {
        Ok(key) => key,
        Err(Refusal::Unavailable(outage)) => return Err(outage),
        Err(_unknown) => return Err(refuse(&"its key is not the issuer's")),
    };
    let verified = jws.verify(&key.key, key.algorithms()).map_err(|error| refuse(&error))?;
    verified.into_claims().map_err(|error| refuse(&error))
}

/// A document that is not what it should be. Documents of the issuer are no secrets.
pub(crate) fn refused(url: impl std::fmt::Display, reason: &dyn std::fmt::Display) -> Outage {
    tracing::warn!(%url, %reason, "a document of the issuer is refused");
    Outage::Document
}
