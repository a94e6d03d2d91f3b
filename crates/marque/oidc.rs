//! Keys of the issuers of ID tokens and of grants: from files of the folder, or fetched from the one configured URL and kept fresh.
//!
//! Keys that could not be fetched again for too long verify nothing. No redirect is followed, nothing that a token says is
//! ever fetched, and a token with an unknown key id makes the next fetch earlier by no more than [`SHORTEST_INTERVAL`]
//! allows. Absent: verifying tokens, discovery, and keeping keys over a restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_exchange::{OidcKeys, StaleOidcKeys};
use marque_jose::{JwkError, JwkSet};
use marque_registry::IssuerKeys;
use marque_spiffe::{BundleEndpointUrl, Clock};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::federation::{FetchError, FetchLimits, fetch, web, web_authorities};

/// How often keys are fetched when nothing else says so.
const INTERVAL: Duration = Duration::from_secs(300);
/// The least time between two fetches, whatever tokens come and whatever went wrong.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(30);
/// What one fetch may cost.
const LIMITS: FetchLimits =
    FetchLimits { time: Duration::from_secs(10), bytes: 256 * 1024, redirects: 0 };

/// The present keys of each issuer, by its name.
#[derive(Debug)]
pub(crate) struct OidcKeyRing(BTreeMap<String, Keys>);

#[derive(Debug)]
enum Keys {
    OfFile(Arc<JwkSet>),
    Fetched(Arc<FetchedKeys>),
}

/// The keys of one issuer, as they were fetched last.
#[derive(Debug)]
pub(crate) struct FetchedKeys {
    issuer: String,
    url: BundleEndpointUrl,
    tls: Arc<ClientConfig>,
    /// Who vouches for the place.
    roots: Arc<RootCertStore>,
    max_staleness: Duration,
    limits: FetchLimits,
    present: watch::Sender<Option<Present>>,
    wanted: Notify,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
struct Present {
    set: Arc<JwkSet>,
    fetched_at: Timestamp,
}

/// Why keys were not refreshed.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    /// They could not be fetched.
    #[error("fetch the keys")]
    Fetch(#[source] FetchError),
    /// What was fetched is no set of keys.
    #[error("what was fetched is no set of keys")]
    Keys(#[source] JwkError),
    /// None of them can be named by a token.
    #[error("none of the keys has a `kid` and can be used")]
    Nameless,
}

impl OidcKeyRing {
    /// The keys to begin with: those of files, and those that `before` had fetched from the same place by the same
    /// authorities. The others are fetched by [`Self::fetched`].
    pub(crate) fn open<'a>(
        issuers: impl IntoIterator<Item = (&'a str, &'a IssuerKeys)>,
        folder: &Path,
        mut files: BTreeMap<String, JwkSet>,
        clock: &Arc<dyn Clock>,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let mut ring = BTreeMap::new();
        for (name, keys) in issuers {
            let name = name.to_owned();
            let keys = match keys {
                IssuerKeys::File(_) => {
                    Keys::OfFile(Arc::new(files.remove(&name).unwrap_or_default()))
                }
                IssuerKeys::Fetched { url, ca_file, max_staleness } => {
                    let prepared = || format!("prepare to fetch the keys of `{name}`");
                    let roots = web_authorities(&folder.join(ca_file)).with_context(prepared)?;
                    let roots = Arc::new(roots);
                    let tls = web(RootCertStore::clone(&roots), Arc::clone(clock));
                    let tls = tls.with_context(prepared)?;
                    let known = before.and_then(|before| before.known(&name, url, &roots));
                    Keys::Fetched(Arc::new(FetchedKeys {
                        issuer: name.clone(),
                        url: url.clone(),
                        tls,
                        roots,
                        max_staleness: *max_staleness,
                        limits: LIMITS,
                        present: watch::channel(known).0,
                        wanted: Notify::new(),
                        clock: Arc::clone(clock),
                    }))
                }
            };
            ring.insert(name, keys);
        }
        Ok(Self(ring))
    }

    /// What was fetched for the issuer of this name, if it came from this place by these authorities.
    fn known(&self, name: &str, from: &BundleEndpointUrl, by: &RootCertStore) -> Option<Present> {
        match self.0.get(name)? {
            Keys::Fetched(keys) if keys.url == *from && keys.roots.roots == by.roots => {
                keys.present.borrow().clone()
            }
            Keys::Fetched(_) | Keys::OfFile(_) => None,
        }
    }

    /// Those that somebody has to fetch.
    pub(crate) fn fetched(&self) -> impl Iterator<Item = &Arc<FetchedKeys>> {
        self.0.values().filter_map(|keys| match keys {
            Keys::OfFile(_) => None,
            Keys::Fetched(fetched) => Some(fetched),
        })
    }
}

impl OidcKeys for OidcKeyRing {
    fn keys(&self, issuer: &str, now: Timestamp) -> Result<Arc<JwkSet>, StaleOidcKeys> {
        match self.0.get(issuer).ok_or(StaleOidcKeys)? {
            Keys::OfFile(set) => Ok(Arc::clone(set)),
            Keys::Fetched(fetched) => fetched.keys(now),
        }
    }

    fn missing(&self, issuer: &str) {
        if let Some(Keys::Fetched(fetched)) = self.0.get(issuer) {
            fetched.wanted.notify_one();
        }
    }
}

impl FetchedKeys {
    fn keys(&self, now: Timestamp) -> Result<Arc<JwkSet>, StaleOidcKeys> {
        let present = self.present.borrow();
        let Present { set, fetched_at } = present.as_ref().ok_or(StaleOidcKeys)?;
        let until = fetched_at.saturating_add(self.max_staleness).unwrap_or(*fetched_at);
        if now < until { Ok(Arc::clone(set)) } else { Err(StaleOidcKeys) }
    }

    /// Fetches until `stop`. A failure is tried again soon.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        loop {
            let began = self.clock.now();
            let refreshed = tokio::select! {
                () = stop.cancelled() => return,
                refreshed = self.refresh() => refreshed,
            };
            let pause = match refreshed {
                Ok(()) => INTERVAL.min(self.max_staleness / 2).max(SHORTEST_INTERVAL),
                Err(error) => {
                    let (issuer, error) = (&self.issuer, &error as &dyn std::error::Error);
                    tracing::warn!(issuer, error, "the keys of an issuer were not refreshed");
                    SHORTEST_INTERVAL
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(began + SHORTEST_INTERVAL) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(began + pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    async fn refresh(&self) -> Result<(), RefreshError> {
        // Counted from before the request: whatever came later may be missing from the answer.
        let fetched_at = self.clock.now();
        let document =
            fetch(&self.url, &self.tls, self.limits).await.map_err(RefreshError::Fetch)?;
        let set = JwkSet::parse(&document).map_err(RefreshError::Keys)?;
        if !set.keys.iter().any(|key| key.kid.is_some()) {
            return Err(RefreshError::Nameless);
        }
        self.present.send_replace(Some(Present { set: Arc::new(set), fetched_at }));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
