//! The issuer's Token Status Lists: whether a token was revoked since it was signed, without asking about that token.
//!
//! A list is fetched from the address that the token names, when that is one of its issuer's; it is signed by the same
//! keys. A list that is too old, and one that cannot be read, is no permission.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use marque_status_list::{
    MAX_LIST_BYTES, MAX_LIST_TOKEN_BYTES, STATUS_LIST_MEDIA_TYPE, STATUS_LIST_TOKEN_TYPE,
    Status as Place, StatusList, StatusListClaims, StatusReference,
};

use crate::cached::{Cached, Freshness, Loaded};
use crate::fetch::FetchRequest;
use crate::keys::{get, refused, signed};
use crate::kills::RETRY_AFTER;
use crate::refusal::{Outage, Refusal, TokenFault};
use crate::statements::Statements;
use crate::url::HttpsUrl;

/// The most lists that are kept at once. Live tokens are on one list or two.
const MAX_LISTS: usize = 64;

/// The lists, fetched when they are needed.
#[derive(Debug)]
pub(crate) struct StatusLists {
    lists: Mutex<HashMap<String, Known>>,
    statements: Statements,
    retry_after: Duration,
}

/// A list, and the epoch of the kill switch that it has to know.
#[derive(Debug)]
struct Known {
    epoch: u64,
    list: Arc<Cached<StatusList>>,
}

impl StatusLists {
    pub(crate) fn new(statements: Statements, retry_after: Duration) -> Self {
        Self { lists: Mutex::default(), statements, retry_after }
    }

    /// Whether the token at this place still stands.
    pub(crate) async fn check(
        &self,
        place: &StatusReference,
        epoch: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let cached = self.list(&place.uri, epoch, now)?;
        let load = || {
            let (statements, uri) = (self.statements.clone(), place.uri.clone());
            async move { statements.status_list(uri, epoch).await }
        };
        let list = cached.get(now, load).await?;
        match list.status(place.idx) {
            Ok(Place::Valid) => Ok(()),
            Ok(Place::Invalid | Place::Suspended | Place::Other(_)) => {
                Err(TokenFault::Revoked.into())
            }
            Err(_out_of_range) => {
                // A list may have grown since.
                let newer = cached.newer(&list, now, load).await?.unwrap_or(list);
                match newer.status(place.idx) {
                    Ok(Place::Valid) => Ok(()),
                    Ok(_) => Err(TokenFault::Revoked.into()),
                    Err(_out_of_range) => Err(TokenFault::Status.into()),
                }
            }
        }
    }

    /// The place of a list, which must be below the issuer: a token, even a good one, sends this server nowhere else.
    fn list(
        &self,
        uri: &str,
        epoch: u64,
        now: Timestamp,
    ) -> Result<Arc<Cached<StatusList>>, Refusal> {
        let url: HttpsUrl = uri.parse().map_err(|_not_https| TokenFault::Status)?;
        let below = uri.strip_prefix(self.statements.issuer.as_str());
        if url.origin() != self.statements.issuer.origin()
            || !below.is_some_and(|path| path.starts_with('/'))
        {
            return Err(TokenFault::Status.into());
        }
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        // A copy of before a kill that was heard of since is no copy.
        if let Some(known) = lists.get(uri).filter(|known| known.epoch >= epoch) {
            return Ok(Arc::clone(&known.list));
        }
        if lists.len() >= MAX_LISTS {
            lists.retain(|_uri, known| known.list.is_good(now));
        }
        if lists.len() >= MAX_LISTS {
            return Err(Outage::Memory.into());
        }
        let retry_after = match epoch {
            0 => self.retry_after,
            _ => self.retry_after.min(RETRY_AFTER),
        };
        let list = Cached::new(retry_after, Arc::clone(&self.statements.clock));
        lists.insert(uri.to_owned(), Known { epoch, list: Arc::clone(&list) });
        Ok(list)
    }
}

impl Statements {
    async fn status_list(&self, uri: String, epoch: u64) -> Result<Loaded<StatusList>, Outage> {
        let request = FetchRequest {
            url: &uri,
            accept: STATUS_LIST_MEDIA_TYPE,
            max_bytes: MAX_LIST_TOKEN_BYTES,
        };
        let body = get(&*self.fetch, request).await?;
        // A list that was signed while it was waited for is not of the future.
        let now = self.clock.now();
        let claims = self.verified(&uri, &body, now).await?;
        // Of two replicas of the issuer, one may not have heard of a kill yet.
        if claims.kill_epoch.unwrap_or_default() < epoch {
            return Err(refused(&uri, &"it is of before the newest kill"));
        }
        let list = StatusList::decode(&claims.status_list, MAX_LIST_BYTES)
            .map_err(|error| refused(&uri, &error))?;
        Ok(Loaded { document: list, freshness: self.freshness_of(&claims, now) })
    }

    async fn verified(
        &self,
        uri: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<StatusListClaims, Outage> {
        let refuse = |reason: &dyn std::fmt::Display| refused(uri, reason);
        let of = (uri, STATUS_LIST_TOKEN_TYPE, MAX_LIST_TOKEN_BYTES);
        let claims: StatusListClaims = signed(&self.keys, of, body, now).await?;
        if claims.sub != uri {
            return Err(refuse(&"it is another list"));
        }
        let skew = SignedDuration::try_from(self.leeway).unwrap_or_default();
        if claims.iat.timestamp().duration_since(now) > skew {
            return Err(refuse(&"it is of the future"));
        }
        if claims.exp.is_some_and(|exp| exp.timestamp() <= now) {
            return Err(refuse(&"it has expired"));
        }
        Ok(claims)
    }

    /// The configured freshness, or less where the list says less. Its age counts from its `iat`, because a cache
    /// between may have kept it.
    fn freshness_of(&self, claims: &StatusListClaims, now: Timestamp) -> Freshness {
        let Freshness { mut refresh_after, mut stale_after } = self.freshness;
        if let Some(ttl) = claims.ttl {
            refresh_after = refresh_after.min(Duration::from_secs(ttl.get()));
        }
        if let Some(exp) = claims.exp {
            let left = exp.timestamp().duration_since(now);
            stale_after = stale_after.min(Duration::try_from(left).unwrap_or_default());
        }
        let age =
            Duration::try_from(now.duration_since(claims.iat.timestamp())).unwrap_or_default();
        stale_after = stale_after.saturating_sub(age);
        Freshness { refresh_after: refresh_after.min(stale_after), stale_after }
    }
}
