//! The epoch of the issuer's kill switch: who has not heard it lately refuses, and who hears of a new one looks into no
//! status list that does not know it.
//!
//! It is fetched when a request needs it, as every document. Its age counts from when it was asked for, so that no clock
//! but this server's own says how old it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use marque_status_list::{
    KILL_STATE_MEDIA_TYPE, KILL_STATE_PATH, KILL_STATE_TYPE, KillStateClaims, MAX_KILL_STATE_BYTES,
};

use crate::cached::{Cached, Loaded};
use crate::fetch::FetchRequest;
use crate::keys::{get, refused, signed};
use crate::refusal::{Outage, Refusal};
use crate::statements::Statements;

/// How soon a fetch that failed is tried again, at the latest: whoever waits is refused meanwhile.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The newest epoch, fetched when it is needed.
#[derive(Debug)]
pub(crate) struct Kills {
    cached: Arc<Cached<u64>>,
    statements: Statements,
    /// The highest that was ever heard: of two replicas of the issuer, one may be behind.
    highest: AtomicU64,
}

impl Kills {
    pub(crate) fn new(statements: Statements, retry_after: Duration) -> Self {
        let cached = Cached::new(retry_after.min(RETRY_AFTER), Arc::clone(&statements.clock));
        Self { cached, statements, highest: AtomicU64::new(0) }
    }

    /// The epoch that every list has to know.
    pub(crate) async fn epoch(&self, now: Timestamp) -> Result<u64, Refusal> {
        let load = || {
            let statements = self.statements.clone();
            async move { statements.kill_epoch().await }
        };
        let heard = *self.cached.get(now, load).await?;
        Ok(self.highest.fetch_max(heard, Ordering::AcqRel).max(heard))
    }
}

impl Statements {
    async fn kill_epoch(&self) -> Result<Loaded<u64>, Outage> {
        let url = format!("{}{KILL_STATE_PATH}", self.issuer.as_str());
        let request = FetchRequest {
            url: &url,
            accept: KILL_STATE_MEDIA_TYPE,
            max_bytes: MAX_KILL_STATE_BYTES,
        };
        let body = get(&*self.fetch, request).await?;
        let now = self.clock.now();
        let refuse = |reason: &dyn std::fmt::Display| refused(&url, reason);
        let of = (url.as_str(), KILL_STATE_TYPE, MAX_KILL_STATE_BYTES);
        let claims: KillStateClaims = signed(&self.keys, of, &body, now).await?;
        if claims.iss != self.issuer.as_str() || claims.sub != url {
            return Err(refuse(&"it is another statement"));
        }
        let skew = SignedDuration::try_from(self.leeway).unwrap_or_default();
        let age = now.duration_since(claims.iat.timestamp());
        if -age > skew {
            return Err(refuse(&"it is of the future"));
        }
        // It is written in whole seconds.
        let limit = SignedDuration::try_from(self.freshness.stale_after).unwrap_or_default();
        if age > limit + skew + SignedDuration::from_secs(1) {
            return Err(refuse(&"somebody kept it for too long"));
        }
        if claims.exp.timestamp() + skew <= now {
            return Err(refuse(&"it has expired"));
        }
        Ok(Loaded { document: claims.kill_epoch, freshness: self.freshness })
    }
}
